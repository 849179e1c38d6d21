"""What the content of a message holds, part by part: text, reasoning, calls, results.

Content is a text or a list of parts, under ``content``, ``value``, ``text`` or ``parts``. A part is known by its type (OpenAI, Anthropic,
ms-swift) or, where it has none, by what it holds (Bedrock Converse, Gemini, Qwen-Agent).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from agenttune.errors import Refusal
from agenttune.sources.calls import IDS, call_of, id_of_call
from agenttune.sources.reading.json_text import excerpt, kind_name, read_value, text_of
from agenttune.sources.schemas import unused
from agenttune.values.trajectory import Json, ToolCall

CONTENT = ("content", "value", "text")
_TEXT_TYPES = ("text", "input_text", "output_text")
_CALL_TYPES = ("tool_use", "server_tool_use", "mcp_tool_use", "tool_call", "tool-call", "function_call")
_RESULT_TYPES = ("tool_result", "tool-result", "tool_response", "tool_call_response", "function_response", "function_call_output")
_REASONING_TYPES = ("thinking", "reasoning")
_CALL_KEYS = ("toolUse", "functionCall", "function_call", "tool_call", "tool_use")
_RESULT_KEYS = ("toolResult", "functionResponse", "function_response", "tool_result", "tool_call_result")
_NAMES = ("name", "toolName", "tool_name")
_MARKS = ("cachePoint", "cache_control", "thoughtSignature")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasoning:
    """Words that a model thought before it spoke."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a tool answered, and which call or tool it says it answers."""

    text: str
    call_id: str = ""
    name: str = ""
    error: bool = False


Part: TypeAlias = str | Reasoning | ToolCall | Result


def content_of(message: Mapping[str, Json]) -> Json:
    """The content of a message under whichever of its names; parts stand before a text that may repeat them."""
    parts = message.get("parts")
    if isinstance(parts, list) and parts:
        return parts
    return next((message[key] for key in CONTENT if message.get(key) is not None), None)


def parts_of(message: Mapping[str, Json], kind: str, notes: list[str]) -> list[Part]:
    """The content of a message in order. Raises `Refusal` (``media``, ``shape``, ``call``) for what is neither text nor call nor result."""
    content = content_of(message)
    if kind == "call":
        return list(_calls(content, notes))
    if content is None or isinstance(content, str):
        return [content] if content else []
    if isinstance(content, list):
        if content and "value" in message and message["value"] is content and all(isinstance(one, str) for one in content):
            raise Refusal("shape", "the value of a message is a list of texts, and which of them was said cannot be told", excerpt(content))
        if not content or any(_is_part(one) for one in content):
            return [part for one in content for part in _part(one, notes)]
    if kind == "assistant":
        raise Refusal("shape", f"what the assistant says must be text or parts of text, this is {kind_name(content)}", excerpt(content))
    notes.append("content_as_json")
    return [text_of(content)]


def plain_text(content: Json, notes: list[str]) -> str:
    """Content as one text: a text, nothing, parts of text (joined as they are), or other JSON (note ``content_as_json``)."""
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list) and all(_is_part(one) for one in content):
        return only_text([part for one in content for part in _part(one, notes)], "result", notes)
    notes.append("content_as_json")
    return text_of(content)


def only_text(parts: Sequence[Part], kind: str, notes: list[str]) -> str:
    """The texts of a message that holds nothing else, as one; several joined are noted. Raises `Refusal` (``role``)."""
    wrong = next((part for part in parts if not isinstance(part, str)), None)
    if wrong is not None:
        raise Refusal("role", f"reasoning, a call or a result stands in a message of the {kind}", excerpt(str(wrong)))
    notes += ["parts_joined"] if len(parts) > 1 else []
    return "".join(part for part in parts if isinstance(part, str))


def _is_part(value: Json) -> bool:
    if isinstance(value, str):
        return True
    if not isinstance(value, dict):
        return False
    keys = (*_CALL_KEYS, *_RESULT_KEYS, *_MARKS, "reasoningContent")
    return "type" in value or isinstance(value.get("text"), str) or any(key in value for key in keys)


def _part(part: Json, notes: list[str]) -> list[Part]:
    """What one part holds: usually one thing, nothing for a mark that says nothing. Raises `Refusal` (``media``)."""
    if isinstance(part, str):
        return [part]
    kind = part.get("type") if isinstance(part, dict) else None
    if isinstance(kind, str):
        return _typed(part, kind, notes)
    if isinstance(part, dict):
        return _untyped(part, notes)
    raise Refusal("media", f"a message holds {kind_name(part)} among its parts", excerpt(part))


def _typed(part: dict[str, Json], kind: str, notes: list[str]) -> list[Part]:
    if kind in _TEXT_TYPES or kind == "refusal":
        text = next((part[key] for key in ("text", "content", "value", "refusal") if isinstance(part.get(key), str)), None)
        if text is not None:
            return [text]
    elif kind in _REASONING_TYPES:
        notes += ["thinking_signature"] if part.get("signature") else []
        return [Reasoning(text=text_of(next((part[key] for key in (kind, "text", "value", "content") if part.get(key)), "")))]
    elif kind == "redacted_thinking":
        notes.append(kind)
        return []
    elif kind in _CALL_TYPES:
        return [call_of(part.get("value", part), notes)]
    elif kind in _RESULT_TYPES or kind.endswith("_tool_result"):
        return [_result_part(part, notes)]
    elif kind == "tool_reference":
        return [text_of(part)]
    raise Refusal("media", f"a message holds a part of the type {kind!r}, and only text can be kept", excerpt(part))


def _untyped(part: dict[str, Json], notes: list[str]) -> list[Part]:
    found: list[Part] = []
    if isinstance(part.get("text"), str):
        found.append(Reasoning(text=part["text"]) if part.get("thought") is True else part["text"])
    found += [call_of(part[key], notes) for key in _CALL_KEYS if key in part]
    found += [_result_part(part[key], notes) for key in _RESULT_KEYS if isinstance(part.get(key), dict)]
    if isinstance(inner := part.get("reasoningContent"), dict):
        told = inner.get("reasoningText")
        found.append(Reasoning(text=text_of(told.get("text") if isinstance(told, dict) else told)))
    if not found and not any(key in part for key in _MARKS):
        names = ", ".join(map(str, part)) or "nothing"
        raise Refusal("media", f"a message holds a part with {names}, and only text can be kept", excerpt(part))
    if dropped := unused(part, ("text", "thought", *_CALL_KEYS, *_RESULT_KEYS, *_MARKS, "reasoningContent")):
        notes.append(f"part_fields_dropped: {', '.join(dropped)}")
    return found


def _result_part(part: dict[str, Json], notes: list[str]) -> Result:
    key = next((one for one in ("content", "output", "response", "result") if part.get(one) is not None), "content")
    origin = part.get("origin")  # Haystack's: the call that is answered
    call = origin if isinstance(origin, dict) else part
    if dropped := unused(part, ("type", *_NAMES, "is_error", "error", "status", "origin", key, *IDS)):
        notes.append(f"block_fields_dropped: {', '.join(dropped)}")
    name = next((call[one] for one in _NAMES if isinstance(call.get(one), str)), "")
    value, failed = _unwrapped(part.get(key))
    error = failed or part.get("is_error") is True or part.get("error") is True or part.get("status") == "error"
    return Result(text=result_text(value, notes), call_id=id_of_call(call), name=name, error=error)


def _unwrapped(value: Json) -> tuple[Json, bool]:
    """The Vercel AI SDK's ``{"type": "json", "value": …}``: the value, and whether it is an error."""
    kind = value.get("type") if isinstance(value, dict) and value.keys() == {"type", "value"} else None
    return (value["value"], kind.startswith("error")) if kind in ("text", "json", "content", "error-text", "error-json") else (value, False)


def result_text(content: Json, notes: list[str]) -> str:
    """A result as text: a text, the joined parts of one (Bedrock's ``json`` parts as JSON), or any other JSON as it is."""
    if isinstance(content, list) and content and all(_is_result_text(one) for one in content):
        notes += ["parts_joined"] if len(content) > 1 else []
        return "".join(one if isinstance(one, str) else text_of(_said(one)) for one in content)
    if isinstance(content, list) and any(isinstance(one, dict) and one.get("type") in ("image", "image_url") for one in content):
        raise Refusal("media", "a result holds a picture, and only text can be kept", excerpt(content))
    return text_of(content)


def _said(part: dict[str, Json]) -> Json:
    """What a part of a result says; Cohere's documents hold it one level deeper."""
    document = part.get("document")
    return document["data"] if isinstance(document, dict) else part.get("json", part.get("text", part.get("value")))


def results_of(content: Json, notes: list[str]) -> list[Part]:
    """The result parts of a tool's message, if it has any."""
    if isinstance(content, list) and any(isinstance(one, dict) and _is_result(one) for one in content):
        return [part for one in content for part in _part(one, notes)]
    return []


def _is_result(part: dict[str, Json]) -> bool:
    return part.get("type") in _RESULT_TYPES or any(key in part for key in _RESULT_KEYS)


def _is_result_text(value: Json) -> bool:
    if isinstance(value, str):
        return True
    if isinstance(value, dict) and value.get("type") == "document":
        document = value.get("document")
        return isinstance(document, dict) and document.keys() <= {"data", "id"} and isinstance(document.get("data"), str)
    if not isinstance(value, dict) or value.get("type", "text") not in _TEXT_TYPES:
        return False
    if "type" not in value and len(value) > 1:
        return False  # a result that happens to have a text
    return "json" in value or isinstance(value.get("text", value.get("value")), str)


def _calls(value: Json, notes: list[str]) -> list[Part]:
    """The value of a message that is a call: a call or a list of them, perhaps after its reasoning."""
    found: list[Part] = []
    if isinstance(value, str):
        thought, value = _reasoned(value)
        if thought is not None:
            found.append(Reasoning(text=thought))
            notes.append("think_tags")
        try:
            value, change = read_value(value)
        except Refusal as error:
            raise Refusal("call", f"a call cannot be read: {error.sentence}", error.excerpt) from error
        notes += [change] if change else []
    listed = value if isinstance(value, list) else [value]
    if listed and all(isinstance(one, dict) and "type" in one and "value" in one for one in listed):
        return [part for one in listed for part in _part(one, notes)]  # ms-swift's typed parts
    calls = [call_of(one, notes) for one in listed]
    if not calls:
        raise Refusal("call", "a message that must hold a call holds none", excerpt(value))
    return [*found, *calls]


def _reasoned(text: str) -> tuple[str | None, str]:
    body = text.lstrip()
    end = body.find("</think>") if body.startswith("<think>") else -1
    return (None, text) if end < 0 else (body[len("<think>") : end], body[end + len("</think>") :])
