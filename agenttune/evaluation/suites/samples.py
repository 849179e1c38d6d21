"""Cases from samples: every trained turn is a step to predict, given the reference history before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from agenttune import protocols
from agenttune.errors import Refusal, UserError
from agenttune.evaluation.suites.jsonl import lines, read_object
from agenttune.protocols.base import Protocol
from agenttune.values.case import Case, exactly
from agenttune.values.sample import Sample, sample_from_json
from agenttune.values.trajectory import Malformed, Reject, Step, ToolCall


def read(path: Path, protocol: str | None) -> Iterator[Case | Reject]:
    """One case a turn with an output and a weight above 0; a `Reject` for a line that is no sample and an output that is no step.

    The samples are written under one protocol, which must be `protocol` if that is given. Raises `UserError` if it is not.
    """
    names: set[str] = set()
    for number, line in lines(path):
        try:
            sample = sample_from_json(read_object(line))
        except Refusal as refusal:
            yield Reject(file=str(path), line=number, code=refusal.code, sentence=refusal.sentence, record=line, excerpt=refusal.excerpt)
            continue
        protocol = protocol or sample.protocol
        if sample.protocol != protocol:
            raise UserError(
                f"{path}:{number} is written in {sample.protocol}, not in {protocol}; make the samples with --protocol {protocol}"
            )
        name = sample.id if sample.id and sample.id not in names else f"{sample.id or 'line'}@{number}"
        names.add(name)
        yield from cases_of(sample, name, protocols.get(protocol), path, number)


def cases_of(sample: Sample, name: str, protocol: Protocol, path: Path, number: int) -> Iterator[Case | Reject]:
    """The trained turns of one sample, each a case under `name` that is to be predicted from what stands before it."""
    group = str(sample.meta.get("group") or name)
    for index, turn in enumerate(sample.turns):
        if not turn.output or not turn.weight:
            continue
        steps = [protocol.parse(output) for output in (turn.output, *_others(sample, index))]
        if wrong := _wrong(steps, protocol.name):
            code, why = wrong
            sentence = f"the output of turn {index + 1} {why}"
            yield Reject(file=str(path), line=number, code=code, sentence=sentence, record=turn.output, id=name)
            continue
        answers = tuple(exactly([call for call in step.calls if isinstance(call, ToolCall)]) for step in steps if step.calls)
        yield Case(
            id=f"{name}#{index}",
            sample=replace(sample, turns=(*sample.turns[:index], replace(turn, output=""))),
            answers=answers,
            reference=steps[0].answer or "",
            clusters=(group, name),
            tags={"kind": "call" if answers else "answer", "turn": "first" if index == 0 else "later"},
        )


def _others(sample: Sample, index: int) -> list[str]:
    """The other outputs that the sample itself accepts in this turn."""
    accepted = sample.meta.get("accepted")
    outputs = accepted.get(str(index)) if isinstance(accepted, Mapping) else None
    return [one for one in outputs if isinstance(one, str)] if isinstance(outputs, list) else []


def _wrong(steps: Sequence[Step], name: str) -> tuple[str, str] | None:
    """Code and words for accepted steps that no case can hold: one that is no step, or calls beside an answer."""
    broken = next((call.reason for step in steps for call in step.calls if isinstance(call, Malformed)), "")
    if broken:
        return "malformed", f"is no step of {name}: {broken}"
    if len({bool(step.calls) for step in steps}) > 1:
        return "accepted_differ", "may be a call or an answer, and a case asks for one of the two"
    return None
