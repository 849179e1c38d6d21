"""Cases from samples: every trained turn is a step to predict, given the reference history before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from agenttune import protocols
from agenttune.errors import Refusal, UserError
from agenttune.evaluation.suites.lines import objects
from agenttune.values.case import Case
from agenttune.values.sample import Sample, sample_from_json
from agenttune.values.trajectory import Malformed, ToolCall


def read(path: Path, protocol: str) -> list[Case]:
    """One case a turn with an output and a weight above 0. `protocol` is not used: each sample names its own."""
    found: list[Case] = []
    for number, row in objects(path):
        try:
            sample = sample_from_json(row)
        except Refusal as refusal:
            raise UserError(f"{path}:{number} is no sample: {refusal.sentence}; agenttune convert writes samples") from refusal
        found += _cases(sample, sample.id or f"line-{number}")
    return found


def _cases(sample: Sample, name: str) -> Iterator[Case]:
    protocol = protocols.get(sample.protocol)
    group = str(sample.meta.get("group") or name)
    for index, turn in enumerate(sample.turns):
        if not turn.output or not turn.weight:
            continue
        step = protocol.parse(turn.output)
        if any(isinstance(call, Malformed) for call in step.calls):
            continue
        calls = tuple(call for call in step.calls if isinstance(call, ToolCall))
        asked = replace(sample, turns=(*sample.turns[:index], replace(turn, output="")))
        yield Case(
            id=f"{name}#{index}",
            sample=asked,
            accepted=calls[:1],
            clusters=(group, name),
            tags={"kind": "call" if calls else "answer", "turn": "first" if index == 0 else "later"},
        )
