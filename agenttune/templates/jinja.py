"""The tokenizer's own chat template, cut into pieces by rendering it over placeholders.

Contents stand in the rendered text as private-use placeholders, so header text and content are told apart exactly and no
mask is ever found by searching. What the template does to contents (trims them, drops old reasoning, refuses a system turn
in the middle) is probed once, with placeholders too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agenttune.errors import UserError
from agenttune.templates.base import Piece, PieceKind
from agenttune.values.sample import Turn
from agenttune.values.tokens import Tokenizer

_SLOT = re.compile("\ue0f0([0-9]+)\ue0f1")
_THINK = re.compile(r"\A<think>.*?</think>\s*", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    role: str
    content: str
    kind: PieceKind
    turn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JinjaTemplate:
    """The probed template. `observation_role` carries a `system` field in the middle of a conversation.

    `lead` is what the template writes between the header that opens a generation and an output (a space, an empty reasoning
    block): the model must emit it, so it belongs to the output.
    """

    tokenizer: Tokenizer
    stop: str
    stop_ids: frozenset[int]
    observation_role: str
    system_role: bool
    trims: bool
    lead: str
    drops_reasoning: bool
    prefix_stable: bool
    name: str = "auto"

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop's text."""
        return (self.stop,)

    @classmethod
    def probe(cls, tokenizer: Tokenizer) -> JinjaTemplate:
        """Learns from a few renderings what the template does. Raises `UserError` where it cannot carry user and assistant turns."""
        stop = _stop(tokenizer)
        stop_id = tokenizer.special_id(stop)
        ends = {one for one in (stop_id, tokenizer.eos_id) if one is not None}
        role = next((one for one in ("system", "tool", "user") if _accepts(tokenizer, one)), "")
        if not role or stop_id is None:
            raise UserError(f"the chat template of {tokenizer.name} cannot carry a tool's answer as a turn; name one with template=…")
        return cls(
            tokenizer=tokenizer,
            stop=stop,
            stop_ids=frozenset(ends),
            observation_role=role,
            system_role=_renders(tokenizer, [("system", _slot(0)), ("user", _slot(1))]),
            trims=f" {_slot(0)} " not in _text(tokenizer, [("user", f" {_slot(0)} ")]),
            lead=_lead(tokenizer),
            drops_reasoning=_drops_reasoning(tokenizer),
            prefix_stable=_stable(tokenizer, stop, "user") and _stable(tokenizer, stop, role),
        )

    def pieces(self, turns: Sequence[Turn]) -> list[Piece]:
        """See `Template.pieces`."""
        messages = self._messages(turns)
        generate = not turns[-1].output
        slotted = [{"role": one.role, "content": _slot(index)} for index, one in enumerate(messages)]
        text = self.tokenizer.apply_template(slotted, generate=generate)
        return self._cut(text, messages, generate)

    def _messages(self, turns: Sequence[Turn]) -> list[_Message]:
        found: list[_Message] = []
        for index, turn in enumerate(turns):
            system = turn.system
            if system and (index > 0 or self.system_role):
                role = "system" if index == 0 else self.observation_role
                self._add(found, role, system, "system", index)
                system = ""
            user = f"{system}\n\n{turn.input}" if system and turn.input else system or turn.input
            if user:
                self._add(found, "user", user, "user", index)
            if turn.output:
                old = self.drops_reasoning and index < len(turns) - 1
                found.append(
                    _Message(role="assistant", content=_THINK.sub("", turn.output) if old else turn.output, kind="output", turn=index)
                )
        return found

    def _add(self, found: list[_Message], role: str, content: str, kind: PieceKind, turn: int) -> None:
        content = content.strip() if self.trims else content
        if found and role == "user" and found[-1].role == "user":  # these templates refuse two user turns in a row
            last = found.pop()
            found.append(_Message(role="user", content=f"{last.content}\n\n{content}", kind=last.kind, turn=turn))
        else:
            found.append(_Message(role=role, content=content, kind=kind, turn=turn))

    def _cut(self, text: str, messages: list[_Message], generate: bool) -> list[Piece]:
        found: list[Piece] = []
        after_output = False
        turn = 0
        for position, part in enumerate(_SLOT.split(text)):
            if position % 2:
                message = messages[int(part)]
                turn, after_output = message.turn, message.kind == "output"
                lead = self._take_lead(found) if after_output else ""
                found.append(Piece(text=lead + message.content, kind=message.kind, turn=turn))
            else:
                found += self._header(part, turn, after_output)
        if not generate:  # nothing after the last stop: no one reads it
            while found and found[-1].kind != "stop":
                found.pop()
        return [piece for piece in found if piece.text]

    def _take_lead(self, found: list[Piece]) -> str:
        """Takes the lead off the header before an output, where it stands there."""
        if not self.lead or not found or not found[-1].text.endswith(self.lead):
            return ""
        header = found.pop()
        found.append(Piece(text=header.text[: -len(self.lead)], kind=header.kind, turn=header.turn))
        return self.lead

    def _header(self, part: str, turn: int, after_output: bool) -> list[Piece]:
        if after_output and part.startswith(self.stop):
            return [Piece(text=self.stop, kind="stop", turn=turn), Piece(text=part[len(self.stop) :], kind="header", turn=turn)]
        return [Piece(text=part, kind="header", turn=turn)]


def _slot(index: int) -> str:
    return f"\ue0f0{index}\ue0f1"


def _text(tokenizer: Tokenizer, messages: Sequence[tuple[str, str]], generate: bool = False) -> str:
    rows: list[Mapping[str, str]] = [{"role": role, "content": content} for role, content in messages]
    return tokenizer.apply_template(rows, generate=generate)


def _stop(tokenizer: Tokenizer) -> str:
    """What follows an assistant's content: the longest special token that the text after it begins with."""
    after = _text(tokenizer, [("user", _slot(0)), ("assistant", _slot(1))]).partition(_slot(1))[2].lstrip(" ")
    candidates = [tokenizer.decode([one]) for one in tokenizer.special_ids]
    return max((text for text in candidates if text and after.startswith(text)), key=len, default="")


def _accepts(tokenizer: Tokenizer, role: str) -> bool:
    return _renders(tokenizer, [("user", _slot(0)), ("assistant", _slot(1)), (role, _slot(2)), ("assistant", _slot(3))])


def _renders(tokenizer: Tokenizer, messages: Sequence[tuple[str, str]]) -> bool:
    """Whether the template takes these roles and shows every content once, in this order (some draw all system turns to the front)."""
    try:
        text = _text(tokenizer, messages)
    except ValueError:
        return False
    return [f"\ue0f0{found}\ue0f1" for found in _SLOT.findall(text)] == [content for _, content in messages]


def _lead(tokenizer: Tokenizer) -> str:
    prompt = _text(tokenizer, [("user", _slot(0))], generate=True)
    whole = _text(tokenizer, [("user", _slot(0)), ("assistant", _slot(1))])
    return whole[len(prompt) : whole.index(_slot(1))] if whole.startswith(prompt) else ""


def _drops_reasoning(tokenizer: Tokenizer) -> bool:
    old = f"<think>\n{_slot(1)}\n</think>\n\n{_slot(2)}"
    text = _text(tokenizer, [("user", _slot(0)), ("assistant", old), ("user", _slot(3)), ("assistant", _slot(4))])
    return _slot(1) not in text


def _stable(tokenizer: Tokenizer, stop: str, role: str) -> bool:
    """Whether what stands before and in an output stays as it is when a turn of `role` and another output follow."""
    head = [("user", _slot(0))]
    prompt = _text(tokenizer, head, generate=True)
    spoken = [*head, ("assistant", _slot(1))]
    asked = _text(tokenizer, [*spoken, (role, _slot(2))], generate=True)
    later = _text(tokenizer, [*spoken, (role, _slot(2)), ("assistant", _slot(3))])
    whole = _text(tokenizer, spoken)
    wanted = f"{prompt}{_lead(tokenizer)}{_slot(1)}{stop}"
    return all(text.startswith(wanted) for text in (asked, whole, later))
