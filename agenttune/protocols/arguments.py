"""A call's arguments as one line of JSON, and back out of what a model wrote."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import Any

from agenttune.errors import Refusal
from agenttune.values.trajectory import Json

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_MAX_LITERAL = 1 << 20  # ast.literal_eval builds a tree; a larger text is data we do not need to read as Python
_TEXT = frozenset((str,))


def only_texts(arguments: Mapping[str, Json]) -> bool:
    """Whether they are texts by name, as most are: JSON holds any."""
    return _TEXT.issuperset(map(type, arguments)) and _TEXT.issuperset(map(type, arguments.values()))


def arguments_text(arguments: Mapping[str, Json]) -> str:
    """Arguments as one line of JSON, letters of every script kept. Raises `Refusal` for what JSON cannot hold."""
    if only_texts(arguments):  # what the encoder makes of them, without the cost of setting it up
        return "{" + ", ".join([f"{encode_basestring(name)}: {encode_basestring(one)}" for name, one in arguments.items()]) + "}"
    try:
        return _ENCODER.encode(dict(arguments))
    except (TypeError, ValueError, RecursionError) as error:
        raise Refusal("arguments", f"the arguments are not JSON: {error}", repr(arguments)[:200]) from error


def read_arguments(text: str) -> dict[str, Json] | str:
    """A JSON object, or failing that a Python literal dict (what XTuner taught models to write); a string says why neither."""
    body = text
    fence = re.fullmatch(r"```[A-Za-z]*\s*\n?(.*?)\n?\s*```", body, re.DOTALL)
    if fence:
        body = fence.group(1).strip()
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        value = _literal(body)
        if value is None:
            return f"the arguments are not JSON: {error}"
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        return "the arguments are not a JSON object"
    return value


def _literal(body: str) -> Any:
    if len(body) > _MAX_LITERAL or not body.startswith("{"):
        return None
    try:
        value = ast.literal_eval(body)
        json.dumps(value, allow_nan=False)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return value
