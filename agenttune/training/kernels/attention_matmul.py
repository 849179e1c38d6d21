"""Tree attention whose backward pass is plain matmuls: a block of query rows against all its keys at once, only ``lse`` kept for each row.

The formulas are FlashAttention-2's (Dao, arXiv 2307.08691), with D = rowsum(dO * O):

    P = exp(s Q K' - lse)    dV = P' dO    dS = P * (dO V' - D)    dQ = s dS K    dK = s dS' Q

PyTorch's CPU kernel is fast forward in 16 bits, but not backward. Here all matmuls of the backward pass run in the query's dtype, at
the speed of any other; the query heads of one key head are stacked as rows, so that a matmul is as large as it can be. What is
subtracted from every column of a matmul (``lse`` from the scores, D from dO V') is two more columns of its factors, the number and what
rounding took of it: so it is subtracted before the result is rounded, and no pass over the scores is needed for it. Scores of one block
are in memory at a time: ``heads * rows * keys`` numbers.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from agenttune.models.device import speed_ratio
from agenttune.training.kernels.attention_cpu import attend, empty_rows_contiguous, has_flash
from agenttune.training.kernels.tree import QueryBlock, Tree

Tensor = torch.Tensor
GAIN = 1.3  # a 16-bit matmul must be this much faster than a float32 one, to be worth its rounding
ALIGN = 64  # keys: where rows of scores end on a cache line, matmuls are up to four times faster, and a few sizes serve all blocks
MORE = 16  # columns beside a head's: two for what is subtracted, and zeros up to a width at which matmuls are faster than at two more


@cache
def pays(dtype: torch.dtype) -> bool:
    """Whether this CPU is faster by matmuls in `dtype` than by the kernel in float32."""
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
        delta = (grad * out).sum(-1, dtype=lse.dtype)
        queries, keys = _minus(_grouped(query * ctx.scale, key), _grouped(lse, key)), _padded(key)
        grads, values = _minus(_grouped(grad, key), _grouped(delta, key)), _padded(value)
        grad_query = empty_rows_contiguous(query)
        into = _grouped(grad_query, key)
        grad_key, grad_value = (torch.zeros(*one.shape[:2], width, dtype=lse.dtype, device=one.device) for one in (keys, values))
        first, second = _scratch(query, ctx.tree), _scratch(query, ctx.tree)
        for block in ctx.tree.query_blocks:
            ranges = _aligned(block)
            rows, above, upstream = _rows(queries, block), _pick(keys, ranges), _rows(grads, block)
            probabilities = _mask_scores(_matmul(rows, above, first), block).exp_()
            _add(grad_value, ranges, torch.bmm(probabilities.transpose(1, 2), upstream[..., :width]))
            score_grad = _matmul(upstream, _pick(values, ranges), second).mul_(probabilities)
            _put(into, block, torch.bmm(score_grad, above[..., :width]))
            _add(grad_key, ranges, torch.bmm(score_grad.transpose(1, 2), rows[..., :width]))
        key_grad, value_grad = (one[None, :, :size].to(key.dtype) for one in (grad_key, grad_value))
        return grad_query.mul_(ctx.scale), key_grad, value_grad, None, None


def _minus(whole: Tensor, number: Tensor) -> Tensor:
    """``[Hkv, H / Hkv, T, D + MORE]``: rows whose matmul with `_padded` rows is that of `whole`, minus `number` ``[Hkv, H / Hkv, T]``."""
    width = whole.shape[3]
    found = whole.new_zeros(*whole.shape[:3], width + MORE)
    found[..., :width] = whole
    found[..., width] = -number
    found[..., width + 1] = -(number + found[..., width])
    return found


def _aligned(block: QueryBlock) -> tuple[tuple[int, int], ...]:
    """The block's ranges of keys, the last with keys behind its end, so that there are a multiple of `ALIGN` in all; they are masked."""
    start, end = block.keys[-1]
    return (*block.keys[:-1], (start, end + _beyond(block)))


def _beyond(block: QueryBlock) -> int:
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
    largest = max(((block.end - block.start) * sum(high - low for low, high in _aligned(block)) for block in tree.query_blocks), default=0)
    return query.new_empty(query.shape[1] * largest)


def _grouped(query: Tensor, key: Tensor) -> Tensor:
    """A view ``[Hkv, H / Hkv, T, D]``, or without D."""
    return query[0].view(key.shape[1], -1, *query.shape[2:])


def _rows(grouped: Tensor, block: QueryBlock) -> Tensor:
    """``[Hkv, H / Hkv * n, D]`` of a block's rows."""
    return grouped[:, :, block.start : block.end].flatten(1, 2)


def _pick(whole: Tensor, ranges: tuple[tuple[int, int], ...]) -> Tensor:
    if len(ranges) == 1:
        return whole[:, ranges[0][0] : ranges[0][1]]
    return torch.cat([whole[:, start:end] for start, end in ranges], dim=1)


def _matmul(rows: Tensor, keys: Tensor, scratch: Tensor) -> Tensor:
    """``rows keys'`` ``[Hkv, H / Hkv * n, m]``, in `scratch`."""
    shape = (rows.shape[0], rows.shape[1], keys.shape[1])
    return torch.bmm(rows, keys.transpose(1, 2), out=scratch[: shape[0] * shape[1] * shape[2]].view(shape))


def _mask_scores(scores: Tensor, block: QueryBlock) -> Tensor:
    """`scores` with minus infinity where a row does not attend to one of the block's own keys, and for those behind the block's end."""
    size = block.end - block.start
    masked = torch.nn.functional.pad(block.masked, (0, _beyond(block)), value=True).to(scores.device)
    bias = torch.zeros(masked.shape, dtype=scores.dtype, device=scores.device).masked_fill_(masked, float("-inf"))
    scores.view(scores.shape[0], -1, size, scores.shape[2])[..., -bias.shape[1] :].add_(bias)
    return scores


def _put(into: Tensor, block: QueryBlock, part: Tensor) -> None:
    into[:, :, block.start : block.end] = part.view(into.shape[0], into.shape[1], -1, part.shape[2])


def _add(whole: Tensor, ranges: tuple[tuple[int, int], ...], part: Tensor) -> None:
    at = 0
    for start, end in ranges:
        whole[:, start:end] += part[:, at : at + end - start]
        at += end - start
