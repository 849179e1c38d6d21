"""A LoRA layer's forward and backward as one function: PEFT owns the weights and the format, this only computes.

PEFT's own forward makes the low-rank part as a tensor of the full output, scales it and adds it: three passes over memory, and
as many backward. Here the base's matrix product is made and the low-rank one accumulates into it. Layers that read the same
input read it once (`lora_together`), and a gated MLP keeps what it cannot make again and no more (`lora_mlp`). An input that a
norm made is itself made again on the way back, where it is large (`again`).
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch

from agenttune.models.lora import parts_of, plain, product, scaled

Tensor = torch.Tensor


def fuse_lora(model: torch.nn.Module, keep: bool = False) -> int:
    """Gives each plain LoRA layer of a PEFT model the fused computation; returns how many.

    Layers with dropout, DoRA or another variant, a quantised base, or a trained base keep PEFT's own. `keep`: an MLP
    keeps the products of gate and up, however large they are.
    """
    from agenttune.training.kernels.lora_mlp import fuse_mlp
    from agenttune.training.kernels.lora_qkv import fuse_together

    fused = 0
    for module in model.modules():
        if plain(module):
            layer: Any = module
            layer._peft_forward = layer.forward
            layer.forward = MethodType(_forward, layer)
            fused += 1
    for module in model.modules():
        if not fuse_mlp(module, keep):
            fuse_together(module)
    return fused


def usable(layer: Any, x: Tensor) -> bool:
    """Whether the layer's adapter takes part as it stands, now, and in the dtypes that its weights say."""
    return not (layer.disable_adapters or layer.merged or torch.is_autocast_enabled(x.device.type))


def up_gradient(grad: Tensor, low: Tensor, up: Tensor, scale: float) -> Tensor:
    """B's gradient ``[out, r]``. The product is made the other way round, which a narrow matrix makes twice as fast."""
    return (low.t() @ grad).t().to(up.dtype).mul_(scale)


def _forward(self: Any, x: Tensor, *args: Any, **named: Any) -> Tensor:
    if args or named or not usable(self, x):
        original: Tensor = self._peft_forward(x, *args, **named)
        return original
    one = parts_of(self)
    fused: Tensor = _LoraLinear.apply(x, one.weight, one.bias, one.down, one.up, one.scale)  # type: ignore[no-untyped-call]
    return fused


class _LoraLinear(torch.autograd.Function):
    """``x W' + s (x A') B'`` for a frozen W; the low-rank products run in the base's dtype, their gradients land in the adapter's."""

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
        return rows_grad, None, None, down_grad, up_gradient(flat, low, up, ctx.scale), None
