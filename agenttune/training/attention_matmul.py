"""Tree attention by plain matrix products: a block of rows against all its keys at once, one softmax, nothing kept for the way back.

PyTorch's CPU kernel has no fast backward pass in 16 bits. Here all products run in the query's dtype, at the speed of any other
matrix product; the query heads of one key head lie together as rows, so that a product is as large as it can be. Scores of one
block are in memory at a time: ``heads * rows * keys`` numbers.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from agenttune.models.device import speed_ratio
from agenttune.training.tree import Rows, Tree

Tensor = torch.Tensor
GAIN = 1.3  # a 16-bit product must be this much faster than a float32 one, to be worth its rounding
ALIGN = 64  # keys: where lines of scores end on a cache line, products are up to four times faster, and a few sizes serve all blocks


@cache
def pays(dtype: torch.dtype) -> bool:
    """Whether this CPU is faster by products in `dtype` than by the kernel in float32."""
    return dtype == torch.bfloat16 and speed_ratio() >= GAIN


def matmul_tree_attention(query: Tensor, key: Tensor, value: Tensor, tree: Tree, scale: float) -> Tensor:
    """``query [1, H, T, D]``, ``key`` and ``value [1, Hkv, T, D]`` (H a multiple of Hkv) to ``[1, H, T, D]``."""
    joined: Tensor = _MatmulAttention.apply(query, key, value, tree, scale)  # type: ignore[no-untyped-call]
    return joined


class _MatmulAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, tree: Tree, scale: float) -> Tensor:
        ctx.save_for_backward(query, key, value)
        ctx.tree, ctx.scale = tree, scale
        grouped, keys, values = _grouped(query * scale, key), _padded(key), _padded(value)
        out = _rows_together(query)
        into = _grouped(out, key)
        scratch = _scratch(query, tree)
        for block in tree.rows:
            ranges = _reach(block)
            share = _softmax(_rows(grouped, block), _pick(keys, ranges), block, scratch)
            _put(into, block, torch.bmm(share, _pick(values, ranges)))
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, key, value = ctx.saved_tensors
        size = query.shape[2]
        grouped, keys, values = _grouped(query * ctx.scale, key), _padded(key), _padded(value)
        upstream = _grouped(grad, key)
        grad_query = _rows_together(query)
        into = _grouped(grad_query, key)
        wide = torch.promote_types(key.dtype, torch.float32)
        grad_key, grad_value = (torch.zeros(one.shape, dtype=wide, device=one.device) for one in (keys, values))
        first, second = _scratch(query, ctx.tree), _scratch(query, ctx.tree)
        for block in ctx.tree.rows:
            ranges = _reach(block)
            rows, above, own = _rows(grouped, block), _pick(keys, ranges), _rows(upstream, block)
            share = _softmax(rows, above, block, first)
            _spread(grad_value, ranges, torch.bmm(share.transpose(1, 2), own))
            slope = torch.bmm(own, _pick(values, ranges).transpose(1, 2), out=_part(second, share))
            torch.ops.aten._softmax_backward_data.out(slope, share, -1, share.dtype, grad_input=slope)
            _put(into, block, torch.bmm(slope, above))
            _spread(grad_key, ranges, torch.bmm(slope.transpose(1, 2), rows))
        keys_back, values_back = (one[None, :, :size].to(key.dtype) for one in (grad_key, grad_value))
        return grad_query.mul_(ctx.scale), keys_back, values_back, None, None


def _reach(block: Rows) -> tuple[tuple[int, int], ...]:
    """The block's ranges of keys, the last with keys behind its end, so that there are a multiple of `ALIGN` in all; they are barred."""
    start, end = block.keys[-1]
    return (*block.keys[:-1], (start, end + _beyond(block)))


def _beyond(block: Rows) -> int:
    return -sum(high - low for low, high in block.keys) % ALIGN


def _padded(whole: Tensor) -> Tensor:
    """``[Hkv, T + ALIGN, D]`` with zeros behind, where the last blocks reach beyond the end."""
    found = whole.new_empty(whole.shape[1], whole.shape[2] + ALIGN, whole.shape[3])
    found[:, : whole.shape[2]] = whole[0]
    found[:, whole.shape[2] :] = 0
    return found


def _scratch(query: Tensor, tree: Tree) -> Tensor:
    """Memory for one block's scores: taken once, because fresh memory costs as much as the softmax."""
    largest = max(((block.end - block.start) * sum(high - low for low, high in _reach(block)) for block in tree.rows), default=0)
    return query.new_empty(query.shape[1] * largest)


def _part(scratch: Tensor, like: Tensor) -> Tensor:
    return scratch[: like.numel()].view(like.shape)


def _rows_together(like: Tensor) -> Tensor:
    """Empty ``[1, H, T, D]`` whose rows lie together in memory, as the next layer reads them."""
    _, heads, size, width = like.shape
    return torch.empty(1, size, heads, width, dtype=like.dtype, device=like.device).transpose(1, 2)


def _grouped(query: Tensor, key: Tensor) -> Tensor:
    """A view ``[Hkv, H / Hkv, T, D]``."""
    return query[0].view(key.shape[1], -1, *query.shape[2:])


def _rows(grouped: Tensor, block: Rows) -> Tensor:
    """``[Hkv, H / Hkv * n, D]`` of a block's rows."""
    return grouped[:, :, block.start : block.end].flatten(1, 2)


def _pick(whole: Tensor, ranges: tuple[tuple[int, int], ...]) -> Tensor:
    if len(ranges) == 1:
        return whole[:, ranges[0][0] : ranges[0][1]]
    return torch.cat([whole[:, start:end] for start, end in ranges], dim=1)


def _softmax(rows: Tensor, keys: Tensor, block: Rows, scratch: Tensor) -> Tensor:
    """``[Hkv, H / Hkv * n, m]``: how much of each key a row takes; nothing of those behind the block's end."""
    shape = (rows.shape[0], rows.shape[1], keys.shape[1])
    scores = torch.bmm(rows, keys.transpose(1, 2), out=scratch[: shape[0] * shape[1] * shape[2]].view(shape))
    size = block.end - block.start
    hidden = torch.nn.functional.pad(block.hidden, (0, _beyond(block)), value=True).to(rows.device)
    bars = torch.zeros(hidden.shape, dtype=rows.dtype, device=rows.device).masked_fill_(hidden, float("-inf"))
    scores.view(shape[0], -1, size, shape[2])[..., -bars.shape[1] :].add_(bars)
    return torch.softmax(scores, dim=-1, out=scores)


def _put(into: Tensor, block: Rows, part: Tensor) -> None:
    into[:, :, block.start : block.end] = part.view(into.shape[0], into.shape[1], -1, part.shape[2])


def _spread(whole: Tensor, ranges: tuple[tuple[int, int], ...], part: Tensor) -> None:
    at = 0
    for start, end in ranges:
        whole[:, start:end] += part[:, at : at + end - start]
        at += end - start
