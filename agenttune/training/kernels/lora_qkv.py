"""LoRA layers that read the same input (query, key and value) as one function: the input is read once for all their low-rank parts.

The formulas are those of `lora_linear`; ``dx`` is the sum over the layers.

**State between two calls.** transformers' attention calls ``q_proj(x)``, ``k_proj(x)`` and ``v_proj(x)`` one after the other and passes
nothing between them. The first call computes all outputs, and `_SharedInput` holds the others' until their own calls. An output is
handed out only when the call is given the very same tensor object, once; any other call, or order of calls, computes alone. What a
forward pass leaves behind (an exception between two calls) is replaced by the next first call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch

from agenttune.models.lora import parts_of, plain, product, scaled
from agenttune.training.kernels.lora_linear import adapter_active, b_gradient
from agenttune.training.kernels.recompute import NormInputs, norm_inputs_of
from agenttune.training.kernels.rms_norm import recompute_norm

if TYPE_CHECKING:
    from peft.tuners.lora.layer import Linear as LoraLinear

Tensor = torch.Tensor
GROUPS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))


def fuse_shared_input(module: torch.nn.Module) -> int:
    """Joins the plain LoRA layers of `module` that read one input; returns how many groups."""
    found = 0
    for names in GROUPS:
        layers = [getattr(module, name, None) for name in names]
        if all(plain(one) for one in layers):
            _SharedInput(layers)
            found += 1
    return found


class _SharedInput:
    """One group. From the first layer's call to the others', `given` is the input and `ready` the outputs not yet handed out."""

    def __init__(self, layers: list[LoraLinear]) -> None:
        self.layers = layers
        self.given: Tensor | None = None
        self.ready: dict[int, Tensor] = {}
        for place, layer in enumerate(layers):
            layer._alone = layer.forward
            layer.forward = MethodType(self._call(place), layer)

    def _call(self, place: int) -> Callable[..., Tensor]:
        def forward(layer: LoraLinear, x: Tensor, *args: Any, **named: Any) -> Tensor:
            if args or named or not all(adapter_active(one, x) for one in self.layers):
                alone: Tensor = layer._alone(x, *args, **named)
                return alone
            if place == 0:
                self.given, self.ready = x, dict(enumerate(self._all(x)))
            elif self.given is not x or place not in self.ready:
                other: Tensor = layer._alone(x)
                return other
            out = self.ready.pop(place)
            if not self.ready:
                self.given = None
            return out

        return forward

    def _all(self, x: Tensor) -> tuple[Tensor, ...]:
        parts = [parts_of(one) for one in self.layers]
        flat = [tensor for one in parts for tensor in (one.weight, one.bias, one.down, one.up)]
        outs: tuple[Tensor, ...] = _LoraSharedInput.apply(x, norm_inputs_of(x), tuple(one.scale for one in parts), *flat)  # type: ignore[no-untyped-call]
        return outs


class _LoraSharedInput(torch.autograd.Function):
    """Several ``x W' + s (x A') B'`` of one x, which `source` recomputes. After the scales: weight, bias, A and B of each, in turn."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, source: NormInputs | None, scales: tuple[float, ...], *flat: Tensor | None) -> tuple[Tensor, ...]:
        rows = x.reshape(-1, x.shape[-1])
        weights, biases, downs, ups = flat[::4], flat[1::4], flat[2::4], flat[3::4]
        lows = rows @ torch.cat([one for one in downs if one is not None]).to(rows.dtype).t()
        outs = []
        for low, weight, bias, up, scale in zip(_split(lows, downs), weights, biases, ups, scales, strict=True):
            assert weight is not None and up is not None
            out = product(rows, weight, bias)
            out.addmm_(low, scaled(up, scale, rows.dtype).t())
            outs.append(out.view(*x.shape[:-1], -1))
        ctx.save_for_backward(*(source.tensors if source else (rows, None, None)), lows, *weights, *downs, *ups)
        ctx.late, ctx.scales = source is not None and source.late, scales
        return tuple(outs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, inverse, norm, lows, *saved = ctx.saved_tensors
        rows = rows if inverse is None else recompute_norm(rows, inverse, norm, ctx.late)
        count = len(grads)
        weights, downs, ups = saved[:count], saved[count : 2 * count], saved[2 * count :]
        flats = [one.reshape(-1, one.shape[-1]) for one in grads]
        low_grads = torch.empty_like(lows)
        for into, flat, up, scale in zip(_split(low_grads, downs), flats, ups, ctx.scales, strict=True):
            torch.mm(flat, scaled(up, scale, flat.dtype), out=into)
        rows_grad = None
        if ctx.needs_input_grad[0]:
            rows_grad = low_grads @ torch.cat(downs).to(rows.dtype)
            for flat, weight in zip(flats, weights, strict=True):
                rows_grad.addmm_(flat, weight)
            rows_grad = rows_grad.view(*grads[0].shape[:-1], -1)
        down_grads = torch.split(low_grads.t() @ rows, [len(one) for one in downs])
        found: list[Tensor | None] = [rows_grad, None, None]
        for flat, low, up, scale, down, down_grad in zip(flats, _split(lows, downs), ups, ctx.scales, downs, down_grads, strict=True):
            found += [None, None, down_grad.to(down.dtype), b_gradient(flat, low, up, scale)]
        return tuple(found)


def _split(lows: Tensor, downs: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
    return torch.split(lows, [len(one) for one in downs if one is not None], dim=1)
