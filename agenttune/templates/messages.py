"""Turns as the messages that a chat template takes, and the shape of a message: what a template may look at in its content.

A content is cut into texts, which no template looks into, and literals, which some do: the tags of a reasoning block that opens
an output, those of a ``<tool_response>``, white space at either end. Messages of one shape have the same roles and the same literals.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agenttune.templates.base import PieceKind
from agenttune.values.sample import Turn
from agenttune.values.trajectory import Json, ToolCall

_FRAME = re.compile(
    r"\A(\s*)(?:(<think>\n)(.*?)(\n</think>\n\n)(?=\S)(.*?)|(<tool_response>\n)(.*?)(\n</tool_response>)|(.*?))(\s*)\Z", re.DOTALL
)
_OUTER = re.compile(r"\A(\s*)(.*?)(\s*)\Z", re.DOTALL)
_HOLE = "\ue0f2"  # stands for a text in the fields beside a content

Form = tuple[str | None, ...]  # literals in order, None for each text between them


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateMessage:
    """One message: its role and content, what its content is, and the turn it comes from.

    A native one may have `reasoning` and `calls`, or answer the call `call_id` of the tool `name`; `said` is the output as it was said.
    """

    role: str
    content: str
    kind: PieceKind
    turn: int
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()
    call_id: str = ""
    name: str = ""
    said: str = ""

    def fields(self) -> dict[str, Json]:
        """What a native message has beside its role and content."""
        found: dict[str, Json] = {}
        if self.reasoning:
            found["reasoning"] = self.reasoning
        if self.calls:
            found["calls"] = [{"id": call.id, "name": call.name, "arguments": dict(call.arguments)} for call in self.calls]
        if self.call_id:
            found |= {"call_id": self.call_id, "name": self.name}
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A message's shape: everything but its texts. `fields` are those beside the content, as JSON with holes for their texts."""

    role: str
    kind: PieceKind
    turn: int
    form: Form
    fields: str = ""

    @property
    def texts(self) -> int:
        """How many texts it has: those of the content, then those of the fields."""
        return self.form.count(None) + self.fields.count(_HOLE)


Shape = tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Under which roles a template shows what is not a user's: `observation` in the middle, and whether a first system turn has one."""

    observation: str
    system: bool


def messages_of(turns: Sequence[Turn], roles: Roles) -> list[TemplateMessage]:
    """The turns as messages. Where there is no system role, the first system text opens the user's; two user messages in a row are one."""
    found: list[TemplateMessage] = []
    for index, turn in enumerate(turns):
        user = turn.input
        if turn.system and (index > 0 or roles.system):
            add_message(
                found,
                TemplateMessage(role="system" if index == 0 else roles.observation, content=turn.system, kind="system", turn=index),
            )
        elif turn.system:
            user = f"{turn.system}\n\n{user}" if user else turn.system
        if user:
            add_message(found, TemplateMessage(role="user", content=user, kind="user", turn=index))
        if turn.output:
            found.append(TemplateMessage(role="assistant", content=turn.output, kind="output", turn=index))
    return found


def add_message(found: list[TemplateMessage], message: TemplateMessage) -> None:
    """Appends a message; a user's joins the user's before it, because many templates refuse two in a row."""
    if found and message.role == "user" and found[-1].role == "user":
        last = found.pop()
        joined = f"{last.content}\n\n{message.content}"
        message = TemplateMessage(role="user", content=joined, kind=last.kind, turn=message.turn)
    found.append(message)


def row_of(message: TemplateMessage) -> tuple[Row, Sequence[str]]:
    """The shape of a message, and its texts in order."""
    form, texts = form_of(message.content)
    fields = message.fields() if message.reasoning or message.calls or message.call_id else {}
    if not fields:
        return Row(role=message.role, kind=message.kind, turn=message.turn, form=form), texts
    more: list[str] = []

    def hole(text: str) -> str:
        more.append(text)
        return _HOLE

    holed = json.dumps(_mapped(fields, hole), ensure_ascii=False)
    return Row(role=message.role, kind=message.kind, turn=message.turn, form=form, fields=holed), (*texts, *more)


def shape_of(messages: Sequence[TemplateMessage]) -> Shape:
    """The shape of a conversation."""
    return tuple(row_of(one)[0] for one in messages)


def with_texts(row: Row, texts: Sequence[str]) -> dict[str, Json]:
    """The message of this shape that has these texts: the inverse of `row_of`."""
    left = iter(texts)
    content = "".join(next(left) if literal is None else literal for literal in row.form)
    fields = _mapped(json.loads(row.fields), lambda text: next(left) if text == _HOLE else text) if row.fields else {}
    return {"role": row.role, "content": content, **fields}


def _mapped(fields: Mapping[str, Json], change: Callable[[str], str]) -> dict[str, Json]:
    """The fields with `change` applied to the reasoning and to every text that is a value in a call's arguments, in order."""
    found = dict(fields)
    if "reasoning" in found:
        found["reasoning"] = change(found["reasoning"])
    if "calls" in found:
        found["calls"] = [{**one, "arguments": _changed(one["arguments"], change)} for one in found["calls"]]
    return found


def _changed(value: Json, change: Callable[[str], str]) -> Json:
    if isinstance(value, str):
        return change(value) if value else value
    if isinstance(value, Mapping):
        return {name: _changed(one, change) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_changed(one, change) for one in value]
    return value


def form_of(content: str) -> tuple[Form, tuple[str, ...]]:
    """The form of a content, and its texts: ``" hi"`` is ``((" ", None), ("hi",))``.

    >>> form_of("<think>\\nWhy?\\n</think>\\n\\nSo.")
    (('<think>\\n', None, '\\n</think>\\n\\n', None), ('Why?', 'So.'))
    """
    if not content:
        return (), ()
    if not content[:1].isspace() and not content[-1:].isspace() and not content.startswith(("<think>", "<tool_response>")):
        return (None,), (content,)  # nearly all
    found = _FRAME.match(content)
    assert found is not None
    before, think, reason, after, rest, opened, inner, closed, plain, end = found.groups()
    cut = _Cut()
    cut.literal(before)
    for literal, text in ((think, reason), (after, rest), (opened, inner), (closed, plain)):
        cut.literal(literal or "")
        cut.text(text or "")
    cut.literal(end)
    return tuple(cut.form), tuple(cut.texts)


class _Cut:
    """Collects a form; short-lived."""

    def __init__(self) -> None:
        self.form: list[str | None] = []
        self.texts: list[str] = []

    def literal(self, text: str) -> None:
        if not text:
            return
        if self.form and self.form[-1] is not None:
            self.form[-1] += text
        else:
            self.form.append(text)

    def text(self, text: str) -> None:
        outer = _OUTER.match(text)
        assert outer is not None
        before, inner, after = outer.groups()
        self.literal(before)
        if inner:
            self.form.append(None)
            self.texts.append(inner)
        self.literal(after)
