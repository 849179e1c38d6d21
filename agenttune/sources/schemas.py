"""Tool lists as people write them (OpenAI, Anthropic, xLAM, Python type names, JSON in a text) as tool specifications."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping

from agenttune.errors import Refusal
from agenttune.sources.reading.json_text import excerpt, kind_name, read_value, text_of
from agenttune.sources.tool_lists import is_true, merge_tools, schema_of_list, schema_type
from agenttune.values.trajectory import Json, ToolSpec

_SCHEMA_KEYS = ("parameters", "input_schema", "inputSchema")
_WORDS = ("properties", "$ref", "anyOf", "oneOf", "allOf")
_TYPES = frozenset(("string", "integer", "number", "boolean", "array", "object", "null"))
_OPTIONAL = re.compile(r"\s*,\s*optional\.?\s*\Z", re.IGNORECASE)
_GENERIC = re.compile(r"\s*(?:typing\.)?(list|sequence|set|tuple|dict|mapping|optional)\s*\[(.*)\]\s*\Z", re.IGNORECASE | re.DOTALL)
_MAX_DEPTH = 64
_MAX_TYPE = 200  # characters of a type's name; more is a text in the wrong place


def tools_of(value: Json, notes: list[str]) -> tuple[ToolSpec, ...]:
    """A list of tools, or a text that holds one, as specifications without repeated names. Raises `Refusal` (``tool``).

    Notes: ``tool_list_literal``, ``required_moved``, ``schema_types``, ``tool_fields_dropped``, ``tool_merged``.
    """
    if isinstance(value, str):
        tools, changes = _from_text(value)
        notes += changes
        return tools
    if value is None:
        return ()
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list):
        raise Refusal("tool", f"the tools must be a list, this is {kind_name(value)}", excerpt(value))
    found: list[str] = []
    merged, repeats = merge_tools(tool_of(one, found) for entry in value for one in _declared(entry))
    notes += [*dict.fromkeys(found), *["tool_merged"] * repeats]
    return merged


def _declared(entry: Json) -> Iterable[Json]:
    """One entry of a tool list; Gemini's holds several functions, Bedrock's is wrapped."""
    if not isinstance(entry, Mapping):
        return (entry,)
    several = next((entry[key] for key in ("functionDeclarations", "function_declarations") if isinstance(entry.get(key), list)), None)
    wrapped = entry.get("toolSpec")
    return several if several is not None else (wrapped,) if isinstance(wrapped, Mapping) else (entry,)


@functools.lru_cache(maxsize=512)
def _from_text(text: str) -> tuple[tuple[ToolSpec, ...], tuple[str, ...]]:
    if not text.strip():
        return (), ()
    try:
        value, change = read_value(text)
    except Refusal as error:
        raise Refusal("tool", f"the tool list cannot be read: {error.sentence}", text) from error
    if isinstance(value, str):
        raise Refusal("tool", "the tool list is a text inside a text", text)
    notes: list[str] = ["tool_list_literal"] if change else []
    return tools_of(value, notes), tuple(notes)


def tool_of(entry: Json, notes: list[str]) -> ToolSpec:
    """One tool in any usual form. Raises `Refusal` (``tool``)."""
    if isinstance(entry, str):
        tools, changes = _from_text(entry)
        notes += changes
        if len(tools) != 1:
            raise Refusal("tool", "an entry of the tool list is a text that is not one tool", entry)
        return tools[0]
    if not isinstance(entry, Mapping):
        raise Refusal("tool", f"a tool must be an object, this is {kind_name(entry)}", excerpt(entry))
    if isinstance(entry.get("function"), Mapping):
        entry = entry["function"]
    name = entry.get("name")
    if not isinstance(name, str) or not name.strip():
        raise Refusal("tool", "a tool has no name", excerpt(entry))
    key = next((one for one in _SCHEMA_KEYS if entry.get(one) is not None), "")
    schema = object_schema(entry.get(key), notes)
    required = entry.get("required")
    if isinstance(required, list) and required and "required" not in schema:
        schema = {**schema, "required": required}
        notes.append("required_moved")
    if dropped := unused(entry, ("name", "description", "type", "required", key)):
        notes.append(f"tool_fields_dropped: {', '.join(dropped)}")
    return ToolSpec(name=name.strip(), description=text_of(entry.get("description")), parameters=schema)


def object_schema(value: Json, notes: list[str]) -> dict[str, Json]:
    """Parameters as an object schema: a JSON Schema, a list of named parameters, or a table name → type, description. Raises `Refusal`."""
    if isinstance(value, Mapping) and set(value) == {"json"}:  # Bedrock's
        value = value["json"]
    if value is None or value in ("", [], {}):
        return {"type": "object", "properties": {}}
    if isinstance(value, list):
        return schema_of_list(value)
    if not isinstance(value, Mapping):
        raise Refusal("tool", f"a tool's parameters must be an object, these are {kind_name(value)}", excerpt(value))
    if value.get("type") in ("object", "dict") or any(isinstance(value.get(word), Mapping | list | str) for word in _WORDS):
        return dict(_typed(value, notes, 0))
    if not all(isinstance(one, Mapping | str) for one in value.values()):
        raise Refusal("tool", "a tool's parameters are neither a JSON Schema nor a table of parameters", excerpt(value))
    table = {name: one if isinstance(one, Mapping) else {"description": one} for name, one in value.items()}
    return dict(_typed({"type": "object", "properties": table}, notes, 0))


def _typed(schema: Mapping[str, Json], notes: list[str], depth: int) -> dict[str, Json]:
    """The schema with JSON Schema's own type names, and ``required`` where it belongs."""
    if depth > _MAX_DEPTH:
        raise Refusal("tool", "a tool's parameters are nested too deeply")
    out: dict[str, Json] = {}
    for key, value in schema.items():
        if key == "type" and isinstance(value, str) and value not in _TYPES:
            out |= _named(value)
            notes.append("schema_types")
        elif key == "properties" and isinstance(value, Mapping):
            out[key] = {name: _typed(one, notes, depth + 1) if isinstance(one, Mapping) else one for name, one in value.items()}
        elif isinstance(value, Mapping) and key in ("items", "additionalProperties"):
            out[key] = _typed(value, notes, depth + 1)
        elif isinstance(value, list) and key in ("anyOf", "oneOf", "allOf"):
            out[key] = [_typed(one, notes, depth + 1) if isinstance(one, Mapping) else one for one in value]
        else:
            out[key] = value
    return _lifted(out, notes)


def _named(text: str) -> dict[str, Json]:
    """``List[str]``, ``Optional[int]``, ``str, optional``, ``int`` as JSON Schema."""
    if len(text) > _MAX_TYPE:
        return schema_type(text)
    text = _OPTIONAL.sub("", text)
    found = _GENERIC.match(text)
    if found is None:
        return schema_type(text)
    outer, inner = found.group(1).lower(), found.group(2)
    if outer == "optional":
        return _named(inner)
    if outer in ("dict", "mapping"):
        return {"type": "object"}
    simple = _named(inner)
    return {"type": "array", "items": simple} if outer != "tuple" and "type" in simple else {"type": "array"}


def _lifted(schema: dict[str, Json], notes: list[str]) -> dict[str, Json]:
    """Moves ``required: true`` of a property into the list of its object."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return schema
    flagged = [name for name, one in properties.items() if isinstance(one, Mapping) and _is_flag(one.get("required"))]
    if not flagged:
        return schema
    notes.append("required_moved")
    needed = [name for name in flagged if is_true(properties[name]["required"])]
    plain = {name: _without(one, "required") if name in flagged else one for name, one in properties.items()}
    listed = schema.get("required")
    every = list(dict.fromkeys([*(listed if isinstance(listed, list) else []), *needed]))
    return {**schema, "properties": plain, **({"required": every} if every else {})}


def _is_flag(value: Json) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and value.strip().lower() in ("true", "false"))


def _without(table: Mapping[str, Json], key: str) -> dict[str, Json]:
    return {name: value for name, value in table.items() if name != key}


def unused(table: Mapping[str, Json], known: Iterable[str]) -> list[str]:
    """Names of the fields of `table` that say something and are not `known`, in order of the alphabet."""
    keep = known if isinstance(known, frozenset) else frozenset(known)
    if keep.issuperset(table):  # nearly every message and record
        return []
    return sorted(str(key) for key in table.keys() - keep if table[key] not in (None, "", [], {}))
