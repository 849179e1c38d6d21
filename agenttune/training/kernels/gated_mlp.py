"""The elementwise part of a gated MLP (Shazeer, arXiv 2002.05202), ``h = act(gate) * up``, forward and backward.

    dgate = dh * up * act'(gate)        dup = dh * act(gate)

SiLU in bfloat16 or float32 is one compiled pass over memory (``gated_mlp.c``) where `compiled` can run; else PyTorch's functions, one
after the other.
"""

from __future__ import annotations

import torch

from agenttune.training.kernels import compiled

Tensor = torch.Tensor
SILU, GELU = "silu", "gelu"  # the latter by its tanh approximation (arXiv 1606.08415)


def forward(kind: str, gate: Tensor, up: Tensor) -> Tensor:
    """``act(gate) * up`` of two tensors ``[T, f]`` that lie close together."""
    if not _fits(kind, gate):
        return _act(kind, gate).mul_(up)
    inner = torch.empty_like(gate)
    compiled.call_elementwise("gated_mlp", "gated_forward", gate, up, inner)
    return inner


def backward(kind: str, gate: Tensor, up: Tensor, grad: Tensor, *, overwrite: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """``act(gate) * up`` recomputed, gate's gradient and up's. `grad` is the gradient of the first; its memory is overwritten.

    `overwrite`: that of `gate` and `up` may be, too.
    """
    if not _fits(kind, gate):
        active = _act(kind, gate)
        inner = active * up
        up_grad = active.mul_(grad)
        return inner, _act_backward(kind, grad.mul_(up), gate), up_grad
    inner, gate_grad = (up, gate) if overwrite else (torch.empty_like(up), torch.empty_like(gate))
    compiled.call_elementwise("gated_mlp", "gated_backward", gate, up, grad, inner, gate_grad)
    return inner, gate_grad, grad


def _fits(kind: str, gate: Tensor) -> bool:
    return kind == SILU and gate.device.type == "cpu" and compiled.why_not("gated_mlp", gate.dtype) is None


def _act(kind: str, gate: Tensor) -> Tensor:
    return torch.nn.functional.silu(gate) if kind == SILU else torch.nn.functional.gelu(gate, approximate="tanh")


def _act_backward(kind: str, grad: Tensor, gate: Tensor) -> Tensor:
    aten = torch.ops.aten
    out: Tensor = aten.silu_backward(grad, gate) if kind == SILU else aten.gelu_backward(grad, gate, approximate="tanh")
    return out
