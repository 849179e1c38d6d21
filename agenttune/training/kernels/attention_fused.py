"""Tree attention as one compiled pass a block (``attention_fused.c``): bfloat16 by a CPU's matrix tiles (AMX), float32 by its vectors.

Forward and backward are FlashAttention-2's (Dao, arXiv 2307.08691): an online softmax over tiles of keys, ``lse`` kept for each row, and

    P = exp(s Q K' - lse)    dV = P' dO    dS = P * (dO V' - rowsum(dO * O))    dQ = s dS K    dK = s dS' Q

Where `compiled` cannot make it, `obstacle` says why, and the other functions of this contract do the work.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

import torch

from agenttune.training.kernels import compiled
from agenttune.training.kernels.attention_cpu import empty_rows_contiguous
from agenttune.training.kernels.tree import Tree

Tensor = torch.Tensor
NAME = "attention_fused"
STEP, WIDEST = 32, 256  # numbers a head: a multiple of the one, up to the other


class _Call(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("heads", "groups", "size", "width")),
        ("ends", ctypes.c_void_p),
        ("blocks", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("starts", "stops", "firsts", "lows", "highs")),
        ("parts", ctypes.c_int64),
        ("part", ctypes.c_void_p),
        ("scale", ctypes.c_float),
        ("threads", ctypes.c_int32),
        *((name, ctypes.c_void_p) for name in ("query", "key", "value", "out", "grad")),
        *((f"{name}_{step}", ctypes.c_int64) for name in ("query", "key", "value", "out", "grad") for step in ("head", "row")),
        ("lse", ctypes.c_void_p),
        *((name, ctypes.c_void_p) for name in ("to_out", "to_query", "to_key", "to_value")),
    )


def fits(dtype: torch.dtype, width: int) -> bool:
    """Whether the pass takes heads of `width` numbers of `dtype`, and can run here."""
    return obstacle(dtype, width) is None


def obstacle(dtype: torch.dtype, width: int) -> str | None:
    """What keeps the pass from heads of `width` numbers of `dtype` here, or None."""
    if width % STEP or width > WIDEST:
        return f"it does not take heads of {width} numbers"
    return compiled.why_not(NAME, dtype)


def fused_tree_attention(query: Tensor, key: Tensor, value: Tensor, tree: Tree, scale: float) -> Tensor:
    """``query [1, H, T, D]``, ``key`` and ``value [1, Hkv, T, D]`` (H a multiple of Hkv), of one dtype that `fits`, to ``[1, H, T, D]``."""
    joined: Tensor = _FusedAttention.apply(query, key, value, tree, scale)  # type: ignore[no-untyped-call]
    return joined


class _FusedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, tree: Tree, scale: float) -> Tensor:
        given = tuple(_lines(one) for one in (query, key, value))
        out = empty_rows_contiguous(query)
        lse = torch.empty(query.shape[1:3], dtype=torch.float32)
        call, _kept = _call(tree, scale, *given)
        call.lse, call.to_out = lse.data_ptr(), out.data_ptr()
        _run("fused_forward", call, query.dtype)
        ctx.save_for_backward(*given, out, lse)
        ctx.tree, ctx.scale = tree, scale
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, key, value, out, lse = ctx.saved_tensors
        gradients = empty_rows_contiguous(query), empty_rows_contiguous(key), empty_rows_contiguous(value)
        grad = _lines(grad)
        assert grad.dtype == query.dtype
        call, _kept = _call(ctx.tree, ctx.scale, query, key, value, out, grad)
        call.lse = lse.data_ptr()
        call.to_query, call.to_key, call.to_value = (one.data_ptr() for one in gradients)
        _run("fused_backward", call, query.dtype)
        return *gradients, None, None


def _lines(given: Tensor) -> Tensor:
    """With the numbers of a row side by side."""
    return given if given.stride(-1) == 1 else given.contiguous()


def _call(tree: Tree, scale: float, *given: Tensor) -> tuple[_Call, dict[str, Tensor]]:
    """The arguments of a pass over query, key, value (and out and its gradient), and what must live as long as they do."""
    query, key = given[:2]
    threads = torch.get_num_threads()
    call = _Call(heads=query.shape[1], groups=key.shape[1], size=query.shape[2], width=query.shape[3], scale=scale, threads=threads)
    parts, lists = _blocks(tree, key.shape[1], threads)
    call.parts, call.blocks = parts, len(tree.query_blocks)
    for name, numbers in lists.items():
        setattr(call, name, numbers.data_ptr())
    for name, one in zip(("query", "key", "value", "out", "grad"), given, strict=False):
        setattr(call, name, one.data_ptr())
        setattr(call, f"{name}_head", one.stride(1))
        setattr(call, f"{name}_row", one.stride(2))
    return call, lists


@lru_cache(maxsize=8)
def _blocks(tree: Tree, groups: int, threads: int) -> tuple[int, dict[str, Tensor]]:
    """How many sums of key gradients a key head has, and the blocks as lists of int32: all layers ask for the same."""
    parts, part = _parts(tree, groups, threads)
    firsts = [0]
    for block in tree.query_blocks:
        firsts.append(firsts[-1] + len(block.keys))
    lists = {
        "ends": tree.ends,
        "starts": [block.start for block in tree.query_blocks],
        "stops": [block.end for block in tree.query_blocks],
        "firsts": firsts,
        "lows": [low for block in tree.query_blocks for low, _ in block.keys],
        "highs": [high for block in tree.query_blocks for _, high in block.keys],
        "part": part,
    }
    return parts, {name: torch.tensor(numbers, dtype=torch.int32) for name, numbers in lists.items()}


def _parts(tree: Tree, groups: int, threads: int) -> tuple[int, list[int]]:
    """In how many parts of like work a key head's blocks go, so that threads have equally many, and which part each block is in."""
    few = -(-threads // groups)
    parts = min(range(few, 4 * few + 1), key=lambda one: (-(-groups * one // threads) / (groups * one), one))
    loads = [0] * parts
    chosen = []
    for block in tree.query_blocks:
        least = loads.index(min(loads))
        loads[least] += (block.end - block.start) * sum(high - low for low, high in block.keys)
        chosen.append(least)
    return parts, chosen


def _run(name: str, call: _Call, dtype: torch.dtype) -> None:
    if getattr(compiled.library(NAME, dtype), name)(ctypes.byref(call)):
        raise MemoryError("attention ran out of memory")
