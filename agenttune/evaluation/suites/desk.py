"""Cases of one step with their tools: ``{id, tools, system, user, accepted, compare, tags, clusters}``, one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agenttune import protocols
from agenttune.errors import Refusal, UserError
from agenttune.evaluation.suites.jsonl import lines, read_object
from agenttune.protocols.base import Protocol, write
from agenttune.values.case import Case, exactly
from agenttune.values.sample import tool_from_json
from agenttune.values.trajectory import JsonObject, Round, ToolCall, Trajectory

KEYS = {"id": str, "tools": list, "system": str, "user": str, "accepted": list, "compare": dict, "tags": dict, "clusters": list}


def read(path: Path, protocol: str | None) -> Iterator[Case]:
    """The cases of a file, written under `protocol` (react if it is None). Raises `UserError` with file and line for a row that is none."""
    spoken = protocols.get(protocol or "react")
    for number, line in lines(path):
        try:
            yield _case(read_object(line), spoken)
        except Refusal as refusal:
            raise UserError(f"{path}:{number} is no case of a suite: {refusal.sentence}") from refusal


def _case(row: JsonObject, protocol: Protocol) -> Case:
    """Raises `Refusal`."""
    for key, kind in KEYS.items():
        if not isinstance(row.get(key), kind):
            raise Refusal("case", f'it needs "{key}", a JSON {"object" if kind is dict else "string" if kind is str else "list"}')
    trajectory = Trajectory(
        id=row["id"],
        system=row["system"],
        tools=tuple(tool_from_json(tool) for tool in row["tools"]),
        rounds=(Round(user=row["user"]),),
    )
    return Case(
        id=row["id"],
        sample=write(trajectory, protocol),
        answers=tuple(exactly([_call(call)]) for call in row["accepted"]),
        compare=row["compare"],
        clusters=tuple(map(str, row["clusters"])),
        tags={name: str(value) for name, value in row["tags"].items()},
    )


def _call(call: JsonObject) -> ToolCall:
    if not isinstance(call, dict) or not isinstance(call.get("name"), str) or not isinstance(call.get("arguments"), dict):
        raise Refusal("case", 'each of "accepted" needs "name", a string, and "arguments", an object')
    return ToolCall(name=call["name"], arguments=call["arguments"])
