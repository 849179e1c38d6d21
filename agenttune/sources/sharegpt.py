"""ShareGPT conversations as LLaMA-Factory and ms-swift train on them: human, gpt, function_call, observation, system.

Also the same roles under ``role``/``content``, and content in typed parts (``text``, ``reasoning``, ``tool_call``, each with a ``value``).
"""

from __future__ import annotations

from collections.abc import Iterator

from agenttune.sources.base import ReadOptions, as_object, fields_of, record_id
from agenttune.sources.chat import Chat
from agenttune.sources.marks import foreign
from agenttune.sources.messages import SYSTEMS, listed, messages_of, say_system, take
from agenttune.sources.reading.json_text import text_of
from agenttune.sources.schemas import tools_of, unused
from agenttune.sources.target import Changes, adapted, changes_of, checked, tool_list
from agenttune.values.trajectory import Json, Step, ToolCall, Trajectory

NAME = "sharegpt"
_LISTS = ("conversations", "conversation", "messages")
_FIELDS = ("id", "tools", *SYSTEMS, "changes", *_LISTS)
ROLES = {
    "system": "system", "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant",
    "bing": "assistant", "model": "assistant", "function_call": "call", "tool_call": "call", "observation": "result",
    "tool_response": "result", "function_response": "result", "tool": "result", "function": "result", "ipython": "result",
}  # fmt: skip
_OWN = frozenset(("human", "gpt", "chatgpt", "bing", "function_call", "tool_call", "observation", "tool_response", "function_response"))


def detect(record: Json) -> str | None:
    """Messages of which one has a role that only this format has, or parts with a type and a value."""
    key, messages = listed(fields_of(record), _LISTS)
    roles = [one.get("from", one.get("role")) for one in messages]
    if not roles or not all(isinstance(role, str) and role in ROLES for role in roles) or foreign(messages):
        return None
    own = next((role for role in roles if role in _OWN), "")
    if own:
        return f'"{key}" holds messages from "{own}"'
    typed = any(_is_typed(one.get("content", one.get("value"))) for one in messages)
    return f'"{key}" holds messages in parts with a type and a value' if typed else _from_value(key, messages)


def _is_typed(content: Json) -> bool:
    parts = content if isinstance(content, list) else []
    return bool(parts) and all(isinstance(part, dict) and "type" in part and "value" in part for part in parts)


def _from_value(key: str, messages: list[dict[str, Json]]) -> str | None:
    return f'"{key}" holds messages (from, value)' if all("from" in one and "value" in one for one in messages) else None


def read(record: Json, options: ReadOptions) -> Iterator[Trajectory]:
    """The one conversation of a record. Raises `Refusal`."""
    fields = as_object(record)
    found: list[str] = []
    tools = tools_of(fields.get("tools"), found)
    chat = Chat(tools={tool.name: tool for tool in tools})
    say_system(fields, chat)
    for message in messages_of(fields, _LISTS):
        take(message, chat, ROLES)
    chat.notes += found
    if dropped := unused(fields, _FIELDS):
        chat.notes.append(f"fields_dropped: {', '.join(dropped)}")
    chat.notes += changes_of(fields)
    yield chat.trajectory(options, id=record_id(fields), tools=tools)


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
