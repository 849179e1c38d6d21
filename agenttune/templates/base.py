"""What a template gives the renderer: the conversation as pieces of text, each content piece whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from agenttune.values.sample import Turn

PieceKind = Literal["header", "system", "user", "output", "stop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of text of one kind. `turn` is the index of the turn it belongs to; contents (system, user, output) never hold markers."""

    text: str
    kind: PieceKind
    turn: int


class Template(Protocol):
    """Turns to pieces. Joined, the pieces are the conversation's text."""

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
    def prefix_stable(self) -> bool:
        """Whether turn n's prompt is always a prefix of turn n+1's."""

    def pieces(self, turns: Sequence[Turn]) -> list[Piece]:
        """All turns; a last turn with an empty output ends in the header after which the model speaks, any other in its stop."""
