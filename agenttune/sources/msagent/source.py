"""MSAgent-Bench (ModelScope, arXiv 2309.00986): calls and results inside the assistant's text, between think and exec markers.

White space at the ends of a value and the code fences around calls and results are format, not content. What a `Trajectory` cannot hold
(a call's url, a plugin's service address) is dropped with a note; everything else is kept, or the record is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from agenttune.errors import Refusal
from agenttune.sources.base import Message, ReadOptions, as_object, fields_of, record_id, tool_group
from agenttune.sources.messages import WEIGHTS, weight_of
from agenttune.sources.msagent import markers
from agenttune.sources.msagent.steps import RoundReader
from agenttune.sources.msagent.system import read_system
from agenttune.sources.msagent.write import written
from agenttune.sources.reading.json_text import kind_name, read_value, text_of
from agenttune.sources.schemas import unused
from agenttune.sources.tool_lists import SystemParts
from agenttune.values.trajectory import Json, Round, Step, Trajectory

NAME = "msagent"
_ROLES = ("system", "user", "assistant")
_RECORD, _MESSAGE = frozenset(("id", "conversations")), frozenset(("from", "value", *WEIGHTS))


def detect(record: Json) -> str | None:
    """Its markers, or the id of a record of the set that is not in its ReAct edition."""
    record = fields_of(record)
    if "conversations" not in record:
        return None
    text = str(record["conversations"])
    for mark in markers.TELLING:
        if mark in text:
            return f'"conversations" holds {mark}'
    if str(record.get("id", "")).startswith("MS_Agent_Bench") and "Action Input:" not in text:
        return "the id begins with MS_Agent_Bench"
    return None


def read(record: Json, options: ReadOptions) -> Iterator[Trajectory]:
    """The one conversation of a record. Raises `Refusal`."""
    fields = as_object(record)
    notes: list[str] = []
    messages = messages_of(fields, notes)
    system, messages = opening(messages, notes)
    parts = read_system(system)
    notes += parts.notes
    rounds = _rounds(messages, parts, notes)
    if not any(round_.steps for round_ in rounds):
        raise Refusal("empty", "no assistant message says anything", str(fields.get("id", "")))
    if dropped := unused(fields, _RECORD):
        notes.append(f"fields_dropped: {', '.join(dropped)}")
    yield Trajectory(
        id=record_id(fields),
        file=options.file,
        line=options.line,
        group=tool_group(parts.tools),
        system=parts.text,
        tools=parts.tools,
        rounds=rounds,
        notes=tuple(notes),
    )


def write(trajectory: Trajectory) -> Json:
    """A record of the set, if `read` gives the same conversation back. Raises `Refusal`."""
    return written(trajectory, read)


def messages_of(record: dict[str, Json], notes: list[str]) -> list[Message]:
    """The messages of ``conversations``, a list or a text that holds one (JSON or a Python literal). Raises `Refusal` (``shape``)."""
    value = record.get("conversations")
    if isinstance(value, str):
        value, change = _from_text(value)
        notes.append(change or "conversations_text")
    if not isinstance(value, list) or not value:
        raise Refusal("shape", f'"conversations" must be a list of messages, this is {kind_name(value)}', str(value)[:400])
    return [_message(one, notes) for one in value]


def _from_text(text: str) -> tuple[Json, str]:
    try:
        return read_value(text)
    except Refusal as error:
        raise Refusal("shape", f'"conversations" is a text that holds no list: {error.sentence}', text) from error


def _message(value: Json, notes: list[str]) -> Message:
    if not isinstance(value, dict) or not isinstance(value.get("from"), str):
        raise Refusal("shape", 'a message needs "from" and "value"', str(value)[:400])
    role, text = value["from"].strip().lower(), value.get("value")
    if role not in _ROLES:
        raise Refusal("role", f'a message is from "{role}"; known: {", ".join(_ROLES)}', str(value)[:400])
    if dropped := unused(value, _MESSAGE):
        notes.append(f"message_fields_dropped: {', '.join(dropped)}")
    if not isinstance(text, str):
        notes.append("value_not_text")
    return Message(role=role, text=text_of(text), weight=weight_of(value))


def opening(messages: list[Message], notes: list[str]) -> tuple[str, list[Message]]:
    """The system text (several at the head are joined), and the messages after it. Raises `Refusal` (``order``) for a later one."""
    roles = [one.role for one in messages]
    count = next((index for index, role in enumerate(roles) if role != "system"), len(roles))
    if "system" in roles[count:]:
        raise Refusal("order", "a system message stands inside the conversation", messages[count].text)
    if count > 1:
        notes.append("system_joined")
    return "\n\n".join([one.text for one in messages[:count]]), messages[count:]


def _rounds(messages: list[Message], system: SystemParts, notes: list[str]) -> tuple[Round, ...]:
    reading = RoundReader(tools={tool.name: tool for tool in system.tools}, notes=notes)
    users: list[str] = []
    steps: list[tuple[Step, ...]] = []
    weights: list[set[float]] = []
    for message in messages:
        if message.role == "user":
            if users:
                steps.append(reading.end())
            users.append(message.text)
            weights.append(set())
            continue
        if not users:
            notes.append("assistant_first")
            users.append("")
            weights.append(set())
        weights[-1].add(message.weight)
        reading.value(message.text)
    if users:
        steps.append(reading.end())
    return tuple(Round(user=user, steps=_weighted(done, own)) for user, done, own in zip(users, steps, weights, strict=True))


def _weighted(steps: tuple[Step, ...], weights: set[float]) -> tuple[Step, ...]:
    """The steps of a round with the weight of its messages: a step may begin in one message and end in the next, so they must agree."""
    if len(weights) > 1:
        raise Refusal("weight", "the messages of one round have different weights")
    weight = next(iter(weights), 1.0)
    return steps if weight == 1.0 else tuple(replace(step, weight=weight) for step in steps)
