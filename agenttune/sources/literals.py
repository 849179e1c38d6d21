"""Python literals in a data file, read as JSON data and never run."""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from typing import Any

import orjson

from agenttune.errors import Refusal
from agenttune.values.trajectory import Json

MAX_LITERAL = 1 << 19  # characters; ast.literal_eval needs several hundred bytes for each value of a longer text
_TEXT = re.compile(r"""('[^'\\\n\r]*(?:\\.[^'\\\n\r]*)*'|"[^"\\\n\r]*(?:\\.[^"\\\n\r]*)*")""")
_SKELETON = re.compile(r"(?:[\[\]{},: \t\r\n\x01]++|True|False|None)++")
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_SHARED = frozenset((b"n", b"t", b"r", b"\\"))  # escapes that mean the same in Python and in JSON
_QUOTES = frozenset((b"'", b'"'))
_GAPS = re.compile(rb"[\[\]{},: \t\r\n\x01]++")  # what stands between texts, where there are no words


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
        escapes = _SHARED.union(_ESCAPE.findall(raw)) - _SHARED
        if b"\x00" in raw or not escapes <= _QUOTES:
            return None
        quoted, pairs = ("", 0) if escapes else _plainly_requoted(raw)
        if not quoted:
            quoted, pairs = _requoted(text)
        value = orjson.loads(quoted)
        return value if isinstance(value, list | dict) and _keys(value) == pairs else None
    except (ValueError, RecursionError):
        return None


def _plainly_requoted(raw: bytes) -> tuple[bytes | str, int]:
    """As `_requoted`, for the usual case: every single quote is a text's own edge, every double one a plain character inside a text."""
    skeleton = b"\x01".join(raw.split(b"'")[::2])
    if not _GAPS.fullmatch(skeleton):
        return b"", 0
    return raw.replace(b'"', b'\\"').replace(b"'", b'"'), skeleton.count(b":")


def _requoted(text: str) -> tuple[str, int]:
    """The text with JSON's quotes and words, empty if that is not all it needs; and how many pairs its objects hold."""
    pieces = _TEXT.split(text)
    skeleton = "\x01".join(pieces[::2])
    if not _SKELETON.fullmatch(skeleton):
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
