"""Cases of one step with their tools: ``{id, tools, system, user, accepted, compare, tags, clusters}``, one JSON object a line."""

from __future__ import annotations

from pathlib import Path

from agenttune import protocols
from agenttune.errors import Refusal, UserError
from agenttune.evaluation.suites.lines import objects
from agenttune.protocols.base import write
from agenttune.values.case import Case
from agenttune.values.sample import tool_from_json
from agenttune.values.trajectory import JsonObject, Round, ToolCall, Trajectory


def read(path: Path, protocol: str) -> list[Case]:
    """The cases of a file, written under `protocol`. Raises `UserError` with file and line for a row that is no case."""
    found = []
    for number, row in objects(path):
        try:
            found.append(_case(row, protocol))
        except (KeyError, TypeError, AttributeError, Refusal) as error:
            raise UserError(f"{path}:{number} is no case of this suite: {error}") from error
    return found


def _case(row: JsonObject, protocol: str) -> Case:
    trajectory = Trajectory(
        id=row["id"],
        system=row["system"],
        tools=tuple(tool_from_json(tool) for tool in row["tools"]),
        rounds=(Round(user=row["user"]),),
    )
    return Case(
        id=row["id"],
        sample=write(trajectory, protocols.get(protocol)),
        accepted=tuple(ToolCall(name=call["name"], arguments=call["arguments"]) for call in row["accepted"]),
        compare=dict(row.get("compare") or {}),
        clusters=tuple(row["clusters"]),
        tags=dict(row["tags"]),
    )
