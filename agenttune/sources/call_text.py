"""Calls that stand as text in what a model says, in the words of many chat templates, and whether a text looks like one of other words.

Known: a call as JSON after a marker (Hermes, Qwen, Nemotron, Mistral, Llama, InternLM2, glaive), Qwen3-Coder's ``<function=name>``, GLM's
``<arg_key>``, ``<invoke name="…">``, Python calls in a list (Llama 3.2), harmony channels (gpt-oss), and a text that is nothing but one
JSON call or a list of them. `act_text` knows lines of action. Nothing is run.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from agenttune.errors import Refusal
from agenttune.sources.calls import call_of
from agenttune.sources.python_calls import python_calls
from agenttune.sources.reading.json_text import read_value, strip_fence, value_at, value_or_none
from agenttune.sources.tagged_calls import TAGGED, tagged_calls, typed
from agenttune.values.trajectory import Json, ToolCall, ToolSpec

_MAX_WHOLE = 1 << 16  # characters of a text that may be nothing but calls
# What opens a stretch of calls, and all that may close it; without any of these it ends with the text.
_CLOSERS = {
    "<tool_call>": ("</tool_call>",),
    "<tool_calls>": ("</tool_calls>",),
    "<TOOLCALL>": ("</TOOLCALL>",),
    "<function_call>": ("</function_call>",),
    "<functioncall>": ("</functioncall>", "<|endoftext|>"),
    "<function_calls>": ("</function_calls>",),
    "<|tool_call|>": ("<|/tool_call|>", "<|end|>"),
    "<|python_tag|>": ("<|eom_id|>", "<|eot_id|>"),
    "[TOOL_CALLS]": ("</s>",),
    "<|action_start|><|plugin|>": ("<|action_end|>",),
    "functools": (),
}
_PAYLOAD = r"(?=\s*(?:[\[{`]|<function=|<invoke |[A-Za-z_][\w.\-]*\s*(?:<arg_key>|\(|\[ARGS\])))"
_OPENER = re.compile("|".join(rf"(?<!`){re.escape(one)}{_PAYLOAD}" for one in _CLOSERS) + r"|(?<!`)<function=[\w.\-]+>|(?<!`)<invoke name=")
_ARGS = re.compile(r"\s*([\w.\-]+)\[ARGS\]")
_HARMONY = re.compile(
    r"(?:<\|start\|>\w+)?(?:\s*to=([\w.\-]+))?\s*<\|channel\|>(\w+)(?:\s+to=([\w.\-]+))?[^<]*(?:<\|constrain\|>\w*\s*)?"
    r"<\|message\|>(.*?)(?:<\|(?:end|call|return)\|>|(?=<\|(?:start|channel)\|>)|\Z)",
    re.DOTALL,
)
_LOOKS = re.compile(
    r"(?<!`)(?:</?(?:tool_calls?|TOOLCALL|function_calls?|functioncall|invoke|function=[\w.\-]*)\b|<\|(?:python_tag|tool_calls?\b|action_start|"
    r"channel|tool_calls_section_begin)|<｜tool▁call|\[TOOL_CALLS\]|functools\[\{)|^(?:Act|ACTION):[ \t]*\S",
    re.MULTILINE,
)
_THINKS = re.compile(r"^(?:Think|Thought|THOUGHT)(?: \d{1,3})?[ \t]*:", re.MULTILINE)
_ACTS = re.compile(r"^Action(?: \d{1,3})?[ \t]*:", re.MULTILINE)
_CODE = re.compile(r"^(?:```\w+$|<code>)", re.MULTILINE)  # a thought and then code: that of CodeAct, smolagents and mini-swe-agent
_CODE_END = re.compile(r"(?:^```|</code>)(?:<end_code>)?\s*\Z", re.MULTILINE)
_CALL_NAMES = ("name", "function", "tool", "tool_name", "action", "api_name")
_CALL_ARGUMENTS = ("arguments", "parameters", "args", "action_input", "tool_input", "kwargs")


@dataclass(slots=True)
class Said:
    """What a text holds: words before, between and after calls, the calls, reasoning, and a thought that stands before an answer.

    `acts`: the user's next message is the result.
    """

    before: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    after: str = ""
    reasoning: str = ""
    thought: str = ""
    acts: bool = False


def read_said(text: str, notes: list[str], tools: Mapping[str, ToolSpec] | None = None) -> Said | None:
    """The calls of a text in any known words; None for a text without one. Raises `Refusal` (``call``, ``arguments``).

    `tools`: the declared ones by name, if any. JSON or a Python call by itself is then a call only of one of them, and what stands in tags
    takes the type that their schema wants.
    """
    if "<|channel|>" in text and "<|message|>" in text:
        return _harmony(text, notes)
    opener = _OPENER.search(text) if "<" in text or "[TOOL_CALLS]" in text or "functools" in text else None
    if opener is not None:
        return _marked(text, opener, notes, tools or {})
    calls = _whole(text, notes, tools or {})
    return Said(calls=calls) if calls else None


def looks_like_call(text: str) -> str:
    """The part of a text that looks like a call, at most 400 characters; empty where nothing does."""
    marked = "<" in text or "[TOOL_" in text or "functools[" in text or "Act:" in text or "ACTION:" in text
    found = _LOOKS.search(text) if marked else None
    if not found and (thought := _THINKS.search(text) if "Action" in text else None):
        found = _ACTS.search(text, thought.end())
    if not found and ("```" in text or "<code>" in text) and (thought := _THINKS.search(text)):
        found = _CODE.search(text, thought.end()) if _CODE_END.search(text, max(0, len(text) - 40)) else None
    if found:
        return text[max(0, found.start() - 80) : found.start() + 320]
    body = strip_fence(text) if text.lstrip()[:1] in ("{", "[", "`") else ""
    if len(body) > _MAX_WHOLE or body[:1] not in ("{", "["):
        return ""
    if python_calls(body) and body.startswith("["):
        return body[:400]
    value = value_or_none(body)
    listed = value if isinstance(value, list) else [value]
    return body[:400] if listed and all(_is_call(one, _CALL_NAMES, _CALL_ARGUMENTS) for one in listed) else ""


def _is_call(value: Json, names: Collection[str], arguments: Collection[str]) -> bool:
    if not isinstance(value, dict):
        return False
    inner = value.get("function")
    value = inner if isinstance(inner, dict) else value
    named = any(isinstance(value.get(key), str) and value[key] for key in names)
    return named and any(isinstance(value.get(key), dict | str) for key in arguments)


def _whole(text: str, notes: list[str], tools: Mapping[str, ToolSpec]) -> list[ToolCall]:
    """The calls of a text that is nothing else; none where a tool list does not know them."""
    body = strip_fence(text) if text.lstrip()[:1] in ("[", "{", "`") else ""
    if len(body) > _MAX_WHOLE or not body or body[0] not in "[{":
        return []
    calls = python_calls(body) if body[0] == "[" else []
    if not calls and body[0] in "[{":
        value = value_or_none(body)
        listed = value if isinstance(value, list) else [value]
        if not listed or not all(_is_call(one, ("name",), ("arguments", "parameters")) for one in listed):
            return []
        calls = [call_of(one, notes) for one in listed]
    return calls if not tools or all(call.name in tools for call in calls) else []


def _marked(text: str, opener: re.Match[str], notes: list[str], tools: Mapping[str, ToolSpec]) -> Said:
    said = Said(before=text[: opener.start()])
    rest: list[str] = []
    found: re.Match[str] | None = opener
    at = opener.start()
    while found is not None:
        rest.append(text[at : found.start()] if said.calls else "")
        closers = _CLOSERS.get(found.group(), ())
        calls, at = _stretch(text, found.end() if closers or found.group() == "functools" else found.start(), closers, notes)
        said.calls += [typed(call, tools.get(call.name)) for call in calls] if TAGGED.search(text, found.start(), at) else calls
        found = _OPENER.search(text, at)
    said.after = "\n".join(part for one in (*rest, text[at:]) if (part := one.strip()))
    return said


def _stretch(text: str, at: int, closers: tuple[str, ...], notes: list[str]) -> tuple[list[ToolCall], int]:
    """The calls between a marker and what closes it, and where that ends."""
    for calls, end in (_json_calls(text, at, notes), tagged_calls(text, at), _named_json(text, at, notes)):
        close = _closed(text, end, closers) if calls else None
        if calls and close is not None:
            return calls, close
    ends = [found for closer in closers if (found := text.find(closer, at)) >= 0]
    end = min(ends, default=len(text))
    body = text[at:end].strip()
    close = _closed(text, end, closers)
    return python_calls(body) or _as_calls(body, notes), len(text) if close is None else close


def _closed(text: str, at: int, closers: tuple[str, ...]) -> int | None:
    """Behind the closing marker at `at`, or at the text's end; None where something else stands there."""
    at = _past_blanks(text, at)
    for closer in closers:
        if text.startswith(closer, at):
            return at + len(closer)
    return at if at == len(text) or not closers else None


def _past_blanks(text: str, at: int) -> int:
    while at < len(text) and (text[at].isspace() or text[at] in ",;"):
        at += 1
    return at


def _json_calls(text: str, at: int, notes: list[str]) -> tuple[list[ToolCall], int]:
    """JSON decides, so a closing marker inside a text is text. Several values may stand in a row."""
    calls: list[ToolCall] = []
    at = _past_blanks(text, at)
    while text[at : at + 1] in ("{", "["):
        try:
            value, at = value_at(text, at)
        except (ValueError, RecursionError):
            return [], at  # it may be a Python literal
        calls += [call_of(one, notes) for one in (value if isinstance(value, list) and value else [value])]
        at = _past_blanks(text, at)
    return calls, at


def _named_json(text: str, at: int, notes: list[str]) -> tuple[list[ToolCall], int]:
    """Mistral's ``name[ARGS]{…}``."""
    found = _ARGS.match(text, at)
    if found is None:
        return [], at
    try:
        value, end = value_at(text, _past_blanks(text, found.end()))
    except (ValueError, RecursionError):
        return [], at
    return [call_of({"name": found.group(1), "arguments": value}, notes)], end


def _as_calls(body: str, notes: list[str]) -> list[ToolCall]:
    """A Python literal, or JSON in a fence. Raises `Refusal` (``call``)."""
    try:
        value, change = read_value(body)
    except Refusal as error:
        raise Refusal("call", f"a call cannot be read: {error.sentence}", body) from error
    notes += [change] if change else []
    return [call_of(one, notes) for one in (value if isinstance(value, list) and value else [value])]


def _harmony(text: str, notes: list[str]) -> Said | None:
    """Messages in channels: analysis is reasoning, a message to a function a call, commentary to nobody a thought, final the answer."""
    said = Said()
    reasoning, words = [], []
    for found in _HARMONY.finditer(text):
        to, channel, body = found.group(1) or found.group(3) or "", found.group(2), found.group(4)
        if to:
            said.calls.append(call_of({"name": to.removeprefix("functions."), "arguments": body}, notes))
        elif channel == "analysis":
            reasoning.append(body.strip())
        else:
            words.append(body.strip())
    said.reasoning, said.before = "\n\n".join(reasoning), "\n\n".join(words)
    return said if said.calls or said.before or said.reasoning else None
