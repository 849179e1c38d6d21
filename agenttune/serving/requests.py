"""What a client sends, as values. Unknown fields are ignored, as clients expect; a known one with a wrong value is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from agenttune.errors import Refusal
from agenttune.serving.errors import ApiError
from agenttune.sources import openai
from agenttune.sources.base import ReadOptions
from agenttune.values.tokens import SamplingParams
from agenttune.values.trajectory import Json, JsonObject, Trajectory

Choice = Literal["none", "auto", "required"]
MOST = 8  # choices of one request


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A request for the next message of a conversation. `tool` is the one tool that must be called, if one is named."""

    model: str
    trajectory: Trajectory
    choice: Choice = "auto"
    tool: str = ""
    parallel: bool = True
    schema: JsonObject | None = None
    sampling: SamplingParams
    choices: int = 1
    stream: bool = False
    usage: bool = False
    template_options: JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRequest:
    """A request to go on with a text, or with token ids. With `token_ids` the ids of what is said are wanted too."""

    model: str
    prompt: str | tuple[int, ...]
    sampling: SamplingParams
    stream: bool = False
    usage: bool = False
    token_ids: bool = False


def chat_request(body: Json, most_tokens: int) -> ChatRequest:
    """The request of ``POST /v1/chat/completions``. Raises `ApiError`."""
    given = _object(body)
    try:
        (read,) = openai.read({"messages": given.get("messages"), "tools": given.get("tools") or None}, ReadOptions(unanswered=True))
    except Refusal as error:
        raise ApiError(400, f"messages: {error.sentence}", param="messages") from error
    if read.rounds and read.rounds[-1].steps and not _waits(read):
        raise ApiError(400, "the last message must be from user or tool: there is nothing to answer", param="messages")
    choice, tool = _choice(given.get("tool_choice"), read)
    return ChatRequest(
        model=_text(given, "model"),
        trajectory=read,
        choice=choice,
        tool=tool,
        parallel=_flag(given, "parallel_tool_calls", True),
        schema=_schema(given.get("response_format")),
        sampling=sampling_of(given, most_tokens),
        choices=_choices(given),
        stream=_flag(given, "stream", False),
        usage=_wants_usage(given),
        template_options=_part(given, "chat_template_kwargs"),
    )


def text_request(body: Json, most_tokens: int) -> TextRequest:
    """The request of ``POST /v1/completions``. Raises `ApiError`."""
    given = _object(body)
    prompt = given.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        prompt = prompt[0]
    if isinstance(prompt, list) and prompt and all(isinstance(one, int) and not isinstance(one, bool) for one in prompt):
        prompt = tuple(prompt)
    if not isinstance(prompt, str | tuple) or not prompt:
        raise ApiError(400, "prompt must be a text or a list of token ids, and not empty", param="prompt")
    _choices(given)
    return TextRequest(
        model=_text(given, "model"),
        prompt=prompt,
        sampling=sampling_of(given, most_tokens),
        stream=_flag(given, "stream", False),
        usage=_wants_usage(given),
        token_ids=_flag(given, "return_token_ids", False),
    )


def sampling_of(given: JsonObject, most_tokens: int) -> SamplingParams:
    """Sampling parameters under OpenAI's names, and vLLM's where OpenAI has none; greedy without a temperature. Raises `ApiError`."""
    tokens = given.get("max_completion_tokens") if given.get("max_completion_tokens") is not None else given.get("max_tokens")
    if tokens is None:
        tokens = most_tokens
    if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 1:
        raise ApiError(400, f"max_tokens must be a whole number of 1 or more, not {tokens!r}", param="max_tokens")
    stop = given.get("stop")
    stops = [stop] if isinstance(stop, str) else [] if stop is None else stop
    if not isinstance(stops, list) or not all(isinstance(one, str) and one for one in stops):
        raise ApiError(400, "stop must be a text or a list of texts", param="stop")
    ids = given.get("stop_token_ids") or []
    if not isinstance(ids, list) or not all(isinstance(one, int) and not isinstance(one, bool) for one in ids):
        raise ApiError(400, "stop_token_ids must be a list of whole numbers", param="stop_token_ids")
    return SamplingParams(
        max_new_tokens=min(tokens, most_tokens),
        temperature=_number(given, "temperature", 0.0, 0.0, 100.0),
        top_p=_number(given, "top_p", 1.0, 1e-9, 1.0),
        top_k=max(0, int(_number(given, "top_k", 0, -1, 1e9))),
        repetition_penalty=_number(given, "repetition_penalty", 1.0, 1e-6, 100.0),
        seed=int(_number(given, "seed", 0, -(2**63), 2**63)) & 0xFFFFFFFF,
        stops=tuple(stops),
        stop_ids=frozenset(ids),
    )


def _waits(read: Trajectory) -> bool:
    """Whether the last step made calls and was answered: then the model's turn has come."""
    last = read.rounds[-1].steps[-1]
    if last.calls and len(last.observations) < len(last.calls):
        raise ApiError(400, "a tool call has no result: each needs a message of the role tool", param="messages")
    return bool(last.calls)


def _choice(value: Json, read: Trajectory) -> tuple[Choice, str]:
    names = [tool.name for tool in read.tools]
    if value is None or value == "auto":
        return "auto", ""
    if value == "none":
        return "none", ""
    if not names:
        raise ApiError(400, "tool_choice asks for a call, and there are no tools", param="tool_choice")
    if value in ("required", "any"):
        return "required", ""
    named = value.get("function", value) if isinstance(value, dict) else None
    name = named.get("name") if isinstance(named, dict) else None
    if name not in names:
        raise ApiError(400, f"tool_choice must be none, auto, required, or name one of the tools ({', '.join(names)})", param="tool_choice")
    return "required", str(name)


def _schema(value: Json) -> JsonObject | None:
    if value is None or (isinstance(value, dict) and value.get("type") == "text"):
        return None
    if isinstance(value, dict) and value.get("type") == "json_object":
        return {"type": "object"}
    inner = value.get("json_schema") if isinstance(value, dict) and value.get("type") == "json_schema" else None
    schema = inner.get("schema") if isinstance(inner, dict) else None
    if not isinstance(schema, dict):
        raise ApiError(400, "response_format must be text, json_object, or json_schema with a schema", param="response_format")
    return schema


def _choices(given: JsonObject) -> int:
    count = int(_number(given, "n", 1, 1, MOST))
    if given.get("logprobs"):
        raise ApiError(400, "logprobs are not given by this server", param="logprobs")
    return count


def _wants_usage(given: JsonObject) -> bool:
    return _flag(_part(given, "stream_options"), "include_usage", False)


def _object(body: Json) -> Mapping[str, Json]:
    if not isinstance(body, dict):
        raise ApiError(400, "the body must be a JSON object")
    return body


def _part(given: JsonObject, name: str) -> JsonObject:
    value = given.get(name)
    if value is not None and not isinstance(value, dict):
        raise ApiError(400, f"{name} must be an object", param=name)
    return value or {}


def _text(given: JsonObject, name: str) -> str:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise ApiError(400, f"{name} must be a text", param=name)
    return value or ""


def _flag(given: JsonObject, name: str, default: bool) -> bool:
    value = given.get(name)
    if value is not None and not isinstance(value, bool):
        raise ApiError(400, f"{name} must be true or false", param=name)
    return default if value is None else value


def _number(given: JsonObject, name: str, default: float, least: float, most: float) -> float:
    value = given.get(name)
    if value is None:
        return default
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise ApiError(400, f"{name} must be a number from {least:g} to {most:g}, not {value!r}", param=name)
    return float(value)
