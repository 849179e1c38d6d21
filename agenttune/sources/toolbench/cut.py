"""ToolEval's tool messages: the Python text of a call and its result, which the published trees keep only the first 100 characters of."""

from __future__ import annotations

import re

from agenttune.errors import Refusal
from agenttune.sources.reading.json_text import excerpt, text_of
from agenttune.sources.reading.literals import literal
from agenttune.values.trajectory import Json

_STRING = re.compile(r"""'((?:[^'\\]|\\.)*)('?)|"((?:[^"\\]|\\.)*)("?)""", re.DOTALL)
_BROKEN = re.compile(r"\\[xuUN][^\\]*\Z")


def tool_message(message: Json, final: str, notes: list[str]) -> tuple[str, Json, str | None]:
    """Name, arguments and result of a tool node: an object, the Python text of one, or the first characters of that text."""
    value = message
    if isinstance(message, str):
        try:
            value = literal(message)
        except Refusal:
            value = _from_cut(message, final, notes)
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or not value["name"].strip():
        raise Refusal("call", "a tool node must hold a name, arguments and a response", excerpt(message))
    result = value.get("response")
    return value["name"].strip(), value.get("arguments"), None if result is None else text_of(result)


def _from_cut(text: str, final: str, notes: list[str]) -> dict[str, Json]:
    """What can be read of ``{'name': …, 'arguments': …, 'response': …`` that ends too early. Raises `Refusal` (``cut``, ``call``)."""
    if not text.startswith("{'name': "):
        raise Refusal("call", "a tool node's message cannot be read", text)
    parts: dict[str, tuple[str, bool]] = {}
    at = 1
    for key in ("name", "arguments", "response"):
        head = f"'{key}': "
        at = at if text.startswith(head, at) else at + 2
        found = _STRING.match(text, at + len(head)) if text.startswith(head, at) else None
        if found is None:
            break
        parts[key] = (_unescaped(found), bool(found.group(2) or found.group(4)))
        at = found.end()
    name, whole = parts.get("name", ("", False))
    arguments, closed = parts.get("arguments", ("", False))
    if whole and not closed and name == "Finish" and final and final.startswith(arguments):
        notes.append("finish_from_final_answer")
        return {"name": name, "arguments": final}
    if not whole or not closed:
        raise Refusal("cut", f'the record itself cuts off the arguments of the call to "{name or text}"', text)
    notes.append("observation_cut")
    return {"name": name, "arguments": arguments, "response": parts.get("response", ("", False))[0]}


def _unescaped(found: re.Match[str]) -> str:
    """The text of a Python string literal that may end too early; an escape that was cut in two is left out."""
    quote = "'" if found.group(1) is not None else '"'
    body = found.group(1) if found.group(1) is not None else found.group(3)
    for text in (body, _BROKEN.sub("", body)):
        try:
            return str(literal(quote + text + quote))
        except Refusal:
            continue
    raise Refusal("cut", "the record cuts off a text in a way that cannot be read", body)
