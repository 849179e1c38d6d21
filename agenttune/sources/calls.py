"""One call as people write it, in a record's fields or in a text, as a `ToolCall`."""

from __future__ import annotations

from collections.abc import Mapping

from agenttune.errors import Refusal
from agenttune.sources.reading.json_text import excerpt, kind_name, read_value
from agenttune.values.trajectory import Json, ToolCall

_NAMES = ("name", "function", "toolName", "tool_name")
_ARGUMENTS = ("arguments", "parameters", "input", "args")
IDS = ("id", "call_id", "tool_call_id", "toolCallId", "toolUseId", "tool_use_id")


def id_of_call(value: Mapping[str, Json], *keys: str) -> str:
    """The id of a call, or the one that a result names, under the first of `keys` (default: all usual ones); any JSON scalar, as text."""
    for key in keys or IDS:
        given = value.get(key)
        if isinstance(given, str | int | float) and not isinstance(given, bool) and given != "":
            return str(given)
    return ""


def arguments_of(value: Json, notes: list[str]) -> dict[str, Json]:
    """A call's arguments: an object, a text that holds one (once or twice encoded), or nothing. Raises `Refusal` (``arguments``)."""
    if value is None or (isinstance(value, str) and not value.strip()):
        notes.append("arguments_missing")
        return {}
    if isinstance(value, str):
        value = _decoded(value, notes)
        if isinstance(value, str):
            notes.append("arguments_encoded_twice")
            value = _decoded(value, notes)
        if value is None:
            notes.append("arguments_missing")
            return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise Refusal("arguments", f"a call's arguments must be an object, these are {kind_name(value)}", excerpt(value))
    return value


def _decoded(text: str, notes: list[str]) -> Json:
    try:
        value, change = read_value(text)
    except Refusal as error:
        raise Refusal("arguments", f"a call's arguments cannot be read: {error.sentence}", text) from error
    if change:
        notes.append(change)
    return value


def call_of(value: Json, notes: list[str], *, id: str = "") -> ToolCall:
    """``{"name", "arguments"}`` under any of their usual names, alone or under ``function``, or a text that holds it, as a call.

    ``{"type": "function", "function": {…}}`` (OpenAI), ``{"name", "args", "type": "tool_call"}`` (LangChain), ``{"function": name,
    "arguments"}`` (Inspect), ``{"name", "input"}`` (Anthropic). Raises `Refusal` (``call``, ``arguments``).
    """
    if isinstance(value, str):
        value = _call_text(value, notes)
    if not isinstance(value, dict):
        raise Refusal("call", "a call must be an object with a name and arguments", excerpt(value))
    id = id or id_of_call(value)
    if isinstance(value.get("function"), dict):
        return call_of({key: one for key, one in value["function"].items() if key != "index"}, notes, id=id)
    named = next((key for key in _NAMES if isinstance(value.get(key), str) and value[key].strip()), "")
    if not named:
        raise Refusal("call", "a call must be an object with a name and arguments", excerpt(value))
    key = next((one for one in _ARGUMENTS if one in value), "")
    if dropped := sorted(one for one in value if one not in ("index", "type", named, key, *IDS) and value[one] not in (None, "", [], {})):
        notes.append(f"call_extra: {', '.join(dropped)}")
    return ToolCall(name=value[named].strip(), arguments=arguments_of(value.get(key), notes), id=id)


def _call_text(text: str, notes: list[str]) -> Json:
    try:
        value, change = read_value(text)
    except Refusal as error:
        raise Refusal("call", f"a call cannot be read: {error.sentence}", text) from error
    if change:
        notes.append(change)
    return value
