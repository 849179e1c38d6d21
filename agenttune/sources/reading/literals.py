"""Python literals in a data file, read as JSON data and never run."""

from __future__ import annotations

import ast
import functools
import json
import math
import re
import warnings
from collections.abc import Iterator
from typing import Any, TypeAlias

import orjson

from agenttune.errors import Refusal
from agenttune.values.trajectory import Json

MAX_LITERAL = 1 << 19  # characters; ast.literal_eval needs several hundred bytes for each value of a longer text
# A text in quotes; where one has no end, all the rest, so that no other quote is tried as a beginning.
_TEXT = re.compile(r"""('[^'\\\n\r]*+(?:\\.[^'\\\n\r]*+)*+'|"[^"\\\n\r]*+(?:\\.[^"\\\n\r]*+)*+"|['"][\s\S]*)""")
_SKELETON = re.compile(r"(?:[\[\]{},: \t\r\n\x01]++|True|False|None)++")
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_KNOWN = frozenset((b"n", b"t", b"r", b"\\", b"'", b'"'))  # escapes that mean the same in Python and in JSON, and those of quotes
_GAPS = re.compile(r"[\[\]{},: \t\r\n']++")  # what stands between texts, where there are no words
_CONTROLS = bytes(range(32))
_LONGEST = 4096  # characters between texts, of a layout that is remembered
_MEANT = {"": "\\", "n": "\n", "t": "\t", "r": "\r"}  # what a backslash and this letter (none: another backslash) stand for


def literal(text: str) -> Json:
    """A Python literal as JSON data (tuples become lists, number keys become text as in JSON). Never runs anything.

    Raises `Refusal`: ``literal`` for what is too long, not a literal, or nothing that JSON could hold; ``key_twice``.
    """
    if len(text) > MAX_LITERAL:
        raise Refusal("literal", f"a Python literal of more than {MAX_LITERAL} characters is not read", text)
    plain = plain_literal(text)
    if plain is not None:
        return plain
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" in a data file is no concern of ours
            tree = ast.parse(text.strip(), mode="eval")
        _no_key_twice(tree, text)
        return _as_json(ast.literal_eval(tree))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        # ast's own messages hold memory addresses, and a report must be the same bytes every time
        raise Refusal("literal", "not a Python literal that JSON could hold", text) from error


def plain_literal(text: str) -> list[Json] | dict[str, Json] | None:
    """A literal of lists, objects, texts, True, False and None, read as the JSON it becomes when its texts are quoted anew.

    Ten times faster than building Python's syntax tree. None where anything else stands in it, where an escape has another meaning in
    JSON, or where a key stands twice: `literal` then looks closer. What is returned is what `literal` would return.
    """
    try:
        raw = text.encode("utf-8")
        if b"\x00" in raw:
            return None
        plainest = _plainest(text, raw)
        if plainest is not None:
            return plainest
        if not set(_ESCAPE.findall(raw)) <= _KNOWN:
            return None
        quoted, pairs = _requoted(text)
        value = orjson.loads(quoted)
        return value if isinstance(value, list | dict) and _keys(value) == pairs else None
    except (ValueError, RecursionError):
        return None


def _plainest(text: str, raw: bytes) -> list[Json] | dict[str, Json] | None:
    """The usual case, at half the cost: every single quote is a text's own edge. None for any other; `raw` is the text as UTF-8."""
    pieces = text.split("'")
    gaps = "'".join(pieces[::2])
    controls = len(raw) - len(raw.translate(None, _CONTROLS))
    if len(pieces) % 2 == 0 or len(gaps) > _LONGEST:
        return None
    if controls and controls != len(gaps) - len(gaps.encode("utf-8").translate(None, _CONTROLS)):
        return None  # a control character inside a text is none of JSON's
    try:
        layout = _layout(gaps)
        texts = iter([_unescaped(one) if "\\" in one else one for one in pieces[1::2]])
        return None if layout is None else _filled(layout, texts)
    except (ValueError, RecursionError):
        return None


_Layout: TypeAlias = "str | list[_Layout] | tuple[_Layout, ...]"  # a text, a list, the values of an object whose keys are texts


@functools.lru_cache(maxsize=512)  # thousands of records have the same number of messages
def _layout(gaps: str) -> list[_Layout] | tuple[_Layout, ...] | None:
    """How lists and objects stand around the texts, told by what is between these; None where that holds words. Raises `ValueError`."""
    if not _GAPS.fullmatch(gaps):
        return None
    numbered = "".join([f'"{number}"{gap}' if number else gap for number, gap in enumerate(gaps.split("'"))])
    layout = _shape(orjson.loads(numbered))
    return None if isinstance(layout, str) else layout


def _shape(value: Json) -> _Layout:
    if isinstance(value, list):
        return [_shape(one) for one in value]
    return tuple(_shape(one) for one in value.values()) if isinstance(value, dict) else ""


def _filled(layout: list[_Layout] | tuple[_Layout, ...], texts: Iterator[str]) -> list[Json] | dict[str, Json]:
    """The lists and objects of a layout with the texts in it. Raises `ValueError` where a key stands twice."""
    if isinstance(layout, list):
        return [next(texts) if isinstance(one, str) else _filled(one, texts) for one in layout]
    made: dict[str, Json] = {next(texts): next(texts) if isinstance(one, str) else _filled(one, texts) for one in layout}
    if len(made) < len(layout):
        raise ValueError("a key stands twice")
    return made


def _unescaped(body: str) -> str:
    """What stands between single quotes, as Python reads it. Raises `ValueError` for rarer escapes."""
    pieces = iter(body.split("\\"))
    made = [next(pieces)]
    for piece in pieces:
        meant = _MEANT.get(piece[:1])
        rest = piece[1:] if piece else next(pieces, None)  # of two backslashes, what follows the second one stands for itself
        if meant is None or rest is None:
            raise ValueError("an escape of another kind")
        made += meant, rest
    return "".join(made)


def _requoted(text: str) -> tuple[str, int]:
    """The text with JSON's quotes and words, empty if that is not all it needs; and how many pairs its objects hold."""
    pieces = _TEXT.split(text)
    skeleton = "\x01".join(pieces[::2])
    if not pieces[-1] or not _SKELETON.fullmatch(skeleton):  # a list or an object ends in a bracket
        return "", 0
    for at in range(1, len(pieces), 2):
        body = pieces[at]
        quoted = body[1:-1].replace("\\'", "'")
        if body[0] == "'" and '"' in quoted:
            if '\\"' in quoted:
                return "", 0
            quoted = quoted.replace('"', '\\"')
        pieces[at] = f'"{quoted}"'
    if "e" in skeleton:
        pieces[::2] = [gap.replace("True", "true").replace("False", "false").replace("None", "null") for gap in pieces[::2]]
    return "".join(pieces), skeleton.count(":")


def _keys(value: Json) -> int:
    """How many pairs all objects inside hold together: fewer than were written where a key stood twice."""
    count = 0
    if isinstance(value, dict):
        count = len(value)
        value = value.values()
    for one in value:
        if type(one) is not str and isinstance(one, dict | list):
            count += _keys(one)
    return count


def _no_key_twice(tree: ast.AST, text: str) -> None:
    for node in ast.walk(tree):
        keys = [key.value for key in node.keys if isinstance(key, ast.Constant)] if isinstance(node, ast.Dict) else []
        if len(set(keys)) < len(keys):
            raise Refusal("key_twice", "an object has one key twice", text)


def _as_json(value: Any) -> Json:
    if isinstance(value, list | tuple):
        return [_as_json(one) for one in value]
    if isinstance(value, dict):
        return {_key(key): _as_json(one) for key, one in value.items()}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ValueError(f"{type(value).__name__} has no JSON form")


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, bool | int | float):
        return json.dumps(key)
    raise ValueError(f"a key of type {type(key).__name__} has no JSON form")
