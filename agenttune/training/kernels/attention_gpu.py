"""Tree attention on CUDA, behind capability checks. The contract is tested on CPU; the kernels themselves have not been run on a GPU here.

- flash-attn's varlen kernel (Dao, arXiv 2307.08691) where nothing is shared: each tree is one sequence, causal.
- FlexAttention (Dong et al., arXiv 2412.05496) otherwise: a block mask from ``k <= q < ends[k]``, made once a Pack, so that empty blocks
  cost nothing.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from agenttune.training.kernels.tree import Tree

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

Tensor = torch.Tensor
TreeFunction = Callable[[Tensor, Tensor, Tensor, Tree, float], Tensor]


def has_varlen() -> bool:
    """Whether flash-attn is installed."""
    return importlib.util.find_spec("flash_attn") is not None


def has_flex() -> bool:
    """Whether this PyTorch has FlexAttention and can compile it."""
    return importlib.util.find_spec("torch.nn.attention.flex_attention") is not None and importlib.util.find_spec("triton") is not None


def describe() -> str:
    """What `choose` will take."""
    shared = "FlexAttention" if has_flex() else "SDPA blocks (Triton is missing, which FlexAttention needs)"
    return f"{shared}; flash-attn varlen where nothing is shared" if has_varlen() else shared


def choose(query: Tensor, tree: Tree) -> TreeFunction | None:
    """A function for this tree, or None where neither kernel is at hand."""
    half = query.dtype in (torch.float16, torch.bfloat16)
    if not tree.shared and half and has_varlen():
        return varlen_tree_attention
    return flex_tree_attention if has_flex() else None


def varlen_tree_attention(query: Tensor, key: Tensor, value: Tensor, tree: Tree, scale: float) -> Tensor:
    """flash-attn over the trees as sequences; nothing may be shared."""
    from flash_attn import flash_attn_varlen_func

    assert not tree.shared
    bounds, longest = sequence_bounds(tree)
    lengths = torch.tensor(bounds, dtype=torch.int32, device=query.device)
    flat = [one[0].transpose(0, 1) for one in (query, key, value)]
    out: Tensor = flash_attn_varlen_func(*flat, lengths, lengths, longest, longest, softmax_scale=scale, causal=True)
    return out.transpose(0, 1)[None]


def sequence_bounds(tree: Tree) -> tuple[list[int], int]:
    """Where each tree starts, with the end of the last, and the longest tree's tokens."""
    starts = [0, *sorted({end for end in tree.ends if end < tree.size}), tree.size]
    return starts, max(end - start for start, end in itertools.pairwise(starts))


def flex_tree_attention(query: Tensor, key: Tensor, value: Tensor, tree: Tree, scale: float, *, compiled: bool = True) -> Tensor:
    """FlexAttention with the tree's block mask; `compiled` False runs it unfused, for tests."""
    from torch.nn.attention.flex_attention import flex_attention

    function: Any = _compiled() if compiled else flex_attention
    mask = block_mask(tree, str(query.device))
    out: Tensor = function(query, key, value, block_mask=mask, scale=scale, enable_gqa=query.shape[1] != key.shape[1])
    return out


@functools.cache
def _compiled() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)


@functools.lru_cache(maxsize=1)  # every layer of a forward asks for the same
def block_mask(tree: Tree, device: str) -> BlockMask:
    """FlexAttention's block mask of a tree."""
    from torch.nn.attention.flex_attention import create_block_mask

    ends = torch.tensor(tree.ends, device=device)

    def sees(_batch: Tensor, _head: Tensor, row: Tensor, column: Tensor) -> Tensor:
        return (column <= row) & (row < ends[column])

    return create_block_mask(sees, None, None, tree.size, tree.size, device=device)
