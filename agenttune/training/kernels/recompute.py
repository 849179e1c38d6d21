"""What the way back makes again, so that the way forward need not keep it: a norm's result, and of a gated MLP the products of gate and up.

Of a block of SmolLM2's shape they are three fifths of what is kept; to make them again costs two of a step's matrix products a block.
Where a pack is small its memory is not worth that. The numbers are the same to the bit: the same operations on the same inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a plan of memory reads the rule below without torch
    from torch import Tensor

SMALL = 4 << 20  # bytes of a block's input, below which all is kept


@dataclass(frozen=True, slots=True, eq=False)
class Normed:
    """What a norm's result is made of: its input ``rows [T, d]``, ``1 / rms`` as ``inverse [T, 1]``, its weight ``[d]``.

    `late`: the weight is added to one and laid on before the result is rounded (Gemma).
    """

    rows: Tensor
    inverse: Tensor
    weight: Tensor
    late: bool

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """What autograd is to keep."""
        return self.rows, self.inverse, self.weight


def small(tokens: int, hidden: int, width: int) -> bool:
    """Whether a block's input of so many tokens, numbers a token and bytes a number is kept with all that follows from it."""
    return tokens * hidden * width < SMALL


def mark(out: Tensor, made_of: Normed) -> None:
    """Notes on a norm's result what it was made of. The note goes when the result goes."""
    if not small(out.numel(), 1, out.element_size()):
        out.made_of = made_of  # type: ignore[attr-defined]


def made_of(x: Tensor) -> Normed | None:
    """What a function that reads `x` can keep in its place; None where x itself must be kept."""
    found: Normed | None = getattr(x, "made_of", None)
    return found
