"""A gated MLP with LoRA in its three layers as one function: ``down(act(gate(x)) * up(x))``.

The formulas are those of `lora_linear` and `gated_mlp`. Autograd would keep four tensors of the inner width. This keeps two, the outputs
of gate and up, and recomputes the activation in the backward pass, in memory that is there anyway; of a large input it recomputes
those two as well (`recompute`). A fused module carries its own forward as ``_plain_forward``, for calls this does not cover.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch

from agenttune.models.lora import parts_of, plain, product, scaled
from agenttune.training.kernels import gated_mlp
from agenttune.training.kernels.lora_linear import adapter_active, b_gradient
from agenttune.training.kernels.recompute import NormInputs, keeps_all, norm_inputs_of
from agenttune.training.kernels.rms_norm import recompute_norm

Tensor = torch.Tensor
NAMES = ("gate_proj", "up_proj", "down_proj")
# Modules whose forward is this formula and nothing else.
KNOWN = ("LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3MLP", "GemmaMLP")
ACTIVATIONS = {"SiLU": gated_mlp.SILU, "SiLUActivation": gated_mlp.SILU, "GELUTanh": gated_mlp.GELU, "PytorchGELUTanh": gated_mlp.GELU}


def fuse_mlp(module: torch.nn.Module, keep: bool = False) -> bool:
    """Gives an MLP of a known kind, whose three layers are plain LoRA layers, the one function. Returns whether it did.

    `keep`: of the inner width it recomputes the activation only.
    """
    layers = [getattr(module, name, None) for name in NAMES]
    kind = ACTIVATIONS.get(type(getattr(module, "act_fn", None)).__name__)
    if type(module).__name__ not in KNOWN or kind is None or not all(plain(one) for one in layers):
        return False
    mlp: Any = module
    mlp._activation, mlp._keep = kind, keep
    mlp._plain_forward = mlp.forward
    mlp.forward = MethodType(_forward, mlp)
    return True


def _forward(self: Any, x: Tensor) -> Tensor:
    layers = [getattr(self, name) for name in NAMES]
    if not all(plain(one) and adapter_active(one, x) for one in layers):
        original: Tensor = self._plain_forward(x)
        return original
    parts = [parts_of(one) for one in layers]
    flat = [tensor for one in parts for tensor in (one.weight, one.bias, one.down, one.up)]
    keep = self._keep or keeps_all(x.numel(), 1, x.element_size())
    scales = tuple(one.scale for one in parts)
    out: Tensor = _LoraMLP.apply(x, norm_inputs_of(x), keep, self._activation, scales, *flat)  # type: ignore[no-untyped-call]
    return out


class _LoraMLP(torch.autograd.Function):
    """What follows the scales is weight, bias, A and B of gate, up and down. `source` recomputes x; `keep` keeps gate and up."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, source: NormInputs | None, keep: bool, kind: str, scales: tuple[float, float, float], *flat: Tensor | None
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        (wg, bg, ag, ug), (wu, bu, au, uu), (wd, bd, ad, ud) = (flat[start : start + 4] for start in (0, 4, 8))
        assert wg is not None and wu is not None and wd is not None and ag is not None and au is not None and ad is not None
        assert ug is not None and uu is not None and ud is not None
        low = rows @ torch.cat([ag, au]).to(rows.dtype).t()
        gate, up = _inner(rows, low, (wg, bg, ug, scales[0]), (wu, bu, uu, scales[1]))
        inner = gated_mlp.forward(kind, gate, up)
        low_down = inner @ ad.to(rows.dtype).t()
        out = product(inner, wd, bd).addmm_(low_down, scaled(ud, scales[2], rows.dtype).t())
        kept = (*(source.tensors if source else (rows, None, None)), *((gate, up) if keep else (None, None)))
        ctx.save_for_backward(*kept, low, low_down, wg, bg, ag, ug, wu, bu, au, uu, wd, ad, ud)
        ctx.late, ctx.kind, ctx.scales = source is not None and source.late, kind, scales
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, inverse, norm, gate, up, low, low_down, wg, bg, ag, ug, wu, bu, au, uu, wd, ad, ud = ctx.saved_tensors
        rows = rows if inverse is None else recompute_norm(rows, inverse, norm, ctx.late)
        recomputed = gate is None
        if recomputed:
            gate, up = _inner(rows, low, (wg, bg, ug, ctx.scales[0]), (wu, bu, uu, ctx.scales[1]))
        flat = grad.reshape(-1, grad.shape[-1])
        dtype = flat.dtype
        low_down_grad = flat @ scaled(ud, ctx.scales[2], dtype)
        inner_grad = (flat @ wd).addmm_(low_down_grad, ad.to(dtype))
        inner, gate_grad, up_grad = gated_mlp.backward(ctx.kind, gate, up, inner_grad, overwrite=recomputed)
        ad_grad = (low_down_grad.t() @ inner).to(ad.dtype)
        del inner, gate, up
        ud_grad = b_gradient(flat, low_down, ud, ctx.scales[2])
        low_grad = torch.empty_like(low)
        torch.mm(gate_grad, scaled(ug, ctx.scales[0], dtype), out=low_grad[:, : len(ag)])
        torch.mm(up_grad, scaled(uu, ctx.scales[1], dtype), out=low_grad[:, len(ag) :])
        rows_grad = None
        if ctx.needs_input_grad[0]:
            rows_grad = (gate_grad @ wg).addmm_(up_grad, wu).addmm_(low_grad, torch.cat([ag, au]).to(dtype)).view(*grad.shape[:-1], -1)
        ag_grad, au_grad = torch.split((low_grad.t() @ rows).to(ag.dtype), [len(ag), len(au)])
        ug_grad = b_gradient(gate_grad, low[:, : len(ag)], ug, ctx.scales[0])
        uu_grad = b_gradient(up_grad, low[:, len(ag) :], uu, ctx.scales[1])
        gradients = (None, None, ag_grad, ug_grad, None, None, au_grad, uu_grad, None, None, ad_grad, ud_grad)
        return rows_grad, None, None, None, None, *gradients


def _inner(rows: Tensor, low: Tensor, *layers: tuple[Tensor, Tensor | None, Tensor, float]) -> list[Tensor]:
    """The outputs of gate and up; `layers` has weight, bias, B and scale of each, `low` their ``x A'``, side by side."""
    found, at = [], 0
    for weight, bias, up, scale in layers:
        rank = up.shape[1]
        found.append(product(rows, weight, bias).addmm_(low[:, at : at + rank], scaled(up, scale, rows.dtype).t()))
        at += rank
    return found
