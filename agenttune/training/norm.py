"""RMS normalisation with a frozen weight as one function, over as many rows at a time as a processor's cache holds.

transformers' own is a chain of some ten operations over the whole sequence, each a way through memory, and in 16 bits autograd keeps
float32 copies of its input. This keeps the input and one number a row, from which the result can be made again (`again`).
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch

from agenttune.training.again import Normed, mark

Tensor = torch.Tensor
# Modules whose forward is ``weight * (x / rms(x))``, rounded before the weight; Gemma's is ``(1 + weight) * …``, rounded after it.
KNOWN = ("LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm", "GemmaRMSNorm")
NUMBERS = 1 << 17  # that pass through all steps together: half a megabyte of float32


def fuse_norms(model: torch.nn.Module, keep: bool = False) -> int:
    """Gives each norm of a known kind with a frozen weight the one function; returns how many.

    `keep`: who reads a result keeps it (under checkpointing, where all is made again in any case).
    """
    found = 0
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if type(module).__name__ in KNOWN and isinstance(weight, Tensor) and not weight.requires_grad:
            norm: Any = module
            norm._plain_forward, norm._keep = norm.forward, keep
            norm.forward = MethodType(_forward, norm)
            found += 1
    return found


def _forward(self: Any, x: Tensor) -> Tensor:
    if self.weight.requires_grad or torch.is_autocast_enabled(x.device.type):
        original: Tensor = self._plain_forward(x)
        return original
    late = type(self).__name__.startswith("Gemma")
    eps = self.eps if late else self.variance_epsilon
    out, inverse = _RMSNorm.apply(x, self.weight, eps, late)  # type: ignore[no-untyped-call]
    if not self._keep:
        mark(out, Normed(x.detach().reshape(-1, x.shape[-1]), inverse, self.weight.detach(), late))
    result: Tensor = out
    return result


def normed(rows: Tensor, inverse: Tensor, weight: Tensor, late: bool) -> Tensor:
    """A norm's result again, ``[T, d]``, of what `Normed` says."""
    out = torch.empty_like(rows)
    factor = _factor(weight, inverse.dtype, late)
    for part in _parts(rows):
        out[part] = _weighted(rows[part].to(inverse.dtype) * inverse[part], factor, weight, out.dtype, late)
    return out


class _RMSNorm(torch.autograd.Function):
    """``n w`` where ``n = x / sqrt(mean(x^2) + eps)``, and ``n / x``; with `late`, ``n (1 + w)`` before the rounding to x's dtype."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, late: bool) -> tuple[Tensor, Tensor]:
        rows = x.reshape(-1, x.shape[-1])
        out = torch.empty_like(rows)
        wide = torch.promote_types(x.dtype, torch.float32)
        inverse = torch.empty(len(rows), 1, dtype=wide, device=x.device)
        factor = _factor(weight, wide, late)
        for part in _parts(rows):
            some = rows[part].to(wide)
            torch.rsqrt((some * some).mean(-1, keepdim=True).add_(eps), out=inverse[part])
            out[part] = _weighted(some * inverse[part], factor, weight, x.dtype, late)
        ctx.save_for_backward(rows, inverse, weight)
        ctx.mark_non_differentiable(inverse)
        ctx.late = late
        return out.view(x.shape), inverse

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor, None, None, None]:
        rows, inverse, weight = ctx.saved_tensors
        flat = grad.reshape(rows.shape)
        out = torch.empty_like(rows)
        factor = _factor(weight, inverse.dtype, ctx.late)
        for part in _parts(rows):
            upstream = flat[part].to(inverse.dtype) * factor
            normed = rows[part].to(inverse.dtype) * inverse[part]
            along = (upstream * normed).mean(-1, keepdim=True)
            out[part] = upstream.addcmul_(normed, along, value=-1).mul_(inverse[part])
        return out.view(grad.shape), None, None, None


def _weighted(scaled: Tensor, factor: Tensor, weight: Tensor, dtype: torch.dtype, late: bool) -> Tensor:
    return scaled.mul_(factor).to(dtype) if late else scaled.to(dtype).mul_(weight)


def _factor(weight: Tensor, wide: torch.dtype, late: bool) -> Tensor:
    return weight.to(wide) + 1.0 if late else weight.to(wide)


def _parts(rows: Tensor) -> list[slice]:
    step = max(1, NUMBERS // rows.shape[1])
    return [slice(start, start + step) for start in range(0, len(rows), step)]
