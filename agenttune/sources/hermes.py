"""Hermes text (NousResearch function calling, Qwen): ``<tools>``, ``<tool_call>`` and ``<tool_response>`` inside ordinary messages."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agenttune.errors import Refusal
from agenttune.sources.base import ReadOptions, as_object, record_id
from agenttune.sources.chat import Chat, call_of
from agenttune.sources.marks import foreign
from agenttune.sources.openai import content_text, messages_of, weight_of
from agenttune.sources.reading.json_text import read_value, value_at
from agenttune.sources.schemas import tools_of, unused
from agenttune.values.trajectory import Json, ToolCall, ToolSpec, Trajectory

NAME = "hermes"
_LISTS = ("conversations", "messages", "conversation")
_FIELDS = ("id", "tools", "system", *_LISTS)
_MESSAGE = ("from", "value", "role", "content", "weight", "loss", "train", "training")
_ROLES = {
    "system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "model": "assistant",
    "tool": "result", "tool_response": "result", "observation": "result", "function": "result", "ipython": "result",
}  # fmt: skip
_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_LIST_START = re.compile(r"<tools>(?=\s*[\[{])")
_FORMAT_START = re.compile(r"# Tools\s+You may call one or more functions|You are a function calling AI model\.")
_SCRATCH = re.compile(r"\s*<scratch_pad>(.*?)</scratch_pad>", re.DOTALL)


def detect(record: Json) -> str | None:
    """Messages with a call, a result or a tool list in Hermes tags."""
    if not isinstance(record, dict):
        return None
    key = next((one for one in _LISTS if isinstance(record.get(one), list) and record[one]), "")
    return f'"{key}" holds Hermes tags (<tool_call>, <tools>)' if key and foreign(record[key]) == "hermes" else None


def read(record: Json, options: ReadOptions) -> Iterator[Trajectory]:
    """The one conversation of a record. Raises `Refusal`."""
    fields = as_object(record)
    chat = Chat()
    listed: list[ToolSpec] = []
    if isinstance(fields.get("system"), str):
        _system(fields["system"], chat, listed)
    for message in messages_of(fields, _LISTS):
        _message(message, chat, listed)
    tools = tools_of(fields.get("tools"), chat.notes) or tuple({tool.name: tool for tool in listed}.values())
    if dropped := unused(fields, _FIELDS):
        chat.notes.append(f"fields_dropped: {', '.join(dropped)}")
    yield chat.trajectory(options, id=record_id(fields), tools=tools)


def _message(message: dict[str, Json], chat: Chat, listed: list[ToolSpec]) -> None:
    role = message.get("from", message.get("role"))
    kind = _ROLES.get(role) if isinstance(role, str) else None
    text = content_text(message["value"] if "value" in message else message.get("content"), chat.notes)
    if dropped := unused(message, _MESSAGE):
        chat.notes.append(f"message_fields_dropped: {', '.join(dropped)}")
    if kind == "system":
        _system(text, chat, listed)
    elif kind == "assistant":
        _assistant(text, chat, weight_of(message))
    elif kind == "result":
        _results(text, chat)
    elif kind == "user":
        _user(text, chat)
    else:
        raise Refusal("role", f"a message is from {role!r}; known: {', '.join(_ROLES)}", text)


def _system(text: str, chat: Chat, listed: list[ToolSpec]) -> None:
    """The tool list is taken out; so is the text around it that only explains the format, where it is Qwen's or Hermes' own."""
    found = _LIST_START.search(text)
    close = text.find("</tools>", found.end()) if found else -1
    if found is None or close < 0:
        chat.system(text)
        return
    listed += tools_of(_values(text[found.end() : close]), chat.notes)
    start, end = found.start(), close + len("</tools>")
    opening = _FORMAT_START.search(text)
    last = text.rfind(_CLOSE)
    if opening and opening.start() < start and last > end:
        start, end = opening.start(), last + len(_CLOSE)
        chat.notes.append("format_text_dropped")
    parts = (text[:start].rstrip(), text[end:].lstrip())
    chat.system("\n\n".join(part for part in parts if part))


def _values(text: str) -> list[Json]:
    """A list of tools: one JSON list or Python literal, or JSON objects one after the other. Raises `Refusal` (``tool``)."""
    try:
        value, _ = read_value(text)
        return value if isinstance(value, list) else [value]
    except Refusal as error:
        found: list[Json] = []
        at = len(text) - len(text.lstrip())
        while at < len(text):
            try:
                value, at = value_at(text, at)
            except (ValueError, RecursionError):
                raise Refusal("tool", f"the tool list cannot be read: {error.sentence}", text) from error
            found.append(value)
            at = _next(text, at)
        return found


def _next(text: str, at: int) -> int:
    while at < len(text) and (text[at].isspace() or text[at] == ","):
        at += 1
    return at


def _assistant(text: str, chat: Chat, weight: float) -> None:
    begin = text.find(_OPEN)
    if begin < 0:
        scratch = _SCRATCH.match(text)
        chat.says(text[scratch.end() :].lstrip() if scratch else text, thought=scratch.group(1) if scratch else "", weight=weight)
        return
    calls, after = _calls(text, begin, chat.notes)
    scratch = _SCRATCH.match(text, 0, begin)
    said = f"{scratch.group(1).strip()}\n\n{text[scratch.end() : begin].strip()}" if scratch else text[:begin]
    if after.strip():
        chat.notes.append("text_after_call")
        said = f"{said.rstrip()}\n\n{after.strip()}"
    chat.says(said.strip(), calls=calls, weight=weight)


def _calls(text: str, at: int, notes: list[str]) -> tuple[list[ToolCall], str]:
    """The calls from `at` on, and what is said between and after them."""
    calls: list[ToolCall] = []
    rest: list[str] = []
    while at >= 0:
        value, end = _block(text, at + len(_OPEN))
        calls += [call_of(one, notes) for one in (value if isinstance(value, list) and value else [value])]
        at = text.find(_OPEN, end)
        rest.append(text[end : at if at >= 0 else len(text)].strip())
    return calls, "\n".join(part for part in rest if part)


def _block(text: str, start: int) -> tuple[Json, int]:
    """The value in a block and where the block ends. JSON decides, so a closing tag inside a text is text."""
    try:
        value, at = value_at(text, _next(text, start))
        at = _next(text, at)
        if text.startswith(_CLOSE, at) or at == len(text):
            return value, min(at + len(_CLOSE), len(text))
    except (ValueError, RecursionError):
        pass  # it may be a Python literal, or in a fence
    end = text.find(_CLOSE, start)
    body = text[start : end if end >= 0 else len(text)]
    return body, end + len(_CLOSE) if end >= 0 else len(text)


def _results(text: str, chat: Chat) -> None:
    """A message of results: one for each block, or the whole text where something stands outside of blocks."""
    blocks, outside = _blocks(text)
    for block in blocks if blocks and not outside else [text]:
        chat.sees(block)


def _user(text: str, chat: Chat) -> None:
    """Qwen puts results into a user message; text beside them is a question."""
    blocks, outside = _blocks(text) if chat.waiting() else ([], "")
    for block in blocks:
        chat.sees(block)
    if outside or not blocks:
        chat.user(outside if blocks else text)


def _blocks(text: str) -> tuple[list[str], str]:
    """The bodies of all results in a text, and the text outside of them."""
    opening, closing = "<tool_response>", "</tool_response>"
    bodies: list[str] = []
    outside: list[str] = []
    at = 0
    while (start := text.find(opening, at)) >= 0 and (end := text.find(closing, start)) >= 0:
        bodies.append(text[start + len(opening) : end].removeprefix("\n").removesuffix("\n"))
        outside.append(text[at:start])
        at = end + len(closing)
    outside.append(text[at:])
    return bodies, "\n".join(part for one in outside if (part := one.strip()))
