"""Cases from samples: every trained turn is a step to predict, given the reference history before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from agenttune import protocols
from agenttune.errors import Refusal, UserError
from agenttune.evaluation.suites.jsonl import lines, read_object
from agenttune.protocols.base import Protocol
from agenttune.values.case import Answer, Case, exactly
from agenttune.values.sample import Sample, sample_from_json
from agenttune.values.trajectory import Malformed, Reject, ToolCall


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
        step = protocol.parse(turn.output)
        broken = next((call.reason for call in step.calls if isinstance(call, Malformed)), None)
        if broken is not None:
            sentence = f"the output of turn {index + 1} is no step of {protocol.name}: {broken}"
            yield Reject(file=str(path), line=number, code="malformed", sentence=sentence, record=turn.output, id=name)
            continue
        calls = tuple(call for call in step.calls if isinstance(call, ToolCall))
        yield Case(
            id=f"{name}#{index}",
            sample=replace(sample, turns=(*sample.turns[:index], replace(turn, output=""))),
            answers=(exactly(calls), *_others(sample, index, protocol)) if calls else (),
            reference=step.answer or "",
            clusters=(group, name),
            tags={"kind": "call" if calls else "answer", "turn": "first" if index == 0 else "later"},
        )


def _others(sample: Sample, index: int, protocol: Protocol) -> Iterator[Answer]:
    """The calls of the other outputs that the sample itself accepts in this turn."""
    accepted = sample.meta.get("accepted")
    outputs = accepted.get(str(index)) if isinstance(accepted, Mapping) else None
    for output in outputs if isinstance(outputs, list) else ():
        calls = protocol.parse(output).calls if isinstance(output, str) else ()
        if calls and all(isinstance(call, ToolCall) for call in calls):
            yield exactly([call for call in calls if isinstance(call, ToolCall)])
