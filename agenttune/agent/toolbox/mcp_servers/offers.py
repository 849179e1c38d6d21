"""What a server offers as a tool of ours, and what it answers as text a model reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from agenttune.agent.toolbox.mcp_servers.settings import ServerSettings
from agenttune.agent.toolbox.permissions import STRENGTH, Effect
from agenttune.agent.toolbox.signatures.functions import Remote, Tool, tool_of_schema
from agenttune.agent.toolbox.signatures.schemas import inlined

if TYPE_CHECKING:
    from mcp_types import CallToolResult, ContentBlock, ToolAnnotations
    from mcp_types import Tool as OfferedTool

DESCRIPTION = 2000  # letters of its description


def tool_of(offered: OfferedTool, name: str, settings: ServerSettings, remote: Remote) -> Tool:
    """The tool under `name`; what it does comes from the person's file, else from the server's hints as far as they are believed."""
    does = settings.effects.get(offered.name) or effect_of(offered.annotations, settings.trusted)
    closed = offered.annotations is not None and offered.annotations.open_world_hint is False
    description = (offered.description or offered.title or f"{offered.name}, a tool of {settings.name}").strip()[:DESCRIPTION]
    return tool_of_schema(name, description, inlined(offered.input_schema), remote, effect=does, trusted=settings.trusted and closed)


def effect_of(hints: ToolAnnotations | None, trusted: bool) -> Effect:
    """What hints say of a tool. A stranger's hints can only raise the effect: without trust nothing is less than ``external``.

    What a hint leaves open is the specification's default: not read-only, destructive, in an open world.
    """
    read_only = hints is not None and hints.read_only_hint is True
    destructive = hints is None or hints.destructive_hint is not False
    if not trusted:
        return max(Effect.EXTERNAL, Effect.DESTRUCTIVE if hints and hints.destructive_hint else Effect.EXTERNAL, key=STRENGTH.index)
    if read_only:
        return Effect.READ
    open_world = hints is None or hints.open_world_hint is not False
    return Effect.DESTRUCTIVE if destructive else Effect.EXTERNAL if open_world else Effect.WRITE


def result_text(result: CallToolResult) -> str:
    """The texts of a result; what is no text is named in its place."""
    texts = [_text(one) for one in result.content]
    if not texts and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "\n".join(texts)


def _text(block: ContentBlock) -> str:
    if block.type == "text":
        return block.text
    if block.type == "image" or block.type == "audio":
        return f"[{block.type}: {block.mime_type}, {_size(block.data)} bytes; not shown]"
    if block.type == "resource_link":
        return f"[link: {block.name}, {block.uri}]"
    assert block.type == "resource"
    held = block.resource
    text = getattr(held, "text", None)
    return text if isinstance(text, str) else f"[file: {held.uri}, {held.mime_type}, {_size(getattr(held, 'blob', ''))} bytes; not shown]"


def _size(base64: str) -> int:
    return len(base64.rstrip("=")) * 3 // 4
