"""The tokenizer's own chat template: exactly what `apply_chat_template` writes, cut into pieces.

For each conversation the truth is the template's text of its real messages. What stands where in it is known from its shape
(`skeleton`), which is learned once; the text that comes of the skeleton is compared with the truth, character for character (`exact`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agenttune.errors import Refusal, UserError
from agenttune.templates.base import Coverage, Piece
from agenttune.templates.exact import ExactWriter
from agenttune.templates.messages import Roles, Row, TemplateMessage, messages_of, shape_of
from agenttune.templates.skeleton import Learner, Skeleton, Write
from agenttune.values.sample import Turn
from agenttune.values.tokens import Tokenizer
from agenttune.values.trajectory import Json

if TYPE_CHECKING:
    from agenttune.templates.native_template import NativeTemplate

_ASK = TemplateMessage(role="user", content="Q", kind="user", turn=0)
_SAY = TemplateMessage(role="assistant", content="A", kind="output", turn=0)
_RECENT = 512
_PLAIN, _REASONED = "A", "<think>\nR\n</think>\n\nA"


@dataclass(frozen=True, slots=True, kw_only=True)
class JinjaTemplate:
    """The template of a tokenizer. `stop` ends an output; `roles` are those under which it shows every content in its place.

    `options` are what else it is given. `_recent` keeps the pieces of the last conversations, because a corpus looks at each twice.
    """

    tokenizer: Tokenizer
    stop: str
    stop_ids: frozenset[int]
    roles: Roles
    writer: ExactWriter
    options: Mapping[str, Json] = field(default_factory=dict)
    natives: dict[str, NativeTemplate | None] = field(default_factory=dict)
    _recent: dict[tuple[Turn, ...], list[Piece]] = field(default_factory=dict)
    name: str = "auto"
    adds_bos: bool = False

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop's text."""
        return (self.stop,)

    @property
    def observation_role(self) -> str:
        """See `Template.observation_role`."""
        return self.roles.observation

    @classmethod
    def of(cls, tokenizer: Tokenizer, options: Mapping[str, Json], observation_role: str | None = None) -> JinjaTemplate:
        """Learns the stop and the roles, under these template options. `observation_role`: that of a card, "" for one that has none.

        Raises `UserError` where the template cannot carry a conversation with a tool's answer.
        """

        def write(messages: Sequence[Mapping[str, Json]], generate: bool) -> str:
            return tokenizer.apply_template(messages, generate=generate, options=options)

        special = [text for text in (tokenizer.decode([one]) for one in tokenizer.special_ids) if text]
        stop = _stop(write, special)
        stop_id = tokenizer.special_id(stop)
        learner = Learner(write, special, (stop,))
        roles = _roles(learner, observation_role)
        if roles is None or stop_id is None:
            why = _why(learner) if stop else "it ends an output with no special token"
            raise UserError(
                f"the chat template of {tokenizer.name} cannot carry a tool's answer as a turn ({why}); name one with template=…"
            )
        ends = {one for one in (stop_id, tokenizer.eos_id) if one is not None}
        return cls(
            tokenizer=tokenizer, stop=stop, stop_ids=frozenset(ends), roles=roles, writer=ExactWriter(learner), options=dict(options)
        )

    def pieces(self, turns: Sequence[Turn]) -> list[Piece]:
        """See `Template.pieces`. Raises `Refusal`; its code says what the template does to the conversation."""
        key = tuple(turns)
        if key not in self._recent:
            if len(self._recent) >= _RECENT:
                self._recent.clear()
            self._recent[key] = self.writer.pieces(messages_of(turns, self.roles), not turns[-1].output)
        return self._recent[key]

    def coverage(self, turns: Sequence[Turn]) -> tuple[Coverage, ...]:
        """See `Template.coverage`."""
        left = [index for index, turn in enumerate(turns) if turn.output]
        found: list[Coverage] = []
        while left:
            end = left[-1] + 1
            said = self._skeleton(turns[:end]).said
            found.insert(0, Coverage(turns=end, trained=frozenset(said.intersection(left))))
            left = [index for index in left if index not in said]
        return tuple(found)

    def dropped(self, turns: Sequence[Turn]) -> int:
        """See `Template.dropped`."""
        return self._skeleton(turns).dropped

    def keeps_reasoning(self) -> str:
        """Of which earlier outputs the reasoning stays in the prompt: ``all``, ``since the last user turn``, or ``none``."""
        step = Turn(system="S", output=_REASONED)
        chain = (Turn(input="Q", output=_REASONED), step, Turn(system="S"))
        try:
            if self.dropped((*chain[:-1], Turn(input="Q"))) == 0:
                return "all"
            return "since the last user turn" if self.dropped(chain) == 0 else "none"
        except Refusal:
            return "none"

    @property
    def lead(self) -> str:
        """What the model must write before the words of a plain output: ``<think>\\n\\n</think>\\n\\n``, or nothing."""
        return self._spoken(_PLAIN).removesuffix(_PLAIN)

    def read(self, text: str) -> str:
        """See `Template.read`."""
        lead, reasoned = self.lead, self._spoken(_REASONED)
        opened = _REASONED.removesuffix(reasoned) if reasoned and _REASONED.endswith(reasoned) else ""
        if opened and "</think>" in text and not text.startswith(opened):
            return opened + text
        return text.removeprefix(lead) if lead else text

    def _spoken(self, output: str) -> str:
        """What the model must write of an output after a first question; empty where the template cannot hold it."""
        try:
            pieces = self.pieces((Turn(input="Q", output=output),))
        except Refusal:
            return ""
        return "".join(piece.text for piece in pieces if piece.kind in ("lead", "output"))

    def _skeleton(self, turns: Sequence[Turn]) -> Skeleton:
        return self.writer.skeleton(messages_of(turns, self.roles), not turns[-1].output)


def _stop(write: Write, special: Sequence[str]) -> str:
    """What follows an assistant's content: the longest special token that the text after it begins with."""
    try:
        text = write([{"role": "user", "content": "Q"}, {"role": "assistant", "content": "\ue0f1"}], False)
    except ValueError:
        return ""
    after = text.partition("\ue0f1")[2].lstrip(" ")
    return max((one for one in special if after.startswith(one)), key=len, default="")


def _roles(learner: Learner, known: str | None) -> Roles | None:
    """The role of a tool's answer: the one that the template itself gives to tool results, else the user's, else the system's.

    A template that prints whatever role it is given knows none for tools: there a system field stays a system turn. The role that an
    adapter was trained with (`known`) goes first.
    """
    order: tuple[str, ...] = (
        ("system", "tool", "user") if known == "" or (known is None and _echoes(learner)) else ("tool", "user", "system")
    )
    order = (known, *order) if known else order
    observation = next((role for role in order if _carries(learner, role)), None)
    if observation is None:
        return None
    opening = TemplateMessage(role="system", content="S", kind="system", turn=0)
    return Roles(observation=observation, system=_holds(learner, [opening, _ASK, _SAY, *_answered(observation)]))


def _why(learner: Learner) -> str:
    """What hinders the simplest conversation; where nothing does, it is the observation."""
    try:
        learner.skeleton(shape_of([_ASK, _SAY]), False)
    except Refusal as refusal:
        return refusal.sentence
    return "it shows it nowhere in its place"


def _answered(role: str) -> list[TemplateMessage]:
    """An observation and an output, then a user's turn and an output."""
    seen = TemplateMessage(role=role, content="O", kind="system", turn=1)
    return [seen, _said(1), TemplateMessage(role="user", content="Q", kind="user", turn=2), _said(2)]


def _said(turn: int) -> TemplateMessage:
    return TemplateMessage(role="assistant", content=_PLAIN, kind="output", turn=turn)


def _holds(learner: Learner, messages: Sequence[TemplateMessage]) -> bool:
    """Whether every prompt and every answered conversation on the way shows all contents in their places."""
    try:
        for index, message in enumerate(messages):
            if message.kind == "output":
                learner.skeleton(shape_of(messages[:index]), True)
                learner.skeleton(shape_of(messages[: index + 1]), False)
    except Refusal:
        return False
    return True


def _carries(learner: Learner, role: str) -> bool:
    """Whether tools' answers can stand under this role, and the template itself writes all that must come between one and the output."""
    messages = [_ASK, _SAY, *_answered(role)]
    if not _holds(learner, messages):
        return False
    first, then = (learner.skeleton(shape_of(messages[:count]), False).segments for count in (2, 4))
    return [one.parts for one in first if one.kind == "lead"] == [one.parts for one in then if one.kind == "lead" and one.turn == 1]


def _echoes(learner: Learner) -> bool:
    """Whether the template prints whatever role it is given."""

    def shown(role: str) -> str:
        row = Row(role=role, kind="system", turn=1, form=(None,))
        return learner.slotted((*shape_of([_ASK, _SAY]), row), True)

    try:
        return shown("stranger").replace("stranger", "tool") == shown("tool")
    except Refusal:
        return False
