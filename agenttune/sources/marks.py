"""Texts that are a wire format of their own inside chat messages: whose reader must take the record, not the plain chat one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from agenttune.sources.msagent import markers
from agenttune.values.trajectory import Json

_REACT = re.compile(r"^(?:Action[ _]Input:|Action(?: \d+)?: ?[A-Za-z_][\w.\- ]*\[)|\A\s*>[ \t]*\S", re.MULTILINE)
_HERMES = re.compile(r"<tool_call>\s*(?:[{\[`]|<function=|[\w.\-]+\s*<arg_key>)|<tool_response>|<tools>\s*[{\[<]")


def texts(messages: Iterable[Json]) -> Iterator[tuple[str, str]]:
    """(role, text) of each message under either pair of names; what is no text is skipped."""
    for message in messages:
        if isinstance(message, Mapping):
            role = message.get("from") or message.get("role")
            text = message.get("value") or message.get("content")
            if isinstance(role, str) and isinstance(text, str):
                yield role, text


def foreign(messages: Iterable[Json]) -> str:
    """``hermes``, ``msagent`` or ``react`` where the texts are written in that format, else empty."""
    for role, text in texts(messages):
        if any(mark in text for mark in markers.TELLING):
            return "msagent"
        if _HERMES.search(text) and role not in ("user", "human"):
            return "hermes"
        if role in ("assistant", "gpt", "agent", "output") and _REACT.search(text):
            return "react"
    return ""
