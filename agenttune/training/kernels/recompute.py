"""Activation recomputation: what the backward pass computes a second time, so that the forward pass need not keep it.

It is finer than gradient checkpointing (Chen et al., arXiv 1604.06174): of a block only the output of a norm, and of a gated MLP the
outputs of gate and up, are recomputed. Of a block of SmolLM2's shape these are three fifths of what is kept; recomputing them costs two
matmuls a block. Below `RECOMPUTE_FROM` bytes their memory is not worth that. The numbers are the same to the bit: the same
operations on the same inputs.

**An attribute on a tensor.** A norm's output carries a `NormInputs` as the attribute ``norm_inputs``: `rms_norm` sets it
(`attach_norm_inputs`), and the functions that read that output, `lora_mlp` and `lora_qkv`, keep it for their backward pass in place of
the output (`norm_inputs_of`). It cannot be passed as an argument, because between the two lies transformers' own decoder layer, which
hands one tensor from module to module. It lives exactly as long as the tensor, and an operation in between makes a new tensor without
it, so that it can never be read for another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a memory estimate reads the rule below without torch
    from torch import Tensor

RECOMPUTE_FROM = 4 << 20  # bytes of a block's input; of a smaller one all is kept


@dataclass(frozen=True, slots=True, eq=False)
class NormInputs:
    """What a norm's output is recomputed from: its input ``rows [T, d]``, ``1 / rms`` as ``inverse [T, 1]``, its weight ``[d]``.

    `late`: the weight plus one multiplies before the output is rounded (Gemma), and not the weight after it (Llama).
    """

    rows: Tensor
    inverse: Tensor
    weight: Tensor
    late: bool

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """What autograd is to keep."""
        return self.rows, self.inverse, self.weight


def keeps_all(tokens: int, hidden: int, width: int) -> bool:
    """Whether a block's input of `tokens` rows of `hidden` numbers, `width` bytes each, is too small for recomputation to be worth it."""
    return tokens * hidden * width < RECOMPUTE_FROM


def attach_norm_inputs(output: Tensor, inputs: NormInputs) -> None:
    """Lets whoever reads a norm's output keep `inputs` in its place; of a small output nothing is attached, so that it is kept."""
    if not keeps_all(output.numel(), 1, output.element_size()):
        output.norm_inputs = inputs  # type: ignore[attr-defined]


def norm_inputs_of(x: Tensor) -> NormInputs | None:
    """What a function that reads `x` keeps in its place; None where x itself must be kept."""
    found: NormInputs | None = getattr(x, "norm_inputs", None)
    return found
