"""Hermes text (NousResearch function calling, Qwen): ``<tools>``, ``<tool_call>`` and ``<tool_response>`` inside ordinary messages."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agenttune.errors import Refusal
from agenttune.sources.base import ReadOptions, as_object, fields_of, record_id
from agenttune.sources.call_text import read_said
from agenttune.sources.chat import Chat
from agenttune.sources.marks import foreign
from agenttune.sources.messages import KNOWN, calls_of, listed, messages_of, weight_of
from agenttune.sources.parts import content_of, plain_text
from agenttune.sources.reading.json_text import read_value, value_at
from agenttune.sources.schemas import tools_of, unused
from agenttune.values.trajectory import Json, ToolSpec, Trajectory

NAME = "hermes"
_LISTS = ("conversations", "messages", "conversation")
_FIELDS = ("id", "tools", "system", *_LISTS)
_ROLES = {
    "system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "model": "assistant",
    "tool": "result", "tool_response": "result", "observation": "result", "function": "result", "ipython": "result",
}  # fmt: skip
_OPEN = "<tool_call>"
_LIST_START = re.compile(r"<tools>(?=\s*[\[{])")
# The sentences of Qwen's and of Hermes' own system texts that say how to call: our protocols say it in their own words.
_FORMAT = re.compile(
    r"""\#\ Tools(?=\s+You\ may\ call)
    |You\ may\ call\ one\ or\ more\ functions\ to\ assist\ with\ the\ user\ query\.?
    |You\ are\ a\ function\ calling\ AI\ model\.
    |You\ are\ provided\ with\ function\ signatures\ within\ <tools>\s*</tools>\ XML\ tags[:.]?
    |If\ available\ tools\ are\ not\ relevant\ in\ assisting\ with\ user\ query,\ just\ respond\ in\ natural\ conversational\ language\.
    |Don't\ make\ assumptions\ about\ what\ values\ to\ plug\ into\ functions\.
    |After\ calling\ &\ executing\ the\ functions,\ you\ will\ be\ provided\ with\ function\ results\ within
        \s<tool_response>\s*</tool_response>\ XML\ tags\.
    |Here\ are\ the\ available\ tools:
    |Use\ the\ following\ pydantic\ model\ json\ schema\ for\ each\ tool\ call\ you\ will\ make:\s*\{[^\n]*?\}(?=\s*(?:For\ each|\n|\Z))
    |For\ each\ function\ call,?\ return\ a\ json\ object\ (?:with\ (?:the\ )?function\ name\ and\ arguments\ )?within
        \s<tool_call>\s*</tool_call>\ XML\ tags(?:\ as\ follows)?[:.]?\s*<tool_call>\s*\{.*?\}\s*</tool_call>""",
    re.VERBOSE | re.DOTALL,
)
_SCRATCH = re.compile(r"\s*<scratch_pad>(.*?)</scratch_pad>", re.DOTALL)


def detect(record: Json) -> str | None:
    """Messages with a call, a result or a tool list in Hermes tags."""
    key, messages = listed(fields_of(record), _LISTS)
    return f'"{key}" holds Hermes tags (<tool_call>, <tools>)' if messages and foreign(messages) == "hermes" else None


def read(record: Json, options: ReadOptions) -> Iterator[Trajectory]:
    """The one conversation of a record. Raises `Refusal`."""
    fields = as_object(record)
    found: list[str] = []
    given = tools_of(fields.get("tools"), found)
    named: dict[str, ToolSpec] = {tool.name: tool for tool in given}
    chat = Chat(tools=named)
    if isinstance(fields.get("system"), str):
        _system(fields["system"], chat, named)
    for message in messages_of(fields, _LISTS):
        _message(message, chat, named)
    chat.notes += found
    tools = given or tuple(named.values())
    if dropped := unused(fields, _FIELDS):
        chat.notes.append(f"fields_dropped: {', '.join(dropped)}")
    yield chat.trajectory(options, id=record_id(fields), tools=tools)


def _message(message: dict[str, Json], chat: Chat, named: dict[str, ToolSpec]) -> None:
    role = message.get("from", message.get("role"))
    kind = _ROLES.get(role) if isinstance(role, str) else None
    text = plain_text(content_of(message), chat.notes)
    if dropped := unused(message, KNOWN):
        chat.notes.append(f"message_fields_dropped: {', '.join(dropped)}")
    if kind == "system":
        _system(text, chat, named)
    elif kind == "assistant":
        _assistant(text, message, chat)
    elif kind == "result":
        _results(text, chat)
    elif kind == "user":
        _user(text, chat)
    else:
        raise Refusal("role", f"a message is from {role!r}; known: {', '.join(_ROLES)}", text)


def _system(text: str, chat: Chat, named: dict[str, ToolSpec]) -> None:
    """The tool list is taken out; so are the sentences around it that only explain the format, where they are Qwen's or Hermes' own."""
    found = _LIST_START.search(text)
    close = text.find("</tools>", found.end()) if found else -1
    if found is None or close < 0:
        chat.system(text)
        return
    named.update({tool.name: tool for tool in tools_of(_values(text[found.end() : close]), chat.notes)})
    head, tail = text[: found.start()], text[close + len("</tools>") :]
    if _FORMAT.search(head):
        chat.notes.append("format_text_dropped")
        parts = [part.strip() for part in (*_FORMAT.split(head), *_FORMAT.split(tail))]
    else:
        parts = [head.rstrip(), tail.lstrip()]
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


def _assistant(text: str, message: dict[str, Json], chat: Chat) -> None:
    said = read_said(text, chat.notes, chat.tools)
    if said is None and _OPEN in text:
        raise Refusal("call", "what stands in a tool_call cannot be read as a call", text[text.index(_OPEN) :])
    calls = said.calls if said else calls_of(message.get("tool_calls"), chat.notes)
    before = said.before if said else text
    scratch = _SCRATCH.match(before)
    thought, before = (scratch.group(1).strip(), before[scratch.end() :].strip()) if scratch else ("", before)
    reasoning = said.reasoning if said else ""
    if not calls:
        chat.says(before, thought=thought, reasoning=reasoning, weight=weight_of(message))
        return
    after = said.after if said else ""
    chat.notes += ["text_after_call"] if after else []
    words = "\n\n".join(part for part in (thought, before.strip(), after) if part)
    chat.says(words, reasoning=reasoning, calls=calls, weight=weight_of(message))


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
