"""RMS normalisation (Zhang and Sennrich, arXiv 1910.07467) with a frozen weight as one function.

    n = x / sqrt(mean(x^2) + eps)        y = n * w          (Llama; Gemma: y = n * (1 + w), rounded after the weight)
    dx = (g - n * mean(g * n)) / sqrt(mean(x^2) + eps)      with g = dy * w

It is a compiled pass (``rms_norm.c``), or PyTorch over as many rows at a time as a cache holds. transformers' own is a chain of some ten
operations over the whole sequence, each reading and writing memory, and in 16 bits autograd keeps float32 copies of its input. This
keeps the input and one number a row, from which the output can be recomputed (`recompute`).
"""

from __future__ import annotations

import ctypes
from types import MethodType
from typing import Any

import torch

from agenttune.training.kernels import compiled
from agenttune.training.kernels.recompute import NormInputs, attach_norm_inputs

Tensor = torch.Tensor
# Modules whose forward is ``weight * (x / rms(x))``, rounded before the weight; Gemma's is ``(1 + weight) * …``, rounded after it.
KNOWN = ("LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm", "GemmaRMSNorm")
NAME, STEP = "rms_norm", 16  # the compiled pass; a row is a multiple of so many numbers for it
NUMBERS = 1 << 17  # that pass through all operations together: half a megabyte of float32


def fuse_norms(model: torch.nn.Module, keep: bool = False) -> int:
    """Gives each norm of a known kind with a frozen weight the one function; returns how many.

    `keep`: whoever reads an output keeps it (under gradient checkpointing, where all is recomputed in any case).
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
        attach_norm_inputs(out, NormInputs(x.detach().reshape(-1, x.shape[-1]), inverse, self.weight.detach(), late))
    result: Tensor = out
    return result


def recompute_norm(rows: Tensor, inverse: Tensor, weight: Tensor, late: bool) -> Tensor:
    """A norm's output ``[T, d]`` from what `NormInputs` holds, the same to the bit."""
    rows = rows.contiguous()
    out = torch.empty_like(rows)
    if _fits(rows, weight):
        _compiled("norm_recompute", rows, weight, out, inverse, late=late)
        return out
    factor = _factor(weight, inverse.dtype, late)
    for part in _parts(rows):
        out[part] = _weighted(rows[part].to(inverse.dtype) * inverse[part], factor, weight, out.dtype, late)
    return out


class _RMSNorm(torch.autograd.Function):
    """``y`` and ``1 / sqrt(mean(x^2) + eps)``; with `late`, ``n (1 + w)`` before the rounding to x's dtype."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, late: bool) -> tuple[Tensor, Tensor]:
        rows = x.reshape(-1, x.shape[-1]).contiguous()
        out = torch.empty_like(rows)
        wide = torch.promote_types(x.dtype, torch.float32)
        inverse = torch.empty(len(rows), 1, dtype=wide, device=x.device)
        if _fits(rows, weight):
            _compiled("norm_forward", rows, weight, out, inverse, ctypes.c_float(eps), late=late)
        else:
            _by_parts(rows, weight, out, inverse, eps, late)
        ctx.save_for_backward(rows, inverse, weight)
        ctx.mark_non_differentiable(inverse)
        ctx.late = late
        return out.view(x.shape), inverse

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor | None) -> tuple[Tensor, None, None, None]:
        rows, inverse, weight = ctx.saved_tensors
        flat = grad.reshape(rows.shape).contiguous()
        out = torch.empty_like(rows)
        if _fits(rows, weight):
            _compiled("norm_backward", rows, weight, flat, out, inverse, late=ctx.late)
            return out.view(grad.shape), None, None, None
        factor = _factor(weight, inverse.dtype, ctx.late)
        for part in _parts(rows):
            upstream = flat[part].to(inverse.dtype) * factor
            unit = rows[part].to(inverse.dtype) * inverse[part]
            mean = (upstream * unit).mean(-1, keepdim=True)
            out[part] = upstream.addcmul_(unit, mean, value=-1).mul_(inverse[part])
        return out.view(grad.shape), None, None, None


def _fits(rows: Tensor, weight: Tensor) -> bool:
    """Whether the compiled pass takes these rows."""
    near = rows.device.type == "cpu" and rows.shape[1] % STEP == 0 and rows.dtype == weight.dtype
    return near and compiled.why_not(NAME, rows.dtype) is None


def _compiled(function: str, rows: Tensor, *others: Tensor | ctypes.c_float, late: bool) -> None:
    tensors = [one for one in others if isinstance(one, Tensor)]
    numbers = [one for one in others if not isinstance(one, Tensor)]
    sizes = (ctypes.c_int64(rows.shape[0]), ctypes.c_int64(rows.shape[1]))
    run = getattr(compiled.library(NAME, rows.dtype), function)
    run(*compiled.pointers(rows, *tensors), *sizes, *numbers, ctypes.c_int32(late), compiled.threads())


def _by_parts(rows: Tensor, weight: Tensor, out: Tensor, inverse: Tensor, eps: float, late: bool) -> None:
    """Fills `out` and `inverse`."""
    factor = _factor(weight, inverse.dtype, late)
    for part in _parts(rows):
        some = rows[part].to(inverse.dtype)
        torch.rsqrt((some * some).mean(-1, keepdim=True).add_(eps), out=inverse[part])
        out[part] = _weighted(some * inverse[part], factor, weight, out.dtype, late)


def _weighted(scaled: Tensor, factor: Tensor, weight: Tensor, dtype: torch.dtype, late: bool) -> Tensor:
    return scaled.mul_(factor).to(dtype) if late else scaled.to(dtype).mul_(weight)


def _factor(weight: Tensor, wide: torch.dtype, late: bool) -> Tensor:
    return weight.to(wide) + 1.0 if late else weight.to(wide)


def _parts(rows: Tensor) -> list[slice]:
    step = max(1, NUMBERS // rows.shape[1])
    return [slice(start, start + step) for start in range(0, len(rows), step)]
