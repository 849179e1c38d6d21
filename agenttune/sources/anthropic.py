"""Anthropic messages: content in blocks, with ``tool_use`` and ``tool_result`` (docs.anthropic.com/en/api/messages).

Also the blocks of tools that the server runs: ``server_tool_use`` and what ends in ``_tool_result``, in the assistant's own message.
"""

from __future__ import annotations

from collections.abc import Iterator

from agenttune.sources.base import ReadOptions, as_object, fields_of, record_id
from agenttune.sources.chat import Chat
from agenttune.sources.messages import listed, messages_of, say_system, take
from agenttune.sources.schemas import tools_of, unused
from agenttune.values.trajectory import Json, Trajectory

NAME = "anthropic"
ROLES = {"user": "user", "assistant": "assistant"}
_FIELDS = ("id", "system", "messages", "tools")
_BLOCKS = ("tool_use", "tool_result", "thinking", "redacted_thinking", "server_tool_use", "mcp_tool_use", "tool_reference")


def detect(record: Json) -> str | None:
    """A block of a type that only this format has, or a tool with an ``input_schema``."""
    fields = fields_of(record)
    _, messages = listed(fields, ("messages",))
    messages = [one for one in messages if one.get("role") in tuple(ROLES)]
    blocks = [block for one in messages if isinstance(one.get("content"), list) for block in one["content"] if isinstance(block, dict)]
    types = [block["type"] for block in blocks if isinstance(block.get("type"), str)]
    found = next((kind for kind in types if kind in _BLOCKS or kind.endswith("_tool_result")), "")
    if found:
        return f'"messages" holds blocks of the type {found}'
    tools = fields.get("tools")
    schemas = isinstance(tools, list) and any(isinstance(tool, dict) and "input_schema" in tool for tool in tools)
    return 'a tool has an "input_schema"' if messages and schemas else None


def read(record: Json, options: ReadOptions) -> Iterator[Trajectory]:
    """The one conversation of a record. Raises `Refusal`."""
    fields = as_object(record)
    found: list[str] = []
    tools = tools_of(fields.get("tools"), found)
    chat = Chat(tools={tool.name: tool for tool in tools})
    say_system(fields, chat)
    for message in messages_of(fields, ("messages",)):
        take(message, chat, ROLES)
    chat.notes += found
    if dropped := unused(fields, _FIELDS):
        chat.notes.append(f"fields_dropped: {', '.join(dropped)}")
    yield chat.trajectory(options, id=record_id(fields), tools=tools)
