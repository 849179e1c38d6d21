"""Turns as the messages that a chat template takes, and the shape of a message: what a template may look at in its content.

A content is cut into texts, which no template looks into, and literals, which some do: the tags of a reasoning block that opens
an output, those of a ``<tool_response>``, white space at either end. Messages of one shape have the same roles and the same literals.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agenttune.templates.base import PieceKind
from agenttune.values.sample import Turn

_FRAME = re.compile(
    r"\A(\s*)(?:(<think>\n)(.*?)(\n</think>\n\n)(?=\S)(.*?)|(<tool_response>\n)(.*?)(\n</tool_response>)|(.*?))(\s*)\Z", re.DOTALL
)
_OUTER = re.compile(r"\A(\s*)(.*?)(\s*)\Z", re.DOTALL)

Form = tuple[str | None, ...]  # literals in order, None for each text between them


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateMessage:
    """One message: its role and content, what its content is, and the turn it comes from."""

    role: str
    content: str
    kind: PieceKind
    turn: int


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
            _add(found, TemplateMessage(role="system" if index == 0 else roles.observation, content=turn.system, kind="system", turn=index))
        elif turn.system:
            user = f"{turn.system}\n\n{user}" if user else turn.system
        if user:
            _add(found, TemplateMessage(role="user", content=user, kind="user", turn=index))
        if turn.output:
            found.append(TemplateMessage(role="assistant", content=turn.output, kind="output", turn=index))
    return found


def _add(found: list[TemplateMessage], message: TemplateMessage) -> None:
    if found and message.role == "user" and found[-1].role == "user":  # many templates refuse two user messages in a row
        last = found.pop()
        joined = f"{last.content}\n\n{message.content}"
        message = TemplateMessage(role="user", content=joined, kind=last.kind, turn=message.turn)
    found.append(message)


def form_of(content: str) -> tuple[Form, tuple[str, ...]]:
    """The form of a content, and its texts: ``" hi"`` is ``((" ", None), ("hi",))``.

    >>> form_of("<think>\\nWhy?\\n</think>\\n\\nSo.")
    (('<think>\\n', None, '\\n</think>\\n\\n', None), ('Why?', 'So.'))
    """
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
