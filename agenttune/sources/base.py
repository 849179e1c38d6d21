"""What every dataset format offers, and the small readings that several of them share.

A source is a module (or any object) with ``NAME``, ``detect`` and ``read``; one that is also a target has ``write``.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import orjson

from agenttune.errors import Refusal
from agenttune.sources.reading.literals import MAX_LITERAL, literal, plain_literal
from agenttune.sources.reading.relaxed import if_allowed
from agenttune.values.trajectory import Json, ToolSpec, Trajectory

_KINDS = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number", type(None): "nothing"}
_QUOTED = re.compile(r"[\[{\s]*'")  # no JSON begins so
# A language counts as one only before a line's end or before JSON: "```done```" is the text "done".
_FENCE = re.compile(r"`{3,}(?:[^\S\n]*(?:[A-Za-z0-9_+-]+[^\S\n]*)?\n|[^\S\n]*[A-Za-z]+[^\S\n]*(?=[{\[]))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """Where a record stood, and a person's choices.

    `line` is the line of a ``.jsonl`` file, else the record's number in its file (both from 1). `systems` maps a scenario to its system
    text, for data that keeps them apart. `branches`: of a tree of messages every path, or the best-ranked one. `failed_branches`: also the
    paths of a search tree that ended without an answer.
    """

    file: str = ""
    line: int = 0
    systems: Mapping[str, str] = field(default_factory=dict)
    branches: Literal["all", "best"] = "all"
    failed_branches: bool = False


class Source(typing.Protocol):
    """One raw format. A module with these three names is a source."""

    NAME: str

    def detect(self, record: Json, /) -> str | None:
        """Why this record looks like this format, in a few words, or None. Must not raise."""

    def read(self, record: Json, options: ReadOptions, /) -> Iterator[Trajectory | Refusal]:
        """The conversations of a record: usually one. Raises `Refusal` for what cannot be read exactly; where a record holds several
        conversations, a `Refusal` may be yielded in the place of a bad one. A record that yields nothing counts as refused."""


class Target(typing.Protocol):
    """A format that can also be written."""

    NAME: str

    def write(self, trajectory: Trajectory, /) -> Json:
        """The record of a trajectory. Raises `Refusal` for a step the format cannot hold."""


def strip_fence(text: str) -> str:
    """The body of a Markdown code fence, however its language is spelled; text without a fence comes back stripped."""
    body = text.strip()
    found = _FENCE.match(body) if body.startswith("`") else None
    if found is None:
        return body
    inner = body[found.end() :]
    bare = inner.rstrip("`")
    return (bare if len(inner) - len(bare) >= 3 else inner).strip()


_LONG = re.compile(r"[0-9][0-9]{18}")  # one digit by itself lets the search leap from digit to digit
_NOTHING = object()


def _quick(text: str) -> Json:
    """JSON by the fast parser, where it reads what the careful one would; else `_NOTHING`.

    It makes floats of integers beyond 64 bits, and keeps the last of two values under one key: a text with as many ``":`` in it as what
    came out, none of them spelled otherwise, has no key twice.
    """
    if _LONG.search(text) or " :" in text or "\n:" in text or "\t:" in text or "\r:" in text or "\\u" in text:
        return _NOTHING
    try:
        value = orjson.loads(text)
        return value if orjson.dumps(value).count(b'":') == text.count('":') else _NOTHING
    except (ValueError, TypeError):
        return _NOTHING


def loads(text: str) -> Json:
    """Strict JSON: no NaN, no deep nesting, no key twice in an object. Raises `Refusal` with code ``json`` or ``key_twice``."""
    value = _quick(text)
    return _loads(text, strict=True) if value is _NOTHING else value


def _loads(text: str, *, strict: bool) -> Json:
    try:
        return json.loads(text, strict=strict, parse_constant=_no_constant, object_pairs_hook=_unique)
    except RecursionError as error:
        raise Refusal("json", "the JSON is nested too deeply", text) from error
    except ValueError as error:
        raise Refusal("json", f"not JSON: {error}", text) from error


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """An object; the last of two values under one key would win in silence."""
    value = dict(pairs)
    if len(value) < len(pairs):
        raise Refusal("key_twice", "an object has one key twice", str(pairs)[:400])
    return value


def read_value(text: str) -> tuple[Json, str]:
    """JSON with or without a fence; failing that, JSON with raw control characters in its texts; failing that, a Python literal.

    Returns the value and the name of the change: empty, ``"json_control_characters"`` or ``"python_literal"``. Inside `relaxed.allowed`
    relaxed JSON is read at last, and what it took is named there.
    Raises `Refusal` (``json``, ``key_twice``).
    """
    body = strip_fence(text)
    if _QUOTED.match(body) and len(body) <= MAX_LITERAL:
        plain = plain_literal(body)
        if plain is not None:
            return plain, "python_literal"
    readings = (("", loads), ("json_control_characters", _lenient), ("python_literal", literal), ("", if_allowed))
    problems = []
    for change, read in readings:
        try:
            return read(body), change
        except Refusal as problem:
            if problem.code == "key_twice":
                raise
            problems.append(problem)
    raise Refusal("json", f"{problems[0].sentence}, and no Python literal", text) from problems[-1]


def _lenient(text: str) -> Json:
    return _loads(text, strict=False)


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def text_of(value: Json) -> str:
    """A string as it is, nothing as the empty text, anything else as one line of JSON. Raises `Refusal` where JSON has no form for it."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise Refusal("json", f"a value has no JSON text: {error}", repr(value)[:200]) from error


def as_object(record: Json) -> dict[str, Json]:
    """The record itself, if it is a JSON object. Raises `Refusal` with code ``shape``."""
    if not isinstance(record, dict):
        raise Refusal("shape", f"a record must be a JSON object, this is {kind_name(record)}", str(record)[:400])
    return record


def kind_name(value: Json) -> str:
    """What a person calls a JSON value: ``a list``, ``text``, …"""
    return _KINDS.get(type(value), type(value).__name__)


def record_id(record: Mapping[str, Json], *keys: str) -> str:
    """The first of `keys` (default ``id``) that the record has, as text; empty if it has none."""
    for key in keys or ("id",):
        value = record.get(key)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return str(value)
    return ""


def tool_group(tools: Iterable[ToolSpec]) -> str:
    """A short stable name of a tool set, whatever its order; empty where there is no tool."""
    return _group(tuple(tool.name for tool in tools))


@functools.lru_cache(maxsize=512)  # thousands of records share one list
def _group(given: tuple[str, ...]) -> str:
    names = sorted(set(given))
    return "tools:" + hashlib.blake2b("\n".join(names).encode("utf-8", "replace"), digest_size=6).hexdigest() if names else ""


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


@dataclass(frozen=True, slots=True)
class SystemParts:
    """A system text without its tool list, the tools, and what was changed in reading them."""

    text: str
    tools: tuple[ToolSpec, ...]
    notes: tuple[str, ...] = ()


def note_name(note: str) -> str:
    """The name of a note, by which changes are counted: the part before ``": "``; what follows is a detail of this record."""
    return note.partition(": ")[0]
