"""Conversations whose assistant speaks ReAct text: messages in, rounds of steps out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agenttune.errors import Refusal
from agenttune.sources.base import Message, ReadOptions, record_id, tool_group
from agenttune.sources.messages import WEIGHTS, weight_of
from agenttune.sources.react.text import FINISH, ReactReader
from agenttune.sources.react.tools import read_tools
from agenttune.sources.reading.json_text import excerpt, kind_name, text_of
from agenttune.sources.schemas import tools_of, unused
from agenttune.sources.tool_lists import SystemParts
from agenttune.values.trajectory import Json, Round, ToolCall, ToolSpec, Trajectory

_ROLES = {
    "system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "agent": "assistant",
    "function": "tool", "observation": "tool", "tool": "tool", "ipython": "tool",
}  # fmt: skip
_RECORD = ("id", "scenario", "system", "tools", "conversations", "messages", "traj")
_MESSAGE = frozenset(("from", "value", "role", "content", *WEIGHTS))
_LABEL = "Observation:"
_ASK = "ask_to_user"  # RoTBench's tool whose results are what the user says


def messages_of(value: Json, notes: list[str]) -> list[Message]:
    """A list of ``{"from", "value"}`` or ``{"role", "content"}``. Raises `Refusal` (``shape``, ``role``)."""
    if not isinstance(value, list) or not value:
        raise Refusal("shape", f"a conversation must be a list of messages, this is {kind_name(value)}", str(value)[:400])
    return [_message(one, notes) for one in value]


def _message(value: Json, notes: list[str]) -> Message:
    fields = value if isinstance(value, dict) else {}
    role = fields.get("from", fields.get("role"))
    if not isinstance(role, str):
        raise Refusal("shape", "a message needs from and value, or role and content", str(value)[:400])
    if role.lower() not in _ROLES:
        raise Refusal("role", f'a message is from "{role}"; known: {", ".join(_ROLES)}', str(value)[:400])
    if dropped := unused(fields, _MESSAGE):
        notes.append(f"message_fields_dropped: {', '.join(dropped)}")
    kind = _ROLES[role.lower()]
    said, *others = _texts(kind, fields.get("value", fields.get("content")), notes)
    return Message(role=kind, text=said, weight=weight_of(fields), others=tuple(others))


def _texts(role: str, value: Json, notes: list[str]) -> list[str]:
    """The text of a message; of the assistant also a list of texts, each of which it could have said. Raises `Refusal` (``shape``)."""
    if isinstance(value, str):
        return [value]
    if role == "assistant" and isinstance(value, list) and value and all(isinstance(one, str) and one.strip() for one in value):
        notes += ["alternatives"] if len(value) > 1 else []
        return list(dict.fromkeys(value))
    if role == "assistant" and value is not None:
        raise Refusal("shape", f"what the assistant says must be text or a list of texts, this is {kind_name(value)}", excerpt(value))
    notes.append("value_not_text")
    return [text_of(value)]


def system_of(record: Mapping[str, Json], messages: Sequence[Message], options: ReadOptions, notes: list[str]) -> SystemParts:
    """The system text of a record: its own, else that of its scenario; with its tools taken out. Raises `Refusal`."""
    texts = [one.text for one in messages if one.role == "system"]
    own = record.get("system")
    texts = [own, *texts] if isinstance(own, str) and own else texts
    roles = [one.role for one in messages]
    if "system" in roles[roles.count("system") :]:
        raise Refusal("order", "a system message stands inside the conversation", texts[-1])
    scenario = record_id(record, "scenario")
    if not texts and scenario and options.systems:
        if scenario not in options.systems:
            raise Refusal("system", f'the file of system texts has none for scenario "{scenario}"')
        texts = [options.systems[scenario]]
    elif not texts and scenario:
        notes.append(f"system_missing: {scenario}")
    if len(texts) > 1:
        notes.append("system_joined")
    return read_tools("\n\n".join(texts))


def trajectory_of(
    record: Mapping[str, Json], messages: Sequence[Message], options: ReadOptions, notes: list[str], *, finish: bool
) -> Trajectory:
    """The conversation as a trajectory. `finish`: an action of that name is the answer, and the tool is taken from the list."""
    parts = system_of(record, messages, options, notes)
    notes += parts.notes
    known = (*tools_of(record.get("tools"), notes), *parts.tools)
    rounds = _rounds([one for one in messages if one.role != "system"], known, notes, finish=finish)
    tools = known if _calls_finish(rounds) else tuple(tool for tool in known if not (finish and tool.name.lower() == FINISH))
    if len(tools) < len(known):
        notes.append("finish_tool")
    if dropped := unused(record, _RECORD):
        notes.append(f"fields_dropped: {', '.join(dropped)}")
    if not any(round_.steps for round_ in rounds):
        raise Refusal("empty", "no assistant message says anything", str(record.get("id", "")))
    return Trajectory(
        id=record_id(record),
        file=options.file,
        line=options.line,
        group=record_id(record, "scenario") or tool_group(tools),
        system=parts.text,
        tools=tools,
        rounds=rounds,
        notes=tuple(notes),
    )


def _rounds(messages: Sequence[Message], tools: Sequence[ToolSpec], notes: list[str], *, finish: bool) -> tuple[Round, ...]:
    by_name = {tool.name: tool for tool in tools}
    users: list[str] = []
    rounds: list[ReactReader] = []
    for message in messages:
        if message.role == "user" and not (rounds and _is_reply(message, rounds[-1])):
            if rounds and rounds[-1].waiting():
                notes.append("gap")
            users.append(message.text)
            rounds.append(ReactReader(tools=by_name, notes=notes, finish=finish))
            continue
        if not rounds:
            notes.append("assistant_first")
            users.append("")
            rounds.append(ReactReader(tools=by_name, notes=notes, finish=finish))
        if message.role != "assistant":
            rounds[-1].observe(_unlabelled(message, notes))
        elif message.text.strip():
            rounds[-1].message(message.text, weight=message.weight, others=message.others)
        else:
            notes.append("empty_assistant")
    return tuple(Round(user=user, steps=tuple(done.done)) for user, done in zip(users, rounds, strict=True))


def _calls_finish(rounds: Sequence[Round]) -> bool:
    """Whether a tool of that name is really called, and not only the word for the answer."""
    calls = (call for round_ in rounds for step in round_.steps for call in step.calls)
    return any(isinstance(call, ToolCall) and call.name.lower() == FINISH for call in calls)


def _is_reply(message: Message, steps: ReactReader) -> bool:
    """Whether a user message is the result of the call before it."""
    if message.text.startswith(_LABEL) and steps.done:
        return True
    waiting = steps.waiting()
    return waiting is not None and waiting.name == _ASK


def _unlabelled(message: Message, notes: list[str]) -> str:
    if not message.text.startswith(_LABEL):
        return message.text
    if message.role == "tool":
        notes.append("observation_label")
    return message.text[len(_LABEL) :].strip()
