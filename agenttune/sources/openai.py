"""OpenAI chat messages with tool calls (platform.openai.com/docs/guides/function-calling), and what is spelled much like them.

Read: ``tool_calls`` with text or object arguments, parallel ones, one a message, content beside a call, results paired by ``tool_call_id``,
the older ``function_call``, ``reasoning_content``, content in parts; the calls of LangChain and Inspect; Bedrock Converse, Gemini and
Qwen-Agent messages, whose parts have no type; runs of tau-bench. What a model run knows besides (token ids, raw text, flags of results) is
not part of this format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from agenttune.errors import Refusal
from agenttune.sources.base import ReadOptions, as_object, fields_of, record_id
from agenttune.sources.chat import Chat
from agenttune.sources.marks import foreign
from agenttune.sources.messages import SYSTEMS, listed, messages_of, say_system, take
from agenttune.sources.reading.json_text import text_of
from agenttune.sources.schemas import tools_of, unused
from agenttune.sources.target import Changes, adapted, changes_of, checked, tool_list
from agenttune.values.trajectory import Json, Step, ToolCall, ToolSpec, Trajectory

NAME = "openai"
ROLES = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant", "agent": "assistant", "model": "assistant",
    "ai": "assistant", "human": "user", "tool": "result", "function": "result", "ipython": "result", "environment": "result",
}  # fmt: skip
_LISTS = ("messages", "traj", "conversations", "conversation", "contents", "history")
_TOOLS = ("tools", "functions", "toolConfig", "tool_config")
_FIELDS = ("id", *_TOOLS, *SYSTEMS, "task_id", "trial", *_LISTS, "messages_display", "changes")
_FOREIGN_TYPES = ("tool_use", "tool_result", "thinking", "redacted_thinking", "tool_call", "reasoning")
_LINE = re.compile(r"^(user|assistant|tool|system): ", re.MULTILINE)


def detect(record: Json) -> str | None:
    """Messages with the roles of this format, whose texts are not in a text format of their own."""
    fields = fields_of(record)
    if isinstance(fields.get("messages_display"), str):
        return 'a transcript in "messages_display", as tau-bench shows its examples'
    key, messages = listed(fields, _LISTS)
    if not messages or not all(_is_own(one) for one in messages) or foreign(messages):
        return None
    tools = fields.get("tools")
    if isinstance(tools, list) and any(isinstance(tool, dict) and "input_schema" in tool for tool in tools):
        return None
    return f'"{key}" holds chat messages (role, content)'


def _is_own(message: dict[str, Json]) -> bool:
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    known = "from" not in message and isinstance(message.get("role"), str) and message["role"] in ROLES
    return known and not any(isinstance(one, dict) and (one.get("type") in _FOREIGN_TYPES or "value" in one) for one in parts)


def read(record: Json, options: ReadOptions) -> Iterator[Trajectory]:
    """The one conversation of a record. Raises `Refusal`."""
    fields = as_object(record)
    found: list[str] = []
    tools = declared(fields, found)
    chat = Chat(tools={tool.name: tool for tool in tools})
    if isinstance(fields.get("messages_display"), str):
        _transcript(fields["messages_display"], chat)
    else:
        say_system(fields, chat)
        for message in messages_of(fields, _LISTS):
            take(message, chat, ROLES)
    chat.notes += found
    if dropped := unused(fields, _FIELDS):
        chat.notes.append(f"fields_dropped: {', '.join(dropped)}")
    chat.notes += changes_of(fields)
    task, trial = record_id(fields, "task_id"), record_id(fields, "trial")
    name = record_id(fields) or (f"{task}-{trial}" if task and trial else task)
    yield chat.trajectory(options, id=name, tools=tools, group=f"task:{task}" if task else "")


def declared(fields: Mapping[str, Json], notes: list[str]) -> tuple[ToolSpec, ...]:
    """The tools of a record under any of their names; Bedrock's stand one level deeper."""
    found: list[ToolSpec] = []
    for key in _TOOLS:
        value = fields.get(key)
        found += tools_of(value.get("tools") if key.startswith("tool") and isinstance(value, dict) and "tools" in value else value, notes)
    return tuple(found)


def _transcript(text: str, chat: Chat) -> None:
    """tau-bench's few-shot text: ``user: …``, ``assistant: …``. Where it shows results, the calls before them are lost already."""
    marks = list(_LINE.finditer(text))
    if not marks or marks[0].start() != 0:
        raise Refusal("shape", "the transcript does not begin with a role", text)
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        role, said = mark.group(1), text[mark.end() : following.start() - 1 if following else len(text)]
        if role == "tool" or (role == "assistant" and said == "None"):
            raise Refusal("calls_missing", "the transcript shows results, but not the calls they answer", text[mark.start() :])
        {"user": chat.user, "assistant": chat.says, "system": chat.system}[role](said)


def write(trajectory: Trajectory) -> Json:
    """``{"id", "messages", "tools"}``. Calls without an id get one; a thought before an answer becomes reasoning (``changes``).

    Raises `Refusal` where the record would not be read back as the same conversation.
    """
    changes = Changes()
    trajectory = adapted(trajectory, changes)
    ids = {call.id for step in trajectory.steps() for call in step.calls if isinstance(call, ToolCall) and call.id}
    messages: list[Json] = [{"role": "system", "content": trajectory.system}] if trajectory.system else []
    for number, round_ in enumerate(trajectory.rounds):
        if number or round_.user or not round_.steps:
            messages.append({"role": "user", "content": round_.user})
        for step in round_.steps:
            messages += _step_messages(step, ids)
    record: dict[str, Json] = {"id": trajectory.id} if trajectory.id else {}
    record["messages"] = messages
    if trajectory.tools:
        record["tools"] = [{"type": "function", "function": tool} for tool in tool_list(trajectory)]
    return checked(record, trajectory, changes, read)


def _step_messages(step: Step, ids: set[str]) -> Iterator[Json]:
    message: dict[str, Json] = {"role": "assistant", "content": step.answer if step.answer is not None else step.thought or None}
    if step.reasoning:
        message["reasoning_content"] = step.reasoning
    if step.weight != 1.0:
        message["weight"] = int(step.weight) if step.weight == int(step.weight) else step.weight
    calls = [call for call in step.calls if isinstance(call, ToolCall)]
    names = [call.id or _new_id(ids) for call in calls]
    if calls:
        message["tool_calls"] = [_call_json(call, name) for call, name in zip(calls, names, strict=True)]
    yield message
    for index, seen in enumerate(step.observations):
        yield {"role": "tool", "tool_call_id": seen.call_id or names[index], "content": seen.text}


def _new_id(ids: set[str]) -> str:
    name = next(name for number in range(len(ids) + 1, 2 * len(ids) + 3) if (name := f"call_{number}") not in ids)
    ids.add(name)
    return name


def _call_json(call: ToolCall, name: str) -> Json:
    return {"id": name, "type": "function", "function": {"name": call.name, "arguments": text_of(dict(call.arguments))}}
