"""The one reader of JSON: of a whole record, of a text inside a record, of a value inside a text. No key is ever lost in silence."""

from __future__ import annotations

import json
import re
import reprlib

import orjson

from agenttune.errors import Refusal
from agenttune.sources.reading.literals import MAX_LITERAL, literal, plain_literal
from agenttune.sources.reading.relaxed import if_allowed
from agenttune.values.trajectory import Json

_KINDS = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number", type(None): "nothing"}
_SINGLE_QUOTED = re.compile(r"[\[{\s]*'")  # no JSON begins so
# A language counts as one only before a line's end or before JSON: "```done```" is the text "done".
_FENCE = re.compile(r"`{3,}(?:[^\S\n]*(?:[A-Za-z0-9_+-]+[^\S\n]*)?\n|[^\S\n]*[A-Za-z]+[^\S\n]*(?=[{\[]))?")
# orjson turns integers beyond 64 bits into floats: a text with 19 digits in a row is read by the slower parser.
_DIGITS = bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))
_BIG = b"0" * 19
_KEY = b'":'
_QUOTED_KEY = b'\\":'
_ESCAPED_KEY = re.compile(rb"\\u00(?:22|3[aA])")  # a quote or a colon under another spelling
_PLAIN = frozenset((str, int, bool, type(None)))
_FEW = 16  # fields of an object that is written again
_NOTHING = object()


def loads(text: str) -> Json:
    """Strict JSON: no NaN, no deep nesting, no key twice in an object. Raises `Refusal` with code ``json`` or ``key_twice``."""
    try:
        value = _quick(text.encode("utf-8"))
    except UnicodeEncodeError:
        value = _NOTHING
    return _careful(text, _STRICT) if value is _NOTHING else value


def loads_record(raw: bytes) -> Json:
    """The UTF-8 JSON of a whole record. Raises `Refusal` with code ``json``, ``key_twice``, ``encoding`` or ``surrogate``."""
    value = _quick(raw)
    return _record_carefully(raw) if value is _NOTHING else value


def read_value(text: str) -> tuple[Json, str]:
    """JSON with or without a fence; failing that, JSON with raw control characters in its texts; failing that, a Python literal.

    Returns the value and the name of the change: empty, ``"json_control_characters"`` or ``"python_literal"``. Inside `relaxed.allowed`
    relaxed JSON is read at last, and what it took is named there.
    Raises `Refusal` (``json``, ``key_twice``).
    """
    body = strip_fence(text)
    if _SINGLE_QUOTED.match(body) and len(body) <= MAX_LITERAL:
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


def value_or_none(text: str) -> Json:
    """What `read_value` reads; None also where that is nothing."""
    try:
        return read_value(text)[0]
    except Refusal:
        return None


def value_at(text: str, at: int, *, controls: bool = False) -> tuple[Json, int]:
    """The JSON value that begins at `at`, and where it ends; with `controls` its texts may hold raw control characters.

    Raises `ValueError` where there is none, `RecursionError` for deep nesting, and `Refusal` (``key_twice``).
    """
    return (_CONTROLS if controls else _STRICT).raw_decode(text, at)


def is_json(raw: bytes) -> bool:
    """Whether all of `raw` is one JSON value."""
    try:
        orjson.loads(raw)
    except orjson.JSONDecodeError:
        try:
            json.loads(raw)
        except (ValueError, RecursionError):
            return False
    return True


def strip_fence(text: str) -> str:
    """The body of a Markdown code fence, however its language is spelled; text without a fence comes back stripped."""
    body = text.strip()
    found = _FENCE.match(body) if body.startswith("`") else None
    if found is None:
        return body
    inner = body[found.end() :]
    bare = inner.rstrip("`")
    return (bare if len(inner) - len(bare) >= 3 else inner).strip()


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


def kind_name(value: Json) -> str:
    """What a person calls a JSON value: ``a list``, ``text``, …"""
    return _KINDS.get(type(value), type(value).__name__)


def excerpt(value: object) -> str:
    """At most 400 characters of a value, whatever its size and depth, for a `Refusal`."""
    if isinstance(value, str):
        return value[:400]
    short = reprlib.Repr()
    short.maxlevel, short.maxdict, short.maxlist, short.maxstring = 4, 12, 12, 300
    return short.repr(value)[:400]


def _quick(raw: bytes) -> Json:
    """What the fast parser reads, where that is what the careful one would; else `_NOTHING`."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return _NOTHING
    plain = _is_plain(value)
    if (plain or _BIG not in raw.translate(_DIGITS)) and _has_all_keys(value, raw, plain=plain):
        return value
    return _NOTHING


def _is_plain(value: Json) -> bool:
    """An object without objects, lists or floats in it: no integer of it has become a float."""
    return isinstance(value, dict) and _PLAIN.issuperset(map(type, value.values()))


def _has_all_keys(value: Json, raw: bytes, *, plain: bool) -> bool:
    """Whether as many keys came out as went in: of two values under one key the fast parser keeps the last, in silence."""
    if plain and len(value) <= _FEW and _spelled(value, raw) == raw:
        return True  # what came out, written again, is what went in
    if b" :" in raw or b"\t:" in raw or b"\n:" in raw or b"\r:" in raw:
        return False  # a key whose end is spelled otherwise would make up for one that is lost
    if plain and b'\\\\"' not in raw and raw.count(_KEY) - raw.count(_QUOTED_KEY) == len(value):
        return True  # no text ends in a backslash, so a bare quote before a colon ends a key or begins a text: no key is lost
    if b"\\u00" in raw and _ESCAPED_KEY.search(raw):
        return False
    try:
        return orjson.dumps(value).count(_KEY) == raw.count(_KEY)
    except orjson.JSONEncodeError:  # it reads deeper nesting than it writes
        return False


def _spelled(value: dict[str, Json], raw: bytes) -> bytes:
    """The object as most programs write it, with blanks or without, whichever stands in `raw` behind the first key."""
    end = 1 + len(orjson.dumps(next(iter(value), "")))
    colon, comma = (b": ", b", ") if raw[end : end + 2] == b": " else (b":", b",")
    return b"{" + comma.join([orjson.dumps(key) + colon + orjson.dumps(one) for key, one in value.items()]) + b"}"


def _record_carefully(raw: bytes) -> Json:
    """Also NaN and 1,000 levels of nesting; half of a surrogate pair is refused by name."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal("encoding", f"not UTF-8 text (byte {error.start})", raw[:400].decode("utf-8", "replace")) from error
    value = _careful(text, _WITH_NAN)
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        raise Refusal("json", "the JSON is nested too deeply", text) from error
    except UnicodeEncodeError as error:
        raise Refusal("surrogate", "a text holds half of a surrogate pair, which no UTF-8 file can hold", text) from error
    return value


def _careful(text: str, decoder: json.JSONDecoder) -> Json:
    try:
        return decoder.decode(text)
    except RecursionError as error:
        raise Refusal("json", "the JSON is nested too deeply", text) from error
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text[error.pos : error.pos + 1] in ("{", "["):
            raise Refusal("json", f"two JSON values in a row: the second begins at character {error.pos}", text) from error
        raise Refusal("json", f"not JSON: {error}", text) from error
    except ValueError as error:
        raise Refusal("json", f"not JSON: {error}", text) from error


def _lenient(text: str) -> Json:
    return _careful(text, _CONTROLS)


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """An object; the last of two values under one key would win in silence."""
    value = dict(pairs)
    if len(value) < len(pairs):
        raise Refusal("key_twice", "an object has one key twice", str(pairs)[:400])
    return value


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
_CONTROLS = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, strict=False)
_WITH_NAN = json.JSONDecoder(object_pairs_hook=_unique)
