"""OpenAI chat messages with tool calls (platform.openai.com/docs/guides/function-calling), and runs of tau-bench, which hold them.

Read: ``tool_calls`` with text or object arguments, parallel ones, content beside a call, results paired by ``tool_call_id``, the older
``function_call``, ``reasoning_content``, content in parts. What a model run knows besides (token ids, raw text, flags of results) is not
part of this format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from agenttune.errors import Refusal
from agenttune.sources.base import ReadOptions, as_object, record_id
from agenttune.sources.chat import Chat, call_of
from agenttune.sources.marks import foreign
from agenttune.sources.reading.json_text import excerpt, kind_name, read_value, text_of
from agenttune.sources.schemas import tools_of, unused
from agenttune.sources.target import Changes, adapted, changes_of, checked, tool_list
from agenttune.values.trajectory import Json, Step, ToolCall, Trajectory

NAME = "openai"
ROLES = ("system", "developer", "user", "assistant", "agent", "tool", "function")
_SPEAKS = ("assistant", "agent")  # AgentBench's examples say "agent"
_LISTS = ("messages", "traj", "conversations", "conversation")
_FIELDS = ("id", "tools", "functions", "system", "task_id", "trial", *_LISTS, "messages_display", "changes")
_REASONING = ("reasoning_content", "reasoning", "thinking")
_WEIGHTS = ("weight", "loss", "train", "training")
_MESSAGE = ("role", "content", "tool_calls", "function_call", "tool_call_id", "refusal", *_REASONING, *_WEIGHTS)
_LINE = re.compile(r"^(user|assistant|tool|system): ", re.MULTILINE)


def detect(record: Json) -> str | None:
    """Messages with the roles of this format, whose texts are not in a text format of their own."""
    if not isinstance(record, dict):
        return None
    if isinstance(record.get("messages_display"), str):
        return 'a transcript in "messages_display", as tau-bench shows its examples'
    key = next((one for one in _LISTS if isinstance(record.get(one), list) and record[one]), "")
    if not key or not all(_is_message(one) for one in record[key]) or foreign(record[key]):
        return None
    tools = record.get("tools")
    if isinstance(tools, list) and any(isinstance(tool, dict) and "input_schema" in tool for tool in tools):
        return None
    return f'"{key}" holds chat messages (role, content)'


def _is_message(value: Json) -> bool:
    if not isinstance(value, dict) or value.get("role") not in ROLES:
        return False
    content = value.get("content")
    parts = content if isinstance(content, list) else []
    return isinstance(content, str | list | None) and all(isinstance(part, str) or _is_part(part) for part in parts)


def _is_part(part: Json) -> bool:
    foreign_types = ("tool_use", "tool_result", "thinking", "redacted_thinking", "tool_call", "reasoning")
    return isinstance(part, dict) and part.get("type") not in foreign_types and "value" not in part


def read(record: Json, options: ReadOptions) -> Iterator[Trajectory]:
    """The one conversation of a record. Raises `Refusal`."""
    fields = as_object(record)
    chat = Chat()
    if isinstance(fields.get("messages_display"), str):
        _transcript(fields["messages_display"], chat)
    else:
        if isinstance(fields.get("system"), str):
            chat.system(fields["system"])
        for message in messages_of(fields):
            _message(message, chat)
    tools = (*tools_of(fields.get("tools"), chat.notes), *tools_of(fields.get("functions"), chat.notes))
    if dropped := unused(fields, _FIELDS):
        chat.notes.append(f"fields_dropped: {', '.join(dropped)}")
    chat.notes += changes_of(fields)
    task, trial = record_id(fields, "task_id"), record_id(fields, "trial")
    name = record_id(fields) or (f"{task}-{trial}" if task and trial else task)
    yield chat.trajectory(options, id=name, tools=tools, group=f"task:{task}" if task else "")


def messages_of(fields: Mapping[str, Json], keys: tuple[str, ...] = _LISTS) -> list[dict[str, Json]]:
    """The list of messages under the first of `keys` that the record has, or in a text there. Raises `Refusal` (``shape``)."""
    key = next((one for one in keys if fields.get(one) is not None), keys[0])
    value = fields.get(key)
    if isinstance(value, str):
        try:
            value, _ = read_value(value)
        except Refusal as error:
            raise Refusal("shape", f'"{key}" is a text that holds no list: {error.sentence}', value) from error
    if not isinstance(value, list) or not value:
        raise Refusal("shape", f'"{key}" must be a list of messages, this is {kind_name(value)}', excerpt(value))
    for one in value:
        if not isinstance(one, dict):
            raise Refusal("shape", f"a message must be an object, this is {kind_name(one)}", excerpt(one))
    return value


def _message(message: dict[str, Json], chat: Chat) -> None:
    role = message.get("role")
    text = content_text(message.get("content"), chat.notes)
    known = (*_MESSAGE, "name") if role in ("tool", "function") else _MESSAGE
    if dropped := unused(message, known):
        chat.notes.append(f"message_fields_dropped: {', '.join(dropped)}")
    if role in ("system", "developer"):
        chat.system(text)
    elif role == "user":
        chat.user(text)
    elif role in _SPEAKS:
        _assistant(message, text, chat)
    elif role in ("tool", "function"):
        name, call_id = message.get("name"), message.get("tool_call_id")
        chat.sees(text, call_id=call_id if isinstance(call_id, str) else "", name=name if isinstance(name, str) else "")
    else:
        raise Refusal("role", f"a message has the role {role!r}; known: {', '.join(ROLES)}", excerpt(message))


def _assistant(message: dict[str, Json], text: str, chat: Chat) -> None:
    calls = calls_of(message.get("tool_calls"), chat.notes)
    if message.get("function_call") is not None:
        calls.append(call_of(message["function_call"], chat.notes))
    if not text and not calls and isinstance(message.get("refusal"), str):
        text = message["refusal"]
        chat.notes.append("refusal_as_answer")
    reasoning = next((message[key] for key in _REASONING if message.get(key)), "")
    if not isinstance(reasoning, str):
        reasoning = content_text(reasoning, chat.notes)
    chat.says(text, reasoning=reasoning, calls=calls, weight=weight_of(message))


def calls_of(value: Json, notes: list[str]) -> list[ToolCall]:
    """``tool_calls`` as calls; an entry is ``{"id", "type": "function", "function": {…}}`` or the inner object alone. Raises `Refusal`."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise Refusal("call", f'"tool_calls" must be a list, this is {kind_name(value)}', excerpt(value))
    calls = []
    for one in value:
        if not isinstance(one, dict) or one.get("type", "function") not in ("function", None):
            raise Refusal("call", "a tool call must be an object of the type function", excerpt(one))
        given = one.get("id")
        inner = one["function"] if isinstance(one.get("function"), dict) else one
        calls.append(call_of({k: v for k, v in inner.items() if k != "index"}, notes, id=given if isinstance(given, str) else ""))
    return calls


def weight_of(message: Mapping[str, Json]) -> float:
    """The weight of a message under any of the names that trainers give it; 1 without one. Raises `Refusal` (``weight``)."""
    for key in _WEIGHTS:
        value = message.get(key)
        if value is None:
            continue
        if not isinstance(value, bool | int | float) or not 0 <= value < float("inf"):
            raise Refusal("weight", f'"{key}" of a message must be true, false or a number of 0 or more', excerpt(value))
        return float(value)
    return 1.0


def content_text(content: Json, notes: list[str]) -> str:
    """Content as text: a text, nothing, parts of text (joined as they are), or other JSON (note ``content_as_json``). Raises `Refusal`."""
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list) and all(isinstance(part, str) or (isinstance(part, dict) and "type" in part) for part in content):
        if len(content) > 1:
            notes.append("parts_joined")
        return "".join(part if isinstance(part, str) else _part_text(part) for part in content)
    notes.append("content_as_json")
    return text_of(content)


def _part_text(part: dict[str, Json]) -> str:
    kind = part.get("type")
    text = part.get("text") if kind in ("text", "input_text", "output_text") else part.get("refusal") if kind == "refusal" else None
    if not isinstance(text, str):
        raise Refusal("media", f"a message holds a part of the type {kind!r}, and only text can be kept", excerpt(part))
    return text


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
