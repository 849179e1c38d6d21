"""Arguments against a tool's JSON Schema: unknown, missing, wrong type or choice. A subset: a schema out of a data file may be anything.

Looked at: ``properties``, ``required``, ``type``, ``enum``, ``items``, at every depth. Other keywords, and values that are no schema,
say nothing. A name that ``properties`` does not list is unknown, unless there is no such list or ``additionalProperties`` allows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agenttune.values.trajectory import Json

_MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What is wrong (``unknown``, ``missing``, ``type``, ``enum``), where (``a.b[0]``), and a sentence."""

    kind: str
    where: str
    sentence: str


def mismatches(value: Json, schema: Any, where: str = "", depth: int = 0) -> Iterator[Mismatch]:
    """Everything in which a value is not as its schema says."""
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return
    types = types_of(schema)
    if types and not any(is_type(value, name) for name in types):
        yield Mismatch("type", where, f"{_place(where)} is {type_name(value)}, not {' or '.join(types)}")
        return
    choices = schema.get("enum")
    if isinstance(choices, list) and choices and not any(_same(value, choice) for choice in choices):
        yield Mismatch("enum", where, f"{_place(where)} is not one of its choices")
    if isinstance(value, Mapping):
        yield from _object(value, schema, where, depth)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from mismatches(one, schema.get("items"), f"{where}[{index}]", depth + 1)


_QUICK: dict[str, tuple[type, ...]] = {"string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,)}
_SCALARS = frozenset((str, int, float, bool, type(None)))


def plainly_fits(arguments: Mapping[str, Json], schema: Mapping[str, Any]) -> bool:
    """Whether `mismatches` surely finds nothing: the usual case, told at a fifth of its cost. It knows scalars of one named type only."""
    properties, required = schema.get("properties"), schema.get("required")
    if type(properties) is not dict or "enum" in schema or schema.get("type", "object") != "object":
        return False
    for name, one in arguments.items():
        inner = properties.get(name)
        if type(inner) is not dict or "enum" in inner or type(one) not in _SCALARS:
            return False
        kind = inner.get("type")
        if kind is not None and (type(kind) is not str or type(one) not in _QUICK.get(kind, ())):
            return False
    return not isinstance(required, list) or all(name in arguments for name in required if isinstance(name, str))


def _object(value: Mapping[str, Json], schema: Mapping[str, Any], where: str, depth: int) -> Iterator[Mismatch]:
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    required = schema.get("required")
    for name in required if isinstance(required, list) else []:
        if isinstance(name, str) and name not in value:
            yield Mismatch("missing", _inner(where, name), f"{_place(_inner(where, name))} is required and missing")
    for name, one in value.items():
        if name in properties:
            yield from mismatches(one, properties[name], _inner(where, name), depth + 1)
        elif not _allows(schema, properties, depth):
            yield Mismatch("unknown", _inner(where, name), f"{_place(_inner(where, name))} is not a parameter")


def _allows(schema: Mapping[str, Any], properties: Mapping[str, Any], depth: int) -> bool:
    extra = schema.get("additionalProperties")
    if extra is not None:
        return extra is not False
    if "properties" not in schema or "patternProperties" in schema:
        return True
    return not properties and depth > 0  # a tool with an empty list takes no argument; an inner object with one is free


def types_of(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """The type names of a schema that JSON Schema knows."""
    given = schema.get("type")
    if not isinstance(given, list):
        return (given,) if isinstance(given, str) and given in _TYPES else ()
    known = tuple(name for name in given if isinstance(name, str) and name in _TYPES)
    return known if len(known) == len(given) else ()


def is_type(value: Json, name: str) -> bool:
    """Whether a value is of a JSON Schema type; 2.0 is an integer there, true is no number."""
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return isinstance(value, _TYPES[name])


_TYPES: dict[str, Any] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list, "object": Mapping, "null": type(None),
}  # fmt: skip


def type_name(value: Json) -> str:
    """The JSON Schema name of a value's type."""
    return next((name for name in ("boolean", "null", "string", "integer", "number", "array", "object") if is_type(value, name)), "nothing")


def _same(value: Json, choice: Json) -> bool:
    return isinstance(value, bool) == isinstance(choice, bool) and bool(value == choice)


def _inner(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _place(where: str) -> str:
    return f'"{where}"' if where else "the value"
