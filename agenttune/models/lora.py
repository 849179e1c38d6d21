"""LoRA layers of PEFT as their formula: what a plain one holds, and its forward pass where nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """A LoRA layer's weights: base ``[out, in]`` with its bias, A ``[r, in]``, B ``[out, r]``, and what B is multiplied by."""

    weight: Tensor
    bias: Tensor | None
    down: Tensor
    up: Tensor
    scale: float


def plain(module: Any) -> bool:
    """Whether a module is a LoRA layer that computes nothing but ``x W' + b + s (x A') B'`` over a frozen W."""
    from peft.tuners.lora.layer import Linear

    if type(module) is not Linear:
        return False
    base: Any = module.get_base_layer()
    adapters = list(module.lora_A)
    layer: Any = module
    return (
        type(base) is torch.nn.Linear
        and not base.weight.requires_grad
        and len(adapters) == 1
        and not layer.lora_variant
        and not layer.fan_in_fan_out
        and isinstance(layer.lora_dropout[adapters[0]], torch.nn.Identity)
        and layer.lora_A[adapters[0]].bias is None
        and layer.lora_B[adapters[0]].bias is None
    )


def parts_of(layer: Any) -> Parts:
    """The weights of a plain LoRA layer."""
    name = layer.active_adapters[0]
    base = layer.get_base_layer()
    return Parts(base.weight, base.bias, layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name])


def product(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``rows W' + b``."""
    return rows @ weight.t() if bias is None else torch.addmm(bias, rows, weight.t())


def scaled(up: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    """``s B`` in the dtype of the product; multiplied before it is rounded."""
    return (up * scale).to(dtype)


class FixedLora(torch.nn.Module):
    """A plain LoRA layer that is not trained any more, in the base's dtype.

    The same products as training's own forward pass; PEFT's keeps the adapter in float32 and casts on every call.
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.weight, self.bias = parts.weight, parts.bias
        self.down = parts.down.detach().to(parts.weight.dtype)
        self.up = scaled(parts.up.detach(), parts.scale, parts.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """``[…, in]`` to ``[…, out]``."""
        rows = x.reshape(-1, x.shape[-1])
        out = product(rows, self.weight, self.bias).addmm_(rows @ self.down.t(), self.up.t())
        return out.view(*x.shape[:-1], -1)


def fix_lora(model: torch.nn.Module) -> int:
    """Puts a `FixedLora` in the place of each plain LoRA layer of a PEFT model; returns how many."""
    found = [(parent, name, child) for parent in model.modules() for name, child in parent.named_children() if plain(child)]
    for parent, name, child in found:
        setattr(parent, name, FixedLora(parts_of(child)))
    return len(found)
