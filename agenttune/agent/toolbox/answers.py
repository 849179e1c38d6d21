"""What a tool's work becomes: the text a model reads, or a short error that leaks nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from enum import Enum
from typing import Any

LIMIT = 8000  # characters of one observation, about 2,000 tokens of English
_ERROR_LIMIT = 500
_PATH = re.compile(r"(?<![\w:/.])(?:[A-Za-z]:)?[/\\](?:[^\s'\"/\\:]+[/\\])+([^\s'\"/\\:]*)")
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)


class ToolError(Exception):
    """A failure that a tool puts into words for the model; the message alone reaches it."""


class ArgumentsError(ToolError):
    """Arguments that do not fit a tool's signature."""


def text_of(value: Any) -> str:
    """A result as text: a string as it is, everything else as compact JSON. Raises `ToolError` for what JSON cannot hold."""
    if isinstance(value, str) and not isinstance(value, Enum):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise ToolError(f"the tool returned a value that is not JSON: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if hasattr(value, "model_dump") and not isinstance(value, type):  # a pydantic model
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is not a JSON type")


def cut(text: str, limit: int) -> str:
    """At most `limit` characters of `text`: the middle gives way to a mark that says how many are left out. No lone surrogate stays."""
    if len(text) > limit:
        room = max(limit - len(_mark(len(text))), 0)
        tail = room // 4
        head = room - tail
        text = text[:head] + _mark(len(text) - room) + (text[-tail:] if tail else "")
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if _has_surrogate(text) else text


def _has_surrogate(text: str) -> bool:
    return re.search("[\ud800-\udfff]", text) is not None


def _mark(count: int) -> str:
    return f"\n[… {count} characters left out …]\n"


def described(error: BaseException) -> str:
    """An exception's class and message in one line, without folders of this machine and without values of secret variables."""
    message = " ".join(clean(str(error)[: 8 * _ERROR_LIMIT]).split())
    name = type(error).__name__
    return f"{name}: {message}"[:_ERROR_LIMIT] if message else name


def clean(text: str) -> str:
    """`text` with folders shortened to file names, and values of environment variables that hold secrets hidden."""
    for name, value in os.environ.items():
        if len(value) >= 8 and _SECRET.search(name):
            text = text.replace(value, "[hidden]")
    return _PATH.sub(lambda found: f"…/{found.group(1)}", text)
