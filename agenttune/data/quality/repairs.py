"""Named repairs of a trajectory, each counted: what the doctor finds and can mend without guessing a meaning."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from agenttune.data.quality.schema_check import is_type, types_of
from agenttune.errors import Refusal, UserError, nearest
from agenttune.sources.reading.json_text import loads
from agenttune.values.trajectory import Json, Malformed, Step, ToolCall, ToolSpec, Trajectory

NAMES = ("json", "tool_list", "tool_name", "types")
JSON = "json"  # applied while a record is read: see `sources.relaxed`
_NEAR = 0.85


def refuse_unknown(names: Iterable[str]) -> None:
    """Raises `UserError` for a repair that there is not."""
    for name in names:
        if name not in NAMES:
            raise UserError(f'there is no repair "{name}"{nearest(name, NAMES)}; known: {", ".join(NAMES)}')


def repaired(trajectory: Trajectory, names: Collection[str]) -> Trajectory:
    """The trajectory after these repairs, in the order of `NAMES`, each noted by the name ``fixed_…`` as often as it was applied.

    ``json``: relaxed JSON, which the reader has read and named by what it took (`fixed_json_…`). ``tool_list``: where no tool is declared,
    one for each tool called, with the arguments seen. ``tool_name``: the name of an undeclared tool becomes the one declared name that is
    nearest. ``types``: a text becomes the number, truth value, list or object its schema wants, and a number the text, where nothing but
    the spelling changes.
    """
    for name in NAMES:
        trajectory = _REPAIRS[name](trajectory) if name in names and name != JSON else trajectory
    return trajectory


@dataclass(slots=True)
class _Calls:
    """Applies one change to every call and counts it."""

    change: Callable[[ToolCall], ToolCall]
    count: int = field(default=0)

    def over(self, trajectory: Trajectory, note: str) -> Trajectory:
        rounds = tuple(replace(round_, steps=tuple(self._step(step) for step in round_.steps)) for round_ in trajectory.rounds)
        return replace(trajectory, rounds=rounds, notes=(*trajectory.notes, *[note] * self.count)) if self.count else trajectory

    def _step(self, step: Step) -> Step:
        calls = tuple(self._call(call) for call in step.calls)
        return step if calls == step.calls else replace(step, calls=calls)

    def _call(self, call: ToolCall | Malformed) -> ToolCall | Malformed:
        if isinstance(call, Malformed):
            return call
        changed = self.change(call)
        self.count += changed != call or json.dumps(changed.arguments) != json.dumps(call.arguments)  # 1 == 1.0 == True in Python
        return changed


def _tool_list(trajectory: Trajectory) -> Trajectory:
    if trajectory.tools:
        return trajectory
    seen: dict[str, list[Mapping[str, Json]]] = {}
    for call in (call for step in trajectory.steps() for call in step.calls if isinstance(call, ToolCall)):
        seen.setdefault(call.name, []).append(call.arguments)
    tools = tuple(ToolSpec(name=name, parameters=_schema_of(every)) for name, every in seen.items())
    return replace(trajectory, tools=tools, notes=(*trajectory.notes, *["fixed_tool_list"] * bool(tools)))


def _schema_of(every: list[Mapping[str, Json]]) -> dict[str, Json]:
    names = dict.fromkeys(name for arguments in every for name in arguments)
    properties = {name: _type_of([arguments[name] for arguments in every if name in arguments]) for name in names}
    required = [name for name in names if all(name in arguments for arguments in every)]
    schema: dict[str, Json] = {"type": "object", "properties": properties}
    return {**schema, "required": required} if required else schema


def _type_of(values: list[Json]) -> dict[str, Json]:
    for name in ("boolean", "integer", "number", "string", "array", "object"):
        if all(is_type(value, name) for value in values):
            return {"type": name}
    return {}


def _tool_name(trajectory: Trajectory) -> Trajectory:
    declared = [tool.name for tool in trajectory.tools]

    def change(call: ToolCall) -> ToolCall:
        close = [] if call.name in declared else difflib.get_close_matches(call.name, declared, n=2, cutoff=_NEAR)
        return replace(call, name=close[0]) if len(close) == 1 else call

    return _Calls(change).over(trajectory, "fixed_tool_name")


def _types(trajectory: Trajectory) -> Trajectory:
    schemas = {tool.name: tool.parameters for tool in trajectory.tools}

    def change(call: ToolCall) -> ToolCall:
        root = schemas.get(call.name, {})
        known = root.get("properties")
        if not isinstance(known, Mapping):
            return call
        return replace(call, arguments={name: coerced(value, known.get(name), root) for name, value in call.arguments.items()})

    return _Calls(change).over(trajectory, "fixed_types")


def coerced(value: Json, schema: Any, root: Mapping[str, Any] | None = None) -> Json:
    """The value in the type its schema wants, if only its spelling differs: ``"2"`` → 2, ``"True"`` → true, ``"[1]"`` → [1], 5 → ``"5"``.

    A value that cannot be had that way comes back as it is. `root` is the whole schema that a ``$ref`` is looked up in.
    """
    types = types_of(schema, root or {}) if isinstance(schema, Mapping) else ()
    if not types or any(is_type(value, name) for name in types):
        return value
    if isinstance(value, str):
        try:
            read = loads(value.strip().lower() if "boolean" in types else value)
        except Refusal:
            return value
        return read if any(is_type(read, name) for name in types) else value
    if "string" in types and isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    return value


_REPAIRS: dict[str, Callable[[Trajectory], Trajectory]] = {"tool_list": _tool_list, "tool_name": _tool_name, "types": _types}
