"""Attention over a tree of shared prefixes, as a function of transformers' attention interface.

``model(input_ids, position_ids=…, tree=…)`` with a flat sequence ``[1, T]``: each token looks at its own segment up to itself and
at the segments above it. No mask is built by transformers for this implementation, because it registers no mask function.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from agenttune.training.kernels import attention_cpu, attention_fused, attention_gpu, attention_matmul
from agenttune.training.kernels.tree import Tree

Tensor = torch.Tensor
TreeFunction = Callable[[Tensor, Tensor, Tensor, Tree, float], Tensor]

NAME = "agenttune_tree"
UNKNOWN = ("softcap", "s_aux", "position_bias", "cache")  # what an attention may ask for and these functions do not do


def use_tree_attention(model: Any, products: bool | None = None) -> None:
    """Makes `model` (a transformers model) attend by the tree that its forward is given.

    `products` says whether bfloat16 on a CPU goes by matrix products; None leaves that to a measurement of this process. What was
    decided is part of the implementation's name, and so the model's own.
    """
    from transformers import AttentionInterface

    name = NAME if products is None else f"{NAME}_{'products' if products else 'kernel'}"
    AttentionInterface.register(name, partial(tree_attention_forward, products=products))
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
    products: bool | None = None,
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
    out = choose(query, tree, products)(query, key, value, tree, scale)
    return out.transpose(1, 2), None


def choose(query: Tensor, tree: Tree, products: bool | None = None) -> TreeFunction:
    """The fastest function that this device and tree allow; all have one contract."""
    if _by_products(query.device.type, query.dtype, products):
        fused = attention_fused.fits(query.dtype, query.shape[-1])
        return attention_fused.fused_tree_attention if fused else attention_matmul.matmul_tree_attention
    if query.device.type == "cpu" and query.dtype == torch.float32 and attention_fused.fits(query.dtype, query.shape[-1]):
        return attention_fused.fused_tree_attention
    if query.device.type == "cpu" and attention_cpu.has_flash():
        return attention_cpu.flash_tree_attention
    if query.device.type == "cuda":
        return attention_gpu.choose(query, tree) or block_tree_attention
    return block_tree_attention


def _by_products(device: str, dtype: torch.dtype, products: bool | None) -> bool:
    if products is None:
        return device == "cpu" and attention_matmul.pays(dtype)
    return products and device == "cpu" and dtype == torch.bfloat16


def describe(device: str, dtype: torch.dtype = torch.float32, products: bool | None = None, width: int = 64) -> str:
    """One line: which attention runs on a device for heads of `width` numbers, and why."""
    number, obstacle = str(dtype).removeprefix("torch."), attention_fused.obstacle(dtype, width) if device == "cpu" else None
    if _by_products(device, dtype, products):
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
    for block in tree.rows:
        picked = [torch.cat([one[:, :, low:high] for low, high in block.keys], dim=2) for one in (key, value)]
        above = picked[0].shape[2] - (block.end - block.start)
        seen = torch.nn.functional.pad(~block.hidden, (above, 0), value=True).to(query.device)
        rows = query[:, :, block.start : block.end]
        parts.append(scaled_dot_product_attention(rows, picked[0], picked[1], attn_mask=seen, scale=scale))
    return torch.cat(parts, dim=2)
