"""Calls in tags: Qwen3-Coder's ``<function=name>``, ``<invoke name="…">``, and GLM's ``<arg_key>``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from agenttune.errors import Refusal
from agenttune.sources.reading.json_text import value_or_none
from agenttune.values.trajectory import Json, ToolCall, ToolSpec

_FUNCTION = re.compile(r"\s*<function=([\w.\-]+)>(.*?)</function>", re.DOTALL)
_PARAMETER = re.compile(r"<parameter=([\w.\-]+)>\n?(.*?)\n?</parameter>", re.DOTALL)
_INVOKE = re.compile(r'\s*<invoke name="([^"]+)">(.*?)</invoke>', re.DOTALL)
_NAMED = re.compile(r'<parameter name="([^"]+)"[^>]*>(.*?)</parameter>', re.DOTALL)
_ARG_KEYS = re.compile(r"\s*([\w.\-]+)\s*(?=<arg_key>)")
_ARG = re.compile(r"\s*<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)
TAGGED = re.compile(r"<function=|<invoke |<arg_key>")


def tagged_calls(text: str, at: int) -> tuple[list[ToolCall], int]:
    """``<function=name>``, ``<invoke name="…">`` and GLM's ``name <arg_key>``, one after the other."""
    calls: list[ToolCall] = []
    while True:
        if found := _FUNCTION.match(text, at):
            body = found.group(2)
            arguments = _object(body) if body.strip()[:1] == "{" else _tags(_PARAMETER, body)
        elif found := _INVOKE.match(text, at):
            arguments = _tags(_NAMED, found.group(2))
        elif found := _ARG_KEYS.match(text, at):
            return _arg_keys(text, found)
        else:
            return calls, at
        calls.append(ToolCall(name=found.group(1), arguments=arguments))
        at = found.end()


def _arg_keys(text: str, head: re.Match[str]) -> tuple[list[ToolCall], int]:
    arguments: dict[str, Json] = {}
    at = head.end()
    while found := _ARG.match(text, at):
        arguments[found.group(1).strip()] = _tag_value(found.group(2))
        at = found.end()
    return [ToolCall(name=head.group(1), arguments=arguments)], at


def _tags(pattern: re.Pattern[str], body: str) -> dict[str, Json]:
    return {found.group(1): _tag_value(found.group(2)) for found in pattern.finditer(body)}


def _tag_value(text: str) -> Json:
    """What stands in a tag: a list or an object if it is JSON, else the text; `_typed` makes numbers of it where the schema wants them."""
    value = value_or_none(text) if text.lstrip()[:1] in ("{", "[") else None
    return value if isinstance(value, dict | list) else text


def typed(call: ToolCall, tool: ToolSpec | None) -> ToolCall:
    """The call with its texts in the types that its tool declares, where nothing but the spelling changes."""
    properties = tool.parameters.get("properties") if tool else None
    if not isinstance(properties, Mapping):
        return call
    return replace(call, arguments={name: _as_type(value, properties.get(name)) for name, value in call.arguments.items()})


def _as_type(value: Json, schema: Json) -> Json:
    wanted = schema.get("type") if isinstance(schema, Mapping) else None
    if not isinstance(value, str) or wanted not in ("integer", "number", "boolean", "null"):
        return value
    read = value_or_none(value.strip().lower())
    kinds = {"integer": int, "number": int | float, "boolean": bool, "null": type(None)}
    fits = isinstance(read, kinds[wanted]) and (wanted == "boolean" or not isinstance(read, bool))
    return read if fits else value


def _object(body: str) -> dict[str, Json]:
    value = value_or_none(body)
    if not isinstance(value, dict):
        raise Refusal("arguments", "a call's arguments cannot be read", body)
    return value
