"""Anthropic messages: content in blocks, with ``tool_use`` and ``tool_result`` (docs.anthropic.com/en/api/messages)."""

from __future__ import annotations

from collections.abc import Iterator

from agenttune.errors import Refusal
from agenttune.sources.base import ReadOptions, as_object, record_id
from agenttune.sources.chat import Chat, call_of
from agenttune.sources.openai import content_text, messages_of, weight_of
from agenttune.sources.reading.json_text import excerpt, kind_name, text_of
from agenttune.sources.schemas import tools_of, unused
from agenttune.values.trajectory import Json, ToolCall, Trajectory

NAME = "anthropic"
_FIELDS = ("id", "system", "messages", "tools")
_BLOCKS = ("tool_use", "tool_result", "thinking", "redacted_thinking")
_RESULT = ("type", "tool_use_id", "content", "is_error")


def detect(record: Json) -> str | None:
    """A block of a type that only this format has, or a tool with an ``input_schema``."""
    if not isinstance(record, dict) or not isinstance(record.get("messages"), list):
        return None
    messages = [one for one in record["messages"] if isinstance(one, dict) and one.get("role") in ("user", "assistant")]
    blocks = [block for one in messages if isinstance(one.get("content"), list) for block in one["content"] if isinstance(block, dict)]
    found = next((block["type"] for block in blocks if block.get("type") in _BLOCKS), "")
    if found:
        return f'"messages" holds blocks of the type {found}'
    tools = record.get("tools")
    schemas = isinstance(tools, list) and any(isinstance(tool, dict) and "input_schema" in tool for tool in tools)
    return 'a tool has an "input_schema"' if messages and schemas else None


def read(record: Json, options: ReadOptions) -> Iterator[Trajectory]:
    """The one conversation of a record. Raises `Refusal`."""
    fields = as_object(record)
    chat = Chat()
    chat.system(content_text(fields.get("system"), chat.notes))
    for message in messages_of(fields, ("messages",)):
        _message(message, chat)
    tools = tools_of(fields.get("tools"), chat.notes)
    if dropped := unused(fields, _FIELDS):
        chat.notes.append(f"fields_dropped: {', '.join(dropped)}")
    yield chat.trajectory(options, id=record_id(fields), tools=tools)


def _message(message: dict[str, Json], chat: Chat) -> None:
    role = message.get("role")
    if role not in ("user", "assistant"):
        raise Refusal("role", f"a message has the role {role!r}; known: user, assistant", excerpt(message))
    if dropped := unused(message, ("role", "content", "weight", "loss", "train", "training")):
        chat.notes.append(f"message_fields_dropped: {', '.join(dropped)}")
    content = message.get("content")
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise Refusal("shape", f"content must be text or a list of blocks, this is {kind_name(content)}", excerpt(message))
    if role == "user":
        _user(blocks, chat)
    else:
        _assistant(blocks, chat, weight_of(message))


def _user(blocks: list[dict[str, Json]], chat: Chat) -> None:
    """Results answer the calls before them; text beside them is a new question."""
    said = []
    for block in blocks:
        if block.get("type") != "tool_result":
            said.append(block)
            continue
        if dropped := unused(block, _RESULT):
            chat.notes.append(f"block_fields_dropped: {', '.join(dropped)}")
        call = block.get("tool_use_id")
        text = content_text(block.get("content"), chat.notes)
        chat.sees(text, call_id=call if isinstance(call, str) else "", error=block.get("is_error") is True)
    if said or not blocks:
        chat.user(content_text(said, chat.notes))


def _assistant(blocks: list[dict[str, Json]], chat: Chat, weight: float) -> None:
    texts: list[Json] = []
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    for block in blocks:
        kind = block.get("type")
        if kind == "tool_use":
            calls.append(call_of(block, chat.notes))
        elif kind == "thinking":
            thoughts.append(text_of(block.get("thinking")))
            chat.notes += ["thinking_signature"] if block.get("signature") else []
        elif kind == "redacted_thinking":
            chat.notes.append("redacted_thinking")
        else:
            chat.notes += ["text_after_call"] if calls else []
            texts.append(block)
    chat.says(content_text(texts, chat.notes), reasoning="\n\n".join(thoughts), calls=calls, weight=weight)
