"""Tree attention whose way back is plain matrix products: a block of rows against all its keys at once, nothing kept but a number a row.

PyTorch's CPU kernel is fast forward in 16 bits, but not backward. Here all products of the way back run in the query's dtype, at the
speed of any other matrix product; the query heads of one key head lie together as rows, so that a product is as large as it can be.
A number that is to be subtracted from every column of a product (the logarithm of a row's sum from its scores; ``sum(dO * O)`` from
dP) is two more columns of its factors, the number and what rounding took of it: so it is subtracted before the product is rounded,
and no pass over the scores is needed for it. Scores of one block are in memory at a time: ``heads * rows * keys`` numbers.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from agenttune.models.device import speed_ratio
from agenttune.training.kernels.attention_cpu import attend, has_flash, rows_together
from agenttune.training.kernels.tree import Rows, Tree

Tensor = torch.Tensor
GAIN = 1.3  # a 16-bit product must be this much faster than a float32 one, to be worth its rounding
ALIGN = 64  # keys: where lines of scores end on a cache line, products are up to four times faster, and a few sizes serve all blocks
MORE = 16  # columns beside a head's: two for what is subtracted, and zeros up to a width that products like better than two more


@cache
def pays(dtype: torch.dtype) -> bool:
    """Whether this CPU is faster by products in `dtype` than by the kernel in float32."""
    return dtype == torch.bfloat16 and has_flash() and speed_ratio() >= GAIN


def matmul_tree_attention(query: Tensor, key: Tensor, value: Tensor, tree: Tree, scale: float) -> Tensor:
    """``query [1, H, T, D]``, ``key`` and ``value [1, Hkv, T, D]`` (H a multiple of Hkv) to ``[1, H, T, D]``."""
    joined: Tensor = _MatmulAttention.apply(query, key, value, tree, scale)  # type: ignore[no-untyped-call]
    return joined


class _MatmulAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, tree: Tree, scale: float) -> Tensor:
        out, lse = attend(query, key, value, tree, scale)
        ctx.save_for_backward(query, key, value, out, lse)
        ctx.tree, ctx.scale = tree, scale
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, key, value, out, lse = ctx.saved_tensors
        size, width = query.shape[2:]
        along = (grad * out).sum(-1, dtype=lse.dtype)
        rows_less, above_less = _less(_grouped(query * ctx.scale, key), _grouped(lse, key)), _padded(key)
        grads_less, values_less = _less(_grouped(grad, key), _grouped(along, key)), _padded(value)
        grad_query = rows_together(query)
        into = _grouped(grad_query, key)
        grad_key, grad_value = (torch.zeros(*one.shape[:2], width, dtype=lse.dtype, device=one.device) for one in (above_less, values_less))
        first, second = _scratch(query, ctx.tree), _scratch(query, ctx.tree)
        for block in ctx.tree.rows:
            ranges = _reach(block)
            rows, above, own = _rows(rows_less, block), _pick(above_less, ranges), _rows(grads_less, block)
            share = _bar(_product(rows, above, first), block).exp_()
            _spread(grad_value, ranges, torch.bmm(share.transpose(1, 2), own[..., :width]))
            slope = _product(own, _pick(values_less, ranges), second).mul_(share)
            _put(into, block, torch.bmm(slope, above[..., :width]))
            _spread(grad_key, ranges, torch.bmm(slope.transpose(1, 2), rows[..., :width]))
        keys_back, values_back = (one[None, :, :size].to(key.dtype) for one in (grad_key, grad_value))
        return grad_query.mul_(ctx.scale), keys_back, values_back, None, None


def _less(whole: Tensor, number: Tensor) -> Tensor:
    """``[Hkv, H / Hkv, T, D + MORE]``: rows whose products with those of `_padded` are `whole`'s, less `number` (``[Hkv, H / Hkv, T]``)."""
    width = whole.shape[3]
    found = whole.new_zeros(*whole.shape[:3], width + MORE)
    found[..., :width] = whole
    found[..., width] = -number
    found[..., width + 1] = -(number + found[..., width])
    return found


def _reach(block: Rows) -> tuple[tuple[int, int], ...]:
    """The block's ranges of keys, the last with keys behind its end, so that there are a multiple of `ALIGN` in all; they are barred."""
    start, end = block.keys[-1]
    return (*block.keys[:-1], (start, end + _beyond(block)))


def _beyond(block: Rows) -> int:
    return -sum(high - low for low, high in block.keys) % ALIGN


def _padded(whole: Tensor) -> Tensor:
    """``[Hkv, T + ALIGN, D + MORE]`` with ones in two columns, and zeros behind the end, where the last blocks reach beyond it."""
    _, heads, size, width = whole.shape
    found = whole.new_zeros(heads, size + ALIGN, width + MORE)
    found[:, :size, :width] = whole[0]
    found[:, :size, width : width + 2] = 1
    return found


def _scratch(query: Tensor, tree: Tree) -> Tensor:
    """Memory for one block's scores: taken once, because fresh memory costs as much as the softmax."""
    largest = max(((block.end - block.start) * sum(high - low for low, high in _reach(block)) for block in tree.rows), default=0)
    return query.new_empty(query.shape[1] * largest)


def _grouped(query: Tensor, key: Tensor) -> Tensor:
    """A view ``[Hkv, H / Hkv, T, D]``, or without D."""
    return query[0].view(key.shape[1], -1, *query.shape[2:])


def _rows(grouped: Tensor, block: Rows) -> Tensor:
    """``[Hkv, H / Hkv * n, D]`` of a block's rows."""
    return grouped[:, :, block.start : block.end].flatten(1, 2)


def _pick(whole: Tensor, ranges: tuple[tuple[int, int], ...]) -> Tensor:
    if len(ranges) == 1:
        return whole[:, ranges[0][0] : ranges[0][1]]
    return torch.cat([whole[:, start:end] for start, end in ranges], dim=1)


def _product(rows: Tensor, keys: Tensor, scratch: Tensor) -> Tensor:
    """``rows keys'`` ``[Hkv, H / Hkv * n, m]``, in `scratch`."""
    shape = (rows.shape[0], rows.shape[1], keys.shape[1])
    return torch.bmm(rows, keys.transpose(1, 2), out=scratch[: shape[0] * shape[1] * shape[2]].view(shape))


def _bar(scores: Tensor, block: Rows) -> Tensor:
    """`scores` with minus infinity where a row does not see one of the block's own keys, and for those behind the block's end."""
    size = block.end - block.start
    hidden = torch.nn.functional.pad(block.hidden, (0, _beyond(block)), value=True).to(scores.device)
    bars = torch.zeros(hidden.shape, dtype=scores.dtype, device=scores.device).masked_fill_(hidden, float("-inf"))
    scores.view(scores.shape[0], -1, size, scores.shape[2])[..., -bars.shape[1] :].add_(bars)
    return scores


def _put(into: Tensor, block: Rows, part: Tensor) -> None:
    into[:, :, block.start : block.end] = part.view(into.shape[0], into.shape[1], -1, part.shape[2])


def _spread(whole: Tensor, ranges: tuple[tuple[int, int], ...], part: Tensor) -> None:
    at = 0
    for start, end in ranges:
        whole[:, start:end] += part[:, at : at + end - start]
        at += end - start
