"""Worked examples before a prompt, so that a model which was never tuned for a format has a fair row: none of them is of a suite."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from agenttune import protocols
from agenttune.errors import UserError
from agenttune.files import read_text, shipped
from agenttune.protocols.base import Protocol
from agenttune.protocols.react import tool_line
from agenttune.values.case import Case
from agenttune.values.sample import Turn, tool_from_json
from agenttune.values.trajectory import JsonObject, Step, ToolCall

FILE = "shots.jsonl"


def with_shots(cases: Sequence[Case], count: int) -> list[Case]:
    """The cases with `count` examples at the end of their first system text, in their own protocol. Raises `UserError`."""
    if not count or not cases:
        return list(cases)
    text = "\n\n".join(["Examples:", *examples(protocols.get(cases[0].sample.protocol), count)])
    return [replace(case, sample=replace(case.sample, turns=_before(case, text))) for case in cases]


def _before(case: Case, text: str) -> tuple[Turn, ...]:
    first, *rest = case.sample.turns
    return (replace(first, system=f"{first.system}\n\n{text}" if first.system else text), *rest)


def examples(protocol: Protocol, count: int) -> list[str]:
    """The first `count` shipped examples: the tools at hand, what a user says, and the reply."""
    rows = [json.loads(line) for line in read_text(shipped("evals") / FILE, "examples").splitlines()]
    if count > len(rows):
        raise UserError(f"--shots can be at most {len(rows)}, not {count}")
    return [_example(row, protocol) for row in rows[:count]]


def _example(row: JsonObject, protocol: Protocol) -> str:
    tools = "\n".join(tool_line(tool_from_json(tool)) for tool in row["tools"])
    calls = tuple(ToolCall(name=call["name"], arguments=call["arguments"]) for call in row["calls"])
    step = Step(thought=row["thought"], calls=calls, answer=None if calls else row["answer"])
    return f"Tools:\n{tools}\nUser: {row['user']}\nReply:\n{protocol.write_step(step)}"
