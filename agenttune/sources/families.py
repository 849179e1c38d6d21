"""Logs that no source reads, by their name: so that a person is told what they hold and not only that nobody knows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TypeAlias

from agenttune.values.trajectory import Json

_Test: TypeAlias = Callable[[Mapping[str, Json]], bool]
_LOOKED_AT = 50  # elements of a list
_LISTS = ("messages", "input", "output", "contents", "steps", "trajectory", "history", "conversation", "chat_history")


def family_of(record: Json) -> str:
    """What a record is, if it is of a family that is known by name and read by no source; else empty. Never raises."""
    fields = record if isinstance(record, Mapping) else {}
    listed = [record, *(fields.get(key) for key in _LISTS)]
    inner = [one for value in listed if isinstance(value, list) for one in islice(value, _LOOKED_AT) if isinstance(one, Mapping)]
    return next((name for name, knows in _FAMILIES.items() if any(knows(one) for one in (fields, *inner))), "")


def _has(*keys: str) -> _Test:
    return lambda fields: all(key in fields for key in keys)


def _type(*kinds: str, beside: str = "") -> _Test:
    return lambda fields: isinstance(fields.get("type"), str) and fields["type"] in kinds and (not beside or beside in fields)


def _holds(key: str, test: _Test) -> _Test:
    """Whether one of the objects in a list under `key`, or the object there, is of a kind."""

    def knows(fields: Mapping[str, Json]) -> bool:
        value = fields.get(key)
        several: Iterable[Json] = islice(value, _LOOKED_AT) if isinstance(value, list) else (value,)
        return any(isinstance(one, Mapping) and test(one) for one in several)

    return knows


def _any(*tests: _Test) -> _Test:
    return lambda fields: any(test(fields) for test in tests)


def _is_span(fields: Mapping[str, Json]) -> bool:
    value = fields.get("attributes")
    several = islice(value, _LOOKED_AT) if isinstance(value, list) else ()
    names = list(value) if isinstance(value, Mapping) else [one.get("key") for one in several if isinstance(one, Mapping)]
    return any(isinstance(name, str) and name.startswith(("gen_ai.", "llm.")) for name in names)


def _is_vercel(part: Mapping[str, Json]) -> bool:
    kind = part.get("type")
    if not isinstance(kind, str):
        return False
    return kind in ("step-start", "dynamic-tool", "tool-invocation") or (kind.startswith("tool-") and "state" in part)


def _is_tree(nodes: Mapping[str, Json]) -> bool:
    return any(isinstance(one, Mapping) and "children" in one for one in islice(nodes.values(), _LOOKED_AT))


_FAMILIES: dict[str, _Test] = {
    "events of a Claude Code session": _any(
        _has("sessionId", "message", "uuid"), _has("parentUuid", "message"), _has("leafUuid", "summary")
    ),
    "events of a Codex session": _type("session_meta", "response_item", "event_msg", "turn_context", beside="payload"),
    "items of OpenAI's Responses": _any(
        _type("function_call_output", "custom_tool_call", "web_search_call"), _type("function_call", beside="call_id"),
        _type("reasoning", beside="summary"), lambda fields: fields.get("object") == "response",
    ),
    "spans of OpenTelemetry": _is_span,
    "runs of LangSmith": _has("run_type"),
    "traces of Langfuse": _any(_type("GENERATION", "SPAN"), _holds("observations", _type("GENERATION", "SPAN"))),
    "messages of LangChain": _any(_type("human", "ai"), lambda fields: fields.get("lc") == 1),
    "messages of AutoGen": _any(
        _type("TextMessage", "ToolCallRequestEvent", "ToolCallExecutionEvent", beside="source"), _has("chat_history", "cost")
    ),
    "messages of LlamaIndex": _holds("blocks", _has("block_type")),
    "messages of Pydantic AI": _holds("parts", _has("part_kind")),
    "messages of the Vercel AI SDK": _any(_has("toolInvocations"), _holds("parts", _is_vercel)),
    "steps of smolagents": _any(_has("step_number", "model_output"), _has("step_number", "observations")),
    "a trajectory in ATIF": lambda fields: str(fields.get("schema_version", "")).startswith("ATIF"),
    "events of OpenHands": _any(_has("source", "action", "args"), _has("source", "observation", "cause")),
    "conversations exported from ChatGPT": _holds("mapping", _is_tree),
    "requests with their responses": _any(
        _holds("response", _any(_has("choices"), _has("candidates"), _has("output"))), _holds("body", _has("messages")),
        _holds("request", _any(_has("messages"), _has("contents"))),
    ),
    "examples with inputs and outputs": _holds("inputs", _has("messages")),
    "turns of Cohere's first chat": _has("message", "chat_history"),
}  # fmt: skip
