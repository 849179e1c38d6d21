"""ShareGPT conversations as LLaMA-Factory and ms-swift train on them: human, gpt, function_call, observation, system.

Also the same roles under ``role``/``content``, and content in typed parts (``text``, ``reasoning``, ``tool_call``, each with a ``value``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeGuard

from agenttune.errors import Refusal
from agenttune.sources.base import ReadOptions, as_object, record_id
from agenttune.sources.chat import Chat, call_of
from agenttune.sources.marks import foreign
from agenttune.sources.openai import messages_of, weight_of
from agenttune.sources.reading.json_text import excerpt, kind_name, read_value, text_of
from agenttune.sources.schemas import tools_of, unused
from agenttune.sources.target import Changes, adapted, changes_of, checked, tool_list
from agenttune.values.trajectory import Json, Step, ToolCall, Trajectory

NAME = "sharegpt"
_LISTS = ("conversations", "conversation", "messages")
_FIELDS = ("id", "tools", "system", "changes", *_LISTS)
_MESSAGE = ("from", "value", "role", "content", "weight", "loss", "train", "training")
_ROLES = {
    "system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant",
    "bing": "assistant", "model": "assistant", "function_call": "call", "tool_call": "call", "observation": "result",
    "tool_response": "result", "function_response": "result", "tool": "result", "function": "result",
}  # fmt: skip
_OWN = frozenset(("human", "gpt", "chatgpt", "bing", "function_call", "tool_call", "observation", "tool_response", "function_response"))
_PARTS = ("reasoning", "text", "tool_call")
_THINK = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)


def detect(record: Json) -> str | None:
    """Messages of which one has a role that only this format has, or parts with a type and a value."""
    if not isinstance(record, dict):
        return None
    key = next((one for one in _LISTS if isinstance(record.get(one), list) and record[one]), "")
    if not key or not all(isinstance(one, dict) for one in record[key]):
        return None
    roles = [one.get("from", one.get("role")) for one in record[key]]
    typed = any(_is_typed(one.get("content", one.get("value"))) for one in record[key])
    if not all(isinstance(role, str) and role in _ROLES for role in roles) or foreign(record[key]):
        return None
    own = next((role for role in roles if role in _OWN), "")
    if not own and not typed:
        return None
    return f'"{key}" holds messages from "{own}"' if own else f'"{key}" holds messages in parts with a type and a value'


def _is_typed(content: Json) -> TypeGuard[list[dict[str, Json]]]:
    parts = content if isinstance(content, list) else []
    return bool(parts) and all(isinstance(part, dict) and "type" in part and "value" in part for part in parts)


def read(record: Json, options: ReadOptions) -> Iterator[Trajectory]:
    """The one conversation of a record. Raises `Refusal`."""
    fields = as_object(record)
    chat = Chat()
    if isinstance(fields.get("system"), str):
        chat.system(fields["system"])
    for message in messages_of(fields, _LISTS):
        _message(message, chat)
    tools = tools_of(fields.get("tools"), chat.notes)
    if dropped := unused(fields, _FIELDS):
        chat.notes.append(f"fields_dropped: {', '.join(dropped)}")
    chat.notes += changes_of(fields)
    yield chat.trajectory(options, id=record_id(fields), tools=tools)


def _message(message: dict[str, Json], chat: Chat) -> None:
    role = message.get("from", message.get("role"))
    value = message["value"] if "value" in message else message.get("content")
    kind = _ROLES.get(role) if isinstance(role, str) else None
    if kind is None:
        raise Refusal("role", f"a message is from {role!r}; known: {', '.join(_ROLES)}", excerpt(message))
    if dropped := unused(message, _MESSAGE):
        chat.notes.append(f"message_fields_dropped: {', '.join(dropped)}")
    if _is_typed(value):
        _typed(kind, value, chat, weight_of(message))
    elif kind == "call":
        reasoning, calls = _calls(value, chat.notes)
        chat.says("", reasoning=reasoning, calls=calls, weight=weight_of(message))
    elif kind == "result":
        _result(value, chat)
    else:
        _say(kind, _text(value), chat, weight_of(message))


def _say(kind: str, text: str, chat: Chat, weight: float) -> None:
    if kind == "assistant":
        chat.says(text, weight=weight)
    elif kind == "user":
        chat.user(text)
    else:
        chat.system(text)


def _text(value: Json) -> str:
    if value is not None and not isinstance(value, str):
        raise Refusal("shape", f"the value of a message must be text, this is {kind_name(value)}", excerpt(value))
    return value or ""


def _typed(kind: str, parts: list[dict[str, Json]], chat: Chat, weight: float) -> None:
    """A message in typed parts."""
    found: dict[str, list[Json]] = {name: [part["value"] for part in parts if part["type"] == name] for name in _PARTS}
    if any(part["type"] not in _PARTS for part in parts):
        raise Refusal("media", f"a message holds parts of other types than {', '.join(_PARTS)}", excerpt(parts))
    text = "".join(_text(one) for one in found["text"])
    if len(found["text"]) > 1:
        chat.notes.append("parts_joined")
    if kind in ("assistant", "call"):
        reasoning = "\n\n".join(_text(one) for one in found["reasoning"])
        chat.says(text, reasoning=reasoning, calls=[call_of(one, chat.notes) for one in found["tool_call"]], weight=weight)
    elif found["reasoning"] or found["tool_call"]:
        raise Refusal("role", f"reasoning or a call stands in a message of the {kind}", excerpt(parts))
    elif kind == "result":
        _result(text, chat)
    else:
        _say(kind, text, chat, weight)


def _calls(value: Json, notes: list[str]) -> tuple[str, list[ToolCall]]:
    """A function_call's value: a call or a list of them, perhaps after its reasoning."""
    reasoning = ""
    if isinstance(value, str):
        found = _THINK.match(value)
        if found:
            reasoning, value = found.group(1), value[found.end() :]
            notes.append("think_tags")
        try:
            value, change = read_value(value)
        except Refusal as error:
            raise Refusal("call", f"a call cannot be read: {error.sentence}", error.excerpt) from error
        notes += [change] if change else []
    calls = [call_of(one, notes) for one in (value if isinstance(value, list) else [value])]
    if not calls:
        raise Refusal("call", "a function_call holds no call", excerpt(value))
    return reasoning, calls


def _result(value: Json, chat: Chat) -> None:
    """A result; one list that holds as many results as calls wait, each with its tool's name, is taken apart (``results_split``)."""
    text = text_of(value)
    waiting = chat.waiting()
    listed = _listed(text) if len(waiting) > 1 else []
    if len(listed) == len(waiting) > 1 and all(_names(one, call) for one, call in zip(listed, waiting, strict=True)):
        chat.notes.append("results_split")
        for one in listed:
            chat.sees(text_of(one))
    else:
        chat.sees(text)


def _listed(text: str) -> list[Json]:
    try:
        value, _ = read_value(text)
    except Refusal:
        return []
    return value if isinstance(value, list) else []


def _names(value: Json, call: ToolCall) -> bool:
    return isinstance(value, dict) and value.get("name") == call.name


def write(trajectory: Trajectory) -> Json:
    """``{"id", "conversations", "tools": JSON text}``; a thought stands in a gpt message of its own before its function_call.

    A step with parallel calls is one function_call that holds a list. Raises `Refusal` where the record would not be read back the same.
    """
    changes = Changes()
    trajectory = adapted(trajectory, changes)
    messages: list[Json] = [{"from": "system", "value": trajectory.system}] if trajectory.system else []
    for number, round_ in enumerate(trajectory.rounds):
        if number or round_.user or not round_.steps:
            messages.append({"from": "human", "value": round_.user})
        for step in round_.steps:
            messages += _step_messages(step)
    record: dict[str, Json] = {"id": trajectory.id} if trajectory.id else {}
    record |= {"conversations": messages, "tools": text_of(tool_list(trajectory))}
    return checked(record, trajectory, changes, read)


def _step_messages(step: Step) -> Iterator[Json]:
    weight: dict[str, Json] = {} if step.weight == 1.0 else {"weight": step.weight}
    head = f"<think>\n{step.reasoning}\n</think>\n\n" if step.reasoning else ""
    if step.answer is not None:
        yield {"from": "gpt", "value": head + step.answer, **weight}
        return
    if head or step.thought:
        yield {"from": "gpt", "value": head + step.thought, **weight}
    calls = [{"name": call.name, "arguments": dict(call.arguments)} for call in step.calls if isinstance(call, ToolCall)]
    yield {"from": "function_call", "value": text_of(calls if len(calls) > 1 else calls[0]), **weight}
    for seen in step.observations:
        yield {"from": "observation", "value": seen.text}
