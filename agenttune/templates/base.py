"""What a template gives the renderer: the conversation as pieces of text, each content piece whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from agenttune.values.sample import Turn

# Codes of the refusals of conversations that a template does not carry as they are.
REFUSALS = (
    *("content_dropped", "content_moved", "prompt_conflict", "no_stop", "template_refuses", "template_differs"),
    *("not_reproduced", "template_marker"),
)
PieceKind = Literal["header", "system", "user", "lead", "output", "stop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of text of one kind. `turn` is the index of the turn it belongs to; contents (system, user, output) never hold markers.

    A ``lead`` is what the model must emit before its output and what is no content (``<|channel|>final<|message|>``). `as_said` is
    False for an earlier output that the template writes otherwise than the model said it (without its reasoning). `markers` are the
    characters ``start:end`` of a native output that are special tokens; all others are read as plain text.
    """

    text: str
    kind: PieceKind
    turn: int
    as_said: bool = True
    markers: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """One rendering of a conversation: its first `turns` turns, of which those in `trained` stand as the model must say them."""

    turns: int
    trained: frozenset[int]


class TurnWriter(Protocol):
    """Turns to pieces. Joined, the pieces are the conversation's text. A conversation it cannot carry is a `Refusal`."""

    @property
    def adds_bos(self) -> bool:
        """Whether the tokenizer's BOS goes before the text; False where the text begins with its own."""

    def pieces(self, turns: Sequence[Turn]) -> list[Piece]:
        """All turns; a last turn with an empty output ends in the header after which the model speaks, any other in its stop."""

    def coverage(self, turns: Sequence[Turn]) -> tuple[Coverage, ...]:
        """The fewest renderings in which every output stands as the model said it behind the prompt it was said to, the longest last."""

    def dropped(self, turns: Sequence[Turn]) -> int:
        """Of how many earlier outputs the reasoning is left out where `turns` are written."""


class Template(TurnWriter, Protocol):
    """A template, by its name: how turns are written, where an output ends, and how a completion is read."""

    @property
    def name(self) -> str:
        """The name in configs and cards."""

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end an output."""

    @property
    def stop_ids(self) -> frozenset[int]:
        """The ids that end an output."""

    @property
    def observation_role(self) -> str:
        """The role under which a `system` field in the middle of a conversation, what a tool answered, is shown."""

    @property
    def lead(self) -> str:
        """What the model must write before the words of a plain output: ``<think>\\n\\n</think>\\n\\n``, or nothing."""

    def keeps_reasoning(self) -> str:
        """Of which earlier outputs the reasoning stays in the prompt: ``all``, ``since the last user turn``, or ``none``."""

    def read(self, text: str) -> str:
        """A completion's text as the output it is: without a lead, and with the ``<think>`` that the prompt had already opened."""
