"""Attention over a tree of shared prefixes, as a function of transformers' attention interface.

    out = softmax(s Q K' + M) V,   M = 0 where the row attends to the key by the tree, else minus infinity

``model(input_ids, position_ids=…, tree=…)`` with a flat sequence ``[1, T]``: each token attends to its own segment up to itself and
to the segments above it (`tree`). transformers builds no mask for this implementation, because it registers no mask function.

The implementation is registered under a name in transformers' own table, which is global; so what a run decided (`matmul`) is part of
the name, and two models of one process cannot change each other's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from agenttune.training.kernels import attention_cpu, attention_fused, attention_gpu, attention_matmul
from agenttune.training.kernels.tree import Tree

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Tensor = torch.Tensor
TreeFunction = Callable[[Tensor, Tensor, Tensor, Tree, float], Tensor]

NAME = "agenttune_tree"
UNKNOWN = ("softcap", "s_aux", "position_bias", "cache")  # what an attention may ask for and these functions do not do


def use_tree_attention(model: PreTrainedModel, matmul: bool | None = None) -> None:
    """Makes a transformers model attend by the tree that its forward pass is given.

    `matmul` says whether the backward pass in bfloat16 on a CPU runs as matmuls; None leaves that to a measurement of this process.
    """
    from transformers import AttentionInterface

    name = NAME if matmul is None else f"{NAME}_{'matmul' if matmul else 'kernel'}"
    AttentionInterface.register(name, partial(tree_attention_forward, matmul=matmul))
    model.set_attn_implementation(name)


def tree_attention_forward(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    tree: Tree | None = None,
    matmul: bool | None = None,
    **asked: Any,
) -> tuple[Tensor, None]:
    """The function of transformers' interface: ``query [1, H, T, D]`` to ``([1, T, H, D], None)``.

    Raises `NotImplementedError` where the model asks for something that would be ignored; `why_not_pack` finds it before a run.
    """
    for name in UNKNOWN:
        if asked.get(name) is not None:
            raise NotImplementedError(f"attention with {name}")
    if tree is None or attention_mask is not None or dropout:
        raise NotImplementedError("tree attention takes a tree, no mask and no dropout")
    if sliding_window is not None and tree.depth > sliding_window:
        raise NotImplementedError(f"a sliding window of {sliding_window} tokens under a path of {tree.depth}")
    assert query.shape[0] == 1 and query.shape[2] == key.shape[2] == tree.size
    query, key = query.to(value.dtype), key.to(value.dtype)  # under autocast the rotation leaves these two in float32
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    out = choose(query, tree, matmul)(query, key, value, tree, scale)
    return out.transpose(1, 2), None


def choose(query: Tensor, tree: Tree, matmul: bool | None = None) -> TreeFunction:
    """The fastest function that this device and tree allow; all have one contract."""
    if _uses_matmul(query.device.type, query.dtype, matmul):
        fused = attention_fused.fits(query.dtype, query.shape[-1])
        return attention_fused.fused_tree_attention if fused else attention_matmul.matmul_tree_attention
    if query.device.type == "cpu" and query.dtype == torch.float32 and attention_fused.fits(query.dtype, query.shape[-1]):
        return attention_fused.fused_tree_attention
    if query.device.type == "cpu" and attention_cpu.has_flash():
        return attention_cpu.flash_tree_attention
    if query.device.type == "cuda":
        return attention_gpu.choose(query, tree) or block_tree_attention
    return block_tree_attention


def _uses_matmul(device: str, dtype: torch.dtype, matmul: bool | None) -> bool:
    if matmul is None:
        return device == "cpu" and attention_matmul.pays(dtype)
    return matmul and device == "cpu" and dtype == torch.bfloat16


def describe(device: str, dtype: torch.dtype = torch.float32, matmul: bool | None = None, width: int = 64) -> str:
    """One line: which attention runs on a device for heads of `width` numbers, and why."""
    number, obstacle = str(dtype).removeprefix("torch."), attention_fused.obstacle(dtype, width) if device == "cpu" else None
    if _uses_matmul(device, dtype, matmul):
        if obstacle is None:
            return f"tree attention compiled for this CPU's {number} tiles"
        return f"tree attention by matrix products in {number}, which this CPU multiplies faster (not compiled: {obstacle})"
    if device == "cpu" and dtype == torch.float32 and obstacle is None:
        return "tree attention compiled for this CPU's vectors"
    if device == "cpu":
        name = "the CPU flash kernel" if attention_cpu.has_flash() else "SDPA blocks"
        return f"tree attention by {name}" + (f" (not compiled: {obstacle})" if dtype == torch.float32 else "")
    if device == "cuda":
        return f"tree attention by {attention_gpu.describe()}"
    return "tree attention by SDPA blocks (no faster kernel is known for this device)"


def block_tree_attention(query: Tensor, key: Tensor, value: Tensor, tree: Tree, scale: float) -> Tensor:
    """Plain PyTorch, any device: one SDPA call a block, keys of ancestors joined before its own."""
    groups = query.shape[1] // key.shape[1]
    key, value = (one.repeat_interleave(groups, dim=1) for one in (key, value))
    parts = []
    for block in tree.query_blocks:
        picked = [torch.cat([one[:, :, low:high] for low, high in block.keys], dim=2) for one in (key, value)]
        above = picked[0].shape[2] - (block.end - block.start)
        seen = torch.nn.functional.pad(~block.masked, (above, 0), value=True).to(query.device)
        rows = query[:, :, block.start : block.end]
        parts.append(scaled_dot_product_attention(rows, picked[0], picked[1], attn_mask=seen, scale=scale))
    return torch.cat(parts, dim=2)
