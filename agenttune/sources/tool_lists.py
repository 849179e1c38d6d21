"""What several formats share about tool lists: names of types, parameters as a list, one tool for each name, a system text without them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from agenttune.errors import Refusal
from agenttune.values.trajectory import Json, ToolSpec


@dataclass(frozen=True, slots=True)
class SystemParts:
    """A system text without its tool list, the tools, and what was changed in reading them."""

    text: str
    tools: tuple[ToolSpec, ...]
    notes: tuple[str, ...] = ()


_TYPES = {
    "str": "string", "text": "string", "int": "integer", "long": "integer", "float": "number", "double": "number", "bool": "boolean",
    "list": "array", "tuple": "array", "dict": "object", "map": "object",
}  # fmt: skip
_JSON_TYPES = frozenset(("string", "integer", "number", "boolean", "array", "object", "null"))


def schema_type(name: str) -> dict[str, Json]:
    """A type as people spell it (``str``, ``Integer``) as a JSON Schema ``type``; where that has no word for it, as its ``format``."""
    word = name.strip().lower()
    word = _TYPES.get(word, word)
    return {"type": word} if word in _JSON_TYPES else {"format": name}


def schema_of_list(parameters: Iterable[Json]) -> dict[str, Json]:
    """A list of ``{"name", "description", "required", "type"}`` (or of bare names) as an object schema. Raises `Refusal` (``tool``)."""
    properties: dict[str, Json] = {}
    required: list[str] = []
    for entry in parameters:
        if isinstance(entry, str):
            entry = {"name": entry}
        if not isinstance(entry, (dict, Mapping)) or not isinstance(entry.get("name"), str) or not entry["name"]:
            raise Refusal("tool", "a tool's parameter has no name", str(entry))
        name = entry["name"]
        schema = {key: value for key, value in entry.items() if key != "name" and key != "required"}
        if isinstance(schema.get("type"), str):
            schema.update(schema_type(schema.pop("type")))
        properties[name] = schema
        if is_true(entry.get("required")) and name not in required:
            required.append(name)
    whole: dict[str, Json] = {"type": "object", "properties": properties}
    return {**whole, "required": required} if required else whole


def is_true(value: Json) -> bool:
    """True, or the text ``true`` in any spelling of its letters."""
    return value is True or (isinstance(value, str) and value.strip().lower() == "true")


def merge_tools(tools: Iterable[ToolSpec]) -> tuple[tuple[ToolSpec, ...], int]:
    """One tool for each name, in order of first appearance, and how many were merged away.

    The first description that says something stands; properties and required names are joined.
    """
    merged: dict[str, ToolSpec] = {}
    count = 0
    for tool in tools:
        seen = merged.get(tool.name)
        count += seen is not None
        merged[tool.name] = tool if seen is None else _joined(seen, tool)
    return tuple(merged.values()), count


def _joined(first: ToolSpec, second: ToolSpec) -> ToolSpec:
    schema: dict[str, Json] = {**second.parameters, **first.parameters}
    properties = [part.parameters.get("properties") for part in (second, first)]
    if all(isinstance(part, Mapping) for part in properties):
        schema["properties"] = {**_mapping(properties[1]), **_mapping(properties[0]), **_mapping(properties[1])}
    required = [name for part in (first, second) for name in _list(part.parameters.get("required"))]
    if required:
        schema["required"] = list(dict.fromkeys(required))
    return replace(first, description=first.description or second.description, parameters=schema)


def _mapping(value: Any) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
