"""A LoRA layer (Hu et al., arXiv 2106.09685), forward and backward as one function: PEFT owns weights and format, this only computes.

    y = x W' + b + s (x A') B'        dx = dy W + s (dy B) A        dA = s (dy B)' x        dB = s dy' (x A')

PEFT's own forward pass makes the low-rank part as a tensor of the full output, scales it and adds it: three passes over memory, and
as many in the backward pass. Here the low-rank matmul accumulates into the base's. Layers that read the same input read it once
(`lora_qkv`), and a gated MLP keeps only what it cannot recompute (`lora_mlp`). An input that a norm made is itself recomputed in the
backward pass, where it is large (`recompute`). A fused layer carries PEFT's forward as ``_peft_forward``, for calls this does not cover.
"""

from __future__ import annotations

from types import MethodType
from typing import TYPE_CHECKING, Any

import torch

from agenttune.models.lora import parts_of, plain, product, scaled

if TYPE_CHECKING:
    from peft.tuners.lora.layer import Linear as LoraLinear

Tensor = torch.Tensor


def fuse_lora(model: torch.nn.Module, keep: bool = False) -> int:
    """Gives each plain LoRA layer of a PEFT model the fused computation; returns how many.

    Layers with dropout, DoRA or another variant, a quantised base, or a trained base keep PEFT's own. `keep`: an MLP
    keeps the outputs of gate and up, however large they are.
    """
    from agenttune.training.kernels.lora_mlp import fuse_mlp
    from agenttune.training.kernels.lora_qkv import fuse_shared_input

    fused = 0
    for module in model.modules():
        if plain(module):
            layer: Any = module
            layer._peft_forward = layer.forward
            layer.forward = MethodType(_forward, layer)
            fused += 1
    for module in model.modules():
        if not fuse_mlp(module, keep):
            fuse_shared_input(module)
    return fused


def adapter_active(layer: LoraLinear, x: Tensor) -> bool:
    """Whether the layer's adapter is in force, unmerged, and computes in the dtypes of its weights (no autocast)."""
    return not (layer.disable_adapters or layer.merged or torch.is_autocast_enabled(x.device.type))


def b_gradient(grad: Tensor, low: Tensor, up: Tensor, scale: float) -> Tensor:
    """B's gradient ``[out, r]``, ``s dy' (x A')``, as the transpose of ``(x A')' dy``: with a narrow matrix on the left twice as fast."""
    return (low.t() @ grad).t().to(up.dtype).mul_(scale)


def _forward(self: LoraLinear, x: Tensor, *args: Any, **named: Any) -> Tensor:
    if args or named or not adapter_active(self, x):
        original: Tensor = self._peft_forward(x, *args, **named)
        return original
    one = parts_of(self)
    fused: Tensor = _LoraLinear.apply(x, one.weight, one.bias, one.down, one.up, one.scale)  # type: ignore[no-untyped-call]
    return fused


class _LoraLinear(torch.autograd.Function):
    """``x W' + s (x A') B'`` for a frozen W; the low-rank matmuls run in the base's dtype, their gradients end in the adapter's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        out = product(rows, weight, bias)
        low = rows @ down.t().to(rows.dtype)
        out.addmm_(low, scaled(up, scale, rows.dtype).t())
        ctx.save_for_backward(rows, low, weight, down, up)
        ctx.scale = scale
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, None, Tensor, Tensor, None]:
        rows, low, weight, down, up = ctx.saved_tensors
        flat = grad.reshape(-1, grad.shape[-1])
        low_grad = flat @ scaled(up, ctx.scale, flat.dtype)
        rows_grad = None
        if ctx.needs_input_grad[0]:
            rows_grad = flat @ weight
            rows_grad.addmm_(low_grad, down.to(flat.dtype))
            rows_grad = rows_grad.view(*grad.shape[:-1], -1)
        down_grad = (low_grad.t() @ rows).to(down.dtype)
        return rows_grad, None, None, down_grad, b_gradient(flat, low, up, ctx.scale), None
