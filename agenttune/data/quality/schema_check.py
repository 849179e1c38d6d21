"""Arguments against a tool's JSON Schema: unknown, missing, wrong type or choice. A subset: a schema out of a data file may be anything.

Looked at, at every depth: ``properties``, ``required``, ``type`` (and OpenAPI's ``nullable``), ``enum``, ``const``, ``items``, ``anyOf``,
``oneOf`` (as ``anyOf``), ``allOf``, and ``$ref`` within the schema. Other keywords, and values that are no schema, say nothing. A name that
``properties`` does not list is unknown, unless there is no such list or ``additionalProperties`` allows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agenttune.values.trajectory import Json

_MAX_DEPTH = 32
_MOST = 10_000  # parts of a schema that are held against one value
_BRANCHES = ("anyOf", "oneOf")
_COMBINED = frozenset((*_BRANCHES, "allOf", "$ref", "const", "enum"))  # what `plainly_fits` leaves to `mismatches`
_NO_ROOT: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What is wrong (``unknown``, ``missing``, ``type``, ``enum``, ``unchecked``), where (``a.b[0]``), and a sentence."""

    kind: str
    where: str
    sentence: str


class _TooMuch(Exception):
    """More schemas were looked at than `_MOST`."""


class _Root:
    """The whole schema, in which ``$ref`` is looked up, and how many parts of it may still be looked at.

    Alternatives of alternatives double the work at every depth, and a file of a few hundred bytes can ask for billions of comparisons.
    """

    def __init__(self, schema: Any) -> None:
        self.schema: Mapping[str, Any] = schema if isinstance(schema, Mapping) else _NO_ROOT
        self.left = _MOST

    def count(self) -> None:
        """One more part. Raises `_TooMuch`."""
        self.left -= 1
        if self.left < 0:
            raise _TooMuch


def mismatches(value: Json, schema: Any) -> Iterator[Mismatch]:
    """Everything in which a value is not as its schema says. Of alternatives (``anyOf``), what is wrong under the one that fits best.

    The last is ``unchecked`` where the schema has too many alternatives of alternatives to look at them all.
    """
    try:
        yield from _mismatches(value, schema, _Root(schema), "", 0)
    except _TooMuch:
        yield Mismatch("unchecked", "", "the schema has too many alternatives of alternatives to check these and later arguments")


def _mismatches(value: Json, schema: Any, root: _Root, where: str, depth: int) -> Iterator[Mismatch]:
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return
    root.count()
    schema = _flat(schema, root.schema)
    types = _own_types(schema)
    if types and not any(is_type(value, name) for name in types):
        yield _wrong_type(value, types, where)
        return
    choices = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(choices, list) and choices and not any(_same(value, choice) for choice in choices):
        yield Mismatch("enum", where, f"{_place(where)} is not one of its choices")
    branches = _branches(schema)
    if branches:
        yield from _best(value, [_joined(schema, _flat(one, root.schema)) for one in branches], root, where, depth)
    elif isinstance(value, Mapping):
        yield from _object(value, schema, root, where, depth)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _mismatches(one, schema.get("items"), root, f"{where}[{index}]", depth + 1)


def _best(value: Json, branches: list[Mapping[str, Any]], root: _Root, where: str, depth: int) -> Iterator[Mismatch]:
    """What is wrong under the alternative that fits best: where none has the value's type, that it has none of theirs."""
    found = [list(_mismatches(value, one, root, where, depth + 1)) for one in branches]
    if not all(found):
        return
    typed = [one for one in found if not (one[0].kind == "type" and one[0].where == where)]
    if typed:
        yield from min(typed, key=len)
    else:
        yield _wrong_type(value, tuple(dict.fromkeys(name for one in branches for name in _own_types(one))), where)


def _wrong_type(value: Json, types: tuple[str, ...], where: str) -> Mismatch:
    return Mismatch("type", where, f"{_place(where)} is {type_name(value)}, not {' or '.join(types)}")


def _branches(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    given: list[Any] = next((schema[key] for key in _BRANCHES if isinstance(schema.get(key), list)), [])
    return [one for one in given if isinstance(one, Mapping)]


def _flat(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema with what it refers to (``$ref``) and all of what it is made of (``allOf``) in its own place."""
    for _ in range(_MAX_DEPTH):
        parts = [one for one in schema["allOf"] if isinstance(one, Mapping)] if isinstance(schema.get("allOf"), list) else []
        if "$ref" in schema:
            parts.append(_referred(schema["$ref"], root))
        if not parts:
            return schema
        schema = {key: value for key, value in schema.items() if key not in ("allOf", "$ref")}
        for one in parts:
            schema = _joined(schema, one, keep=True)
    return _NO_ROOT


def _referred(name: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """What ``#/$defs/name`` stands for; an empty schema where that is not there, or in another document."""
    found: Any = root
    for key in str(name).removeprefix("#").strip("/").split("/") if str(name).startswith("#/") else [None]:
        found = found.get(key.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) and key is not None else None
    return found if isinstance(found, Mapping) else _NO_ROOT


def _joined(schema: Mapping[str, Any], part: Mapping[str, Any], *, keep: bool = False) -> Mapping[str, Any]:
    """Both at once. What was checked before an alternative is looked at is left out, unless `keep`: type, choices, alternatives."""
    done = () if keep else ("type", "nullable", "enum", "const", *_BRANCHES)
    whole = {**{key: value for key, value in schema.items() if key not in done}, **part}
    properties = [one["properties"] for one in (schema, part) if isinstance(one.get("properties"), Mapping)]
    required = [one["required"] for one in (schema, part) if isinstance(one.get("required"), list)]
    if properties:
        whole["properties"] = {name: inner for one in properties for name, inner in one.items()}
    if required:
        whole["required"] = [name for one in required for name in one]
    return whole


_QUICK: dict[str, tuple[type, ...]] = {"string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,)}
_SCALARS = frozenset((str, int, float, bool, type(None)))


def plainly_fits(arguments: Mapping[str, Json], schema: Mapping[str, Any]) -> bool:
    """Whether `mismatches` surely finds nothing: the usual case, told at a fifth of its cost. It knows scalars of one named type only."""
    properties, required = schema.get("properties"), schema.get("required")
    if type(properties) is not dict or not _COMBINED.isdisjoint(schema) or schema.get("type", "object") != "object":
        return False
    for name, one in arguments.items():
        inner = properties.get(name)
        if type(inner) is not dict or not _COMBINED.isdisjoint(inner) or type(one) not in _SCALARS:
            return False
        kind = inner.get("type")
        if kind is not None and (type(kind) is not str or type(one) not in _QUICK.get(kind, ())):
            return False
    return not isinstance(required, list) or all(name in arguments for name in required if isinstance(name, str))


def _object(value: Mapping[str, Json], schema: Mapping[str, Any], root: _Root, where: str, depth: int) -> Iterator[Mismatch]:
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    required = schema.get("required")
    for name in required if isinstance(required, list) else []:
        if isinstance(name, str) and name not in value:
            yield Mismatch("missing", _inner(where, name), f"{_place(_inner(where, name))} is required and missing")
    for name, one in value.items():
        if name in properties:
            yield from _mismatches(one, properties[name], root, _inner(where, name), depth + 1)
        elif not _allows(schema, properties, depth):
            yield Mismatch("unknown", _inner(where, name), f"{_place(_inner(where, name))} is not a parameter")


def _allows(schema: Mapping[str, Any], properties: Mapping[str, Any], depth: int) -> bool:
    extra = schema.get("additionalProperties")
    if extra is not None:
        return extra is not False
    if "properties" not in schema or "patternProperties" in schema:
        return True
    return not properties and depth > 0  # a tool with an empty list takes no argument; an inner object with one is free


def types_of(schema: Mapping[str, Any], root: Mapping[str, Any] = _NO_ROOT) -> tuple[str, ...]:
    """The type names that a schema allows, its alternatives' among them; none where it allows any, or says something JSON Schema has not.

    `root` is the whole schema that a ``$ref`` in this one is looked up in.
    """
    schema = _flat(schema, root)
    if "type" in schema:
        return _own_types(schema)
    if "const" in schema:
        return (type_name(schema["const"]),)
    each = [types_of(one, root) for one in _branches(schema)]
    return tuple(dict.fromkeys(name for one in each for name in one)) if all(each) else ()


def _own_types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    given = schema.get("type")
    names = given if isinstance(given, list) else [given]
    known = tuple(name for name in names if isinstance(name, str) and name in _TYPES)
    if len(known) < len(names):
        return ()
    return (*known, "null") if schema.get("nullable") is True and "null" not in known else known


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
