"""Nulls that a table made: its rows must have the same fields, so a call carries the parameters of all other tools as null."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from agenttune.errors import Refusal
from agenttune.values.trajectory import Json, Malformed, Step, ToolCall, ToolSpec, Trajectory

NOTE = "column_nulls"
_NAMES = ("name", "function", "api_name")
_ARGUMENTS = ("arguments", "parameters", "input", "args", "param_dict")
_NOT_CALLS = ("tools", "functions", "available_tools")
_MAX_DEPTH = 64


def without_column_nulls(trajectory: Trajectory) -> Trajectory:
    """The trajectory of a table's row without those nulls, each counted (note ``column_nulls``).

    Of a call every null goes but those that the schema of its tool allows; of a tool's schema every null, and with it the parameter it
    stands for.
    """
    count = [0]
    tools = tuple(_tool(one, count) for one in trajectory.tools)
    schemas = {tool.name: tool.parameters.get("properties") for tool in tools}
    rounds = tuple(replace(one, steps=tuple(_step(step, schemas, count) for step in one.steps)) for one in trajectory.rounds)
    return replace(trajectory, tools=tools, rounds=rounds, notes=(*trajectory.notes, *[NOTE] * count[0])) if count[0] else trajectory


def each_without(read: Iterator[Trajectory | Refusal]) -> Iterator[Trajectory | Refusal]:
    """The same for all that a source reads in one row."""
    for one in read:
        yield without_column_nulls(one) if isinstance(one, Trajectory) else one


def _tool(tool: ToolSpec, count: list[int]) -> ToolSpec:
    return replace(tool, parameters=_without(dict(tool.parameters), {}, count))


def _step(step: Step, schemas: Mapping[str, Json], count: list[int]) -> Step:
    return replace(step, calls=tuple(_call(call, schemas, count) for call in step.calls)) if step.calls else step


def _call(call: ToolCall | Malformed, schemas: Mapping[str, Json], count: list[int]) -> ToolCall | Malformed:
    if isinstance(call, Malformed):
        return call
    return replace(call, arguments=_without(dict(call.arguments), schemas.get(call.name), count))


def _without(value: Json, properties: Json, count: list[int]) -> Json:
    """The value without the nulls of its objects, but for those that `properties` allow."""
    if isinstance(value, list):
        return [_without(one, None, count) for one in value]
    if not isinstance(value, Mapping):
        return value
    kept = {}
    for key, one in value.items():
        schema = properties.get(key) if isinstance(properties, Mapping) else None
        if one is None and not allows_null(schema):
            count[0] += 1
        else:
            kept[key] = _without(one, schema.get("properties") if isinstance(schema, Mapping) else None, count)
    return kept


def allows_null(schema: Json) -> bool:
    """Whether a JSON Schema says that the value may be null."""
    if not isinstance(schema, Mapping):
        return False
    kinds = schema.get("type")
    choices = schema.get("enum")
    if kinds == "null" or schema.get("nullable") is True or ("const" in schema and schema["const"] is None):
        return True
    if (isinstance(kinds, list) and "null" in kinds) or (isinstance(choices, list) and None in choices):
        return True
    return any(allows_null(one) for word in ("anyOf", "oneOf") if isinstance(schema.get(word), list) for one in schema[word])


def looks_like_table(records: Sequence[Json]) -> bool:
    """Whether these records were rows of a table: they call several tools, all with the same keys, half of them null or more."""
    calls = [found for record in records for found in _calls(record, 0)]
    keys = {frozenset(arguments) for _, arguments in calls}
    values = [one for _, arguments in calls for one in arguments.values()]
    nulls = sum(one is None for one in values)
    return len({name for name, _ in calls}) > 1 and len(keys) == 1 and nulls > 0 and 2 * nulls >= len(values)


def _calls(value: Json, depth: int) -> Iterator[tuple[str, Mapping[str, Json]]]:
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, list):
        for one in value:
            yield from _calls(one, depth + 1)
    elif isinstance(value, dict):
        name = next((value[key] for key in _NAMES if isinstance(value.get(key), str)), "")
        arguments = next((value[key] for key in _ARGUMENTS if isinstance(value.get(key), dict)), None)
        if name and arguments is not None:
            yield name, arguments
        for key, one in value.items():
            if key not in _NOT_CALLS and isinstance(one, dict | list):
                yield from _calls(one, depth + 1)
