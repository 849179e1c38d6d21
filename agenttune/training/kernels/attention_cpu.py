"""Tree attention on CPU: PyTorch's flash attention kernel (Dao et al., arXiv 2205.14135) block by block, merged by log-sum-exp.

    lse = log(exp(lse_1) + exp(lse_2))        out = exp(lse_1 - lse) out_1 + exp(lse_2 - lse) out_2

merges a row's attention over two sets of keys, and the kernel's backward pass is exact for one set when it is given the merged ``out``
and ``lse`` (as in ring attention, arXiv 2310.01889). So keys of ancestors are never copied for each child, and no mask larger than a
small block's is made.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch

from agenttune.training.kernels.tree import Tree

Tensor = torch.Tensor
_FORWARD = "_scaled_dot_product_flash_attention_for_cpu"
_BACKWARD = "_scaled_dot_product_flash_attention_for_cpu_backward"


def has_flash() -> bool:
    """Whether this PyTorch has the kernel with its ``lse`` and its backward pass."""
    return hasattr(torch.ops.aten, _FORWARD) and hasattr(torch.ops.aten, _BACKWARD)


def flash_tree_attention(query: Tensor, key: Tensor, value: Tensor, tree: Tree, scale: float) -> Tensor:
    """``query [1, H, T, D]``, ``key`` and ``value [1, Hkv, T, D]`` (H a multiple of Hkv) to ``[1, H, T, D]``."""
    joined: Tensor = _TreeAttention.apply(query, key, value, tree, scale)  # type: ignore[no-untyped-call]
    return joined


class _TreeAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, tree: Tree, scale: float) -> Tensor:
        given = query, key, value
        kind = working_dtype(query.dtype)
        query, key, value = (one.to(kind) for one in given)
        out, lse = attend(query, key, value, tree, scale)
        out = out.to(given[0].dtype)
        ctx.save_for_backward(*given, out, lse)
        ctx.tree, ctx.scale = tree, scale
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        *given, lse = ctx.saved_tensors
        asked = given[0].dtype
        grad, query, key, value, out = (one.to(working_dtype(asked)) for one in (grad, *given))
        gradients = torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
        for start, end, causal, mask in _diagonal(ctx.tree, query.dtype):
            rows = slice(start, end)
            parts = _kernel_backward(grad, query, out, lse, rows, key[:, :, rows], value[:, :, rows], causal, mask, ctx.scale)
            for whole, part in zip(gradients, parts, strict=True):
                whole[:, :, rows] = part
        for block in ctx.tree.prefix_blocks:
            rows = slice(block.start, block.end)
            keys, values = _pick(key, block.keys), _pick(value, block.keys)
            parts = _kernel_backward(grad, query, out, lse, rows, keys, values, False, None, ctx.scale)
            gradients[0][:, :, rows] += parts[0]
            for whole, part in zip(gradients[1:], parts[1:], strict=True):
                _add(whole, part, block.keys)
        return gradients[0].to(asked), gradients[1].to(asked), gradients[2].to(asked), None, None


def attend(query: Tensor, key: Tensor, value: Tensor, tree: Tree, scale: float) -> tuple[Tensor, Tensor]:
    """The forward pass alone, in the dtype of what is given: ``[1, H, T, D]``, and each row's log-sum-exp ``[1, H, T]``."""
    out, lse = _diagonal_blocks(query, key, value, tree, scale)
    for block in tree.prefix_blocks:
        rows = slice(block.start, block.end)
        part, part_lse = _kernel(query[:, :, rows], _pick(key, block.keys), _pick(value, block.keys), False, None, scale)
        _merge(out[:, :, rows], lse[:, :, rows], part, part_lse)
    return out, lse


def empty_rows_contiguous(like: Tensor) -> Tensor:
    """Empty ``[1, H, T, D]`` laid out in memory as ``[1, T, H, D]``, which the next layer reads."""
    _, heads, size, width = like.shape
    return torch.empty(1, size, heads, width, dtype=like.dtype, device=like.device).transpose(1, 2)


def working_dtype(asked: torch.dtype) -> torch.dtype:
    """The dtype the kernel runs in: float32 in place of a 16-bit one that is slower on this CPU, where its backward pass often is."""
    return torch.float32 if asked in (torch.bfloat16, torch.float16) and not _half_pays(asked) else asked


@cache
def _half_pays(dtype: torch.dtype) -> bool:
    """Whether the kernel forward and backward is faster in `dtype` than in float32: measured once a process, in a few milliseconds."""
    return _seconds(dtype) < _seconds(torch.float32)


def _seconds(dtype: torch.dtype) -> float:
    """The best of three passes over a block of a usual size."""
    rows = torch.ones(1, 4, 192, 64, dtype=dtype)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        out, lse = _kernel(rows, rows, rows, False, None, 0.125)
        _kernel_backward(rows, rows, out, lse, slice(0, 192), rows, rows, False, None, 0.125)
        best = min(best, time.perf_counter() - start)
    return best


def _diagonal(tree: Tree, dtype: torch.dtype) -> Iterator[tuple[int, int, bool, Tensor | None]]:
    for block in tree.diagonal_blocks:
        mask = None
        if block.mask is not None:  # the kernel wants the query's dtype
            mask = torch.zeros(block.mask.shape, dtype=dtype).masked_fill_(~block.mask, float("-inf"))[None, None]
        yield block.start, block.end, block.mask is None, mask


def _diagonal_blocks(query: Tensor, key: Tensor, value: Tensor, tree: Tree, scale: float) -> tuple[Tensor, Tensor]:
    heads, size = query.shape[1:3]
    out = empty_rows_contiguous(query)
    lse = torch.empty(1, heads, size, dtype=torch.promote_types(query.dtype, torch.float32))
    for start, end, causal, mask in _diagonal(tree, query.dtype):
        rows = slice(start, end)
        out[:, :, rows], lse[:, :, rows] = _kernel(query[:, :, rows], key[:, :, rows], value[:, :, rows], causal, mask, scale)
    return out, lse


def _pick(whole: Tensor, ranges: tuple[tuple[int, int], ...]) -> Tensor:
    if len(ranges) == 1:
        return whole[:, :, ranges[0][0] : ranges[0][1]]
    return torch.cat([whole[:, :, start:end] for start, end in ranges], dim=2)


def _add(whole: Tensor, part: Tensor, ranges: tuple[tuple[int, int], ...]) -> None:
    at = 0
    for start, end in ranges:
        whole[:, :, start:end] += part[:, :, at : at + end - start]
        at += end - start


def _merge(out: Tensor, lse: Tensor, part: Tensor, part_lse: Tensor) -> None:
    """Merges a part into `out` and `lse` in place."""
    both = torch.logaddexp(lse, part_lse)
    share = torch.exp(part_lse - both).unsqueeze(-1)
    out.copy_(torch.lerp(out.to(share.dtype), part.to(share.dtype), share))
    lse.copy_(both)


def _kernel(query: Tensor, key: Tensor, value: Tensor, causal: bool, mask: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    function = getattr(torch.ops.aten, _FORWARD)
    out, lse = function(query, key, value, 0.0, causal, attn_mask=mask, scale=scale)
    return out, lse


def _kernel_backward(
    grad: Tensor,
    query: Tensor,
    out: Tensor,
    lse: Tensor,
    rows: slice,
    key: Tensor,
    value: Tensor,
    causal: bool,
    mask: Tensor | None,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    function = getattr(torch.ops.aten, _BACKWARD)
    given = (grad[:, :, rows], query[:, :, rows], key, value, out[:, :, rows], lse[:, :, rows])
    parts: tuple[Tensor, Tensor, Tensor] = function(*given, 0.0, causal, attn_mask=mask, scale=scale)
    return parts
