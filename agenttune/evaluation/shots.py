"""Worked examples before a prompt, so that a model which was never tuned for a format has a fair row: none of them is of a suite.

They are a conversation that went well so far: an instruct model goes on with it, where examples inside its system text are passed over.
Every list of tools but the first stands in a user's message, for most chat templates and servers take a system message only at the start.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from agenttune import protocols
from agenttune.errors import UserError
from agenttune.evaluation.predict import Prompt, Talker
from agenttune.files import read_text, shipped
from agenttune.protocols.base import Protocol
from agenttune.values.case import Case
from agenttune.values.sample import Sample, Turn, tool_from_json
from agenttune.values.trajectory import JsonObject, Step, ToolCall

FILE = "shots.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shots:
    """The turns of so many examples under one protocol; of none, what is asked stays as it is."""

    turns: tuple[Turn, ...] = ()

    def before(self, sample: Sample) -> Sample:
        """The sample with the examples as its first turns."""
        if not self.turns:
            return sample
        return replace(sample, turns=(*self.turns, _told_in_words(sample.turns[0]), *sample.turns[1:]))

    def cases(self, cases: Sequence[Case]) -> list[Case]:
        """The cases, each with the examples before it."""
        return [replace(case, sample=self.before(case.sample)) for case in cases]

    def talker(self, talk: Talker) -> Talker:
        """`talk`, which sees the examples before every conversation."""

        def told(prompts: Sequence[Prompt]) -> list[Step]:
            return talk([replace(one, sample=self.before(one.sample), outputs=self.later(one.outputs)) for one in prompts])

        return told

    def later(self, outputs: Mapping[int, Sequence[int]]) -> dict[int, Sequence[int]]:
        """What is known of some turns, by their place behind the examples."""
        return {turn + len(self.turns): ids for turn, ids in outputs.items()}


NONE = Shots()


def shots(protocol: str, count: int) -> Shots:
    """The first `count` shipped examples. Raises `UserError` where there are fewer."""
    rows = [json.loads(line) for line in read_text(shipped("evals") / FILE, "examples").splitlines()]
    if count > len(rows):
        raise UserError(f"--shots can be at most {len(rows)}, not {count}")
    turns = [_turn(row, protocols.get(protocol)) for row in rows[:count]]
    return Shots(turns=(*turns[:1], *(_told_in_words(turn) for turn in turns[1:])))


def _turn(row: JsonObject, protocol: Protocol) -> Turn:
    """The tools at hand, what a user says, and the reply."""
    system = protocol.system_text("", [tool_from_json(tool) for tool in row["tools"]])
    calls = tuple(ToolCall(name=call["name"], arguments=call["arguments"]) for call in row["calls"])
    step = Step(thought=row["thought"], calls=calls, answer=None if calls else row["answer"])
    return Turn(system=system, input=row["user"], output=protocol.write_step(step), weight=0.0)


def _told_in_words(turn: Turn) -> Turn:
    return replace(turn, system="", input="\n\n".join(text for text in (turn.system, turn.input) if text))
