"""A LoRA layer's forward and backward as one function: PEFT owns the weights and the format, this only computes.

PEFT's own forward makes the low-rank part as a tensor of the full output, scales it and adds it: three passes over memory, and
as many backward. Here the base's matrix product is made and the low-rank one accumulates into it.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch

Tensor = torch.Tensor


def fuse_lora(model: torch.nn.Module) -> int:
    """Gives each plain LoRA layer of a PEFT model the fused computation; returns how many.

    Layers with dropout, DoRA or another variant, a quantised base, or a trained base keep PEFT's own.
    """
    from peft.tuners.lora.layer import Linear

    fused = 0
    for module in model.modules():
        if type(module) is Linear and _plain(module):
            layer: Any = module
            layer._peft_forward = layer.forward
            layer.forward = MethodType(_forward, layer)
            fused += 1
    return fused


def _plain(module: Any) -> bool:
    base = module.get_base_layer()
    adapters = list(module.lora_A)
    return (
        type(base) is torch.nn.Linear
        and not base.weight.requires_grad
        and len(adapters) == 1
        and not module.lora_variant
        and not module.fan_in_fan_out
        and isinstance(module.lora_dropout[adapters[0]], torch.nn.Identity)
        and module.lora_A[adapters[0]].bias is None
        and module.lora_B[adapters[0]].bias is None
    )


def _forward(self: Any, x: Tensor, *args: Any, **named: Any) -> Tensor:
    if args or named or self.disable_adapters or self.merged or torch.is_autocast_enabled(x.device.type):
        original: Tensor = self._peft_forward(x, *args, **named)
        return original
    name = self.active_adapters[0]
    base = self.get_base_layer()
    down, up = self.lora_A[name].weight, self.lora_B[name].weight
    fused: Tensor = _LoraLinear.apply(x, base.weight, base.bias, down, up, self.scaling[name])  # type: ignore[no-untyped-call]
    return fused


class _LoraLinear(torch.autograd.Function):
    """``x W' + s (x A') B'`` for a frozen W; the low-rank products run in the base's dtype, their gradients land in the adapter's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        out = rows @ weight.t() if bias is None else torch.addmm(bias, rows, weight.t())
        low = rows @ down.t().to(rows.dtype)
        out.addmm_(low, up.t().to(rows.dtype), alpha=scale)
        ctx.save_for_backward(rows, low, weight, down, up)
        ctx.scale = scale
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, None, Tensor, Tensor, None]:
        rows, low, weight, down, up = ctx.saved_tensors
        flat = grad.reshape(-1, grad.shape[-1])
        low_grad = flat @ up.to(flat.dtype)
        rows_grad = None
        if ctx.needs_input_grad[0]:
            rows_grad = flat @ weight
            rows_grad.addmm_(low_grad, down.to(flat.dtype), alpha=ctx.scale)
            rows_grad = rows_grad.view(*grad.shape[:-1], -1)
        down_grad = (low_grad.t() @ rows).to(down.dtype).mul_(ctx.scale)
        up_grad = (flat.t() @ low).to(up.dtype).mul_(ctx.scale)
        return rows_grad, None, None, down_grad, up_grad, None
