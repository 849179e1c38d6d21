"""Weights that ZeRO-3 has sharded over ranks: gathered for a while, counted, and written whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch

Tensor = torch.Tensor


def is_zero3() -> bool:
    """Whether ZeRO-3 shards the weights of this run, or will: then only a module's own call gathers them, and all ranks call alike."""
    from transformers.integrations import is_deepspeed_zero3_enabled

    return bool(is_deepspeed_zero3_enabled())


def is_sharded(parameter: Tensor) -> bool:
    """Whether a rank holds only its shard of it."""
    return hasattr(parameter, "ds_id")


def parameter_count(parameter: Tensor) -> int:
    """Numbers in the whole of it; of a 4-bit one two lie in each byte of what it is stored as."""
    stored = int(getattr(parameter, "ds_numel", None) or parameter.numel())
    return stored * int(parameter.element_size()) * 2 if type(parameter).__name__ == "Params4bit" else stored


@contextlib.contextmanager
def gathered(parameters: Iterable[Tensor]) -> Iterator[None]:
    """These weights whole on every rank until the block ends; they are read only. All ranks must come here alike."""
    held = [one for one in parameters if is_sharded(one)]
    if not held:
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(held):
        yield


@contextlib.contextmanager
def gathering_forward(model: torch.nn.Module) -> Iterator[None]:
    """A model whose modules gather their own weights when they are called, before DeepSpeed's engine does that. For forward passes only."""
    opened: dict[torch.nn.Module, Any] = {}

    def gather(module: torch.nn.Module, _: Any) -> None:
        opened[module] = gathered(module.parameters(recurse=False))
        opened[module].__enter__()

    def leave(module: torch.nn.Module, _: Any, __: Any) -> None:
        opened.pop(module).__exit__(None, None, None)

    holders = [one for one in model.modules() if any(is_sharded(weight) for weight in one.parameters(recurse=False))]
    hooks = [hook for one in holders for hook in (one.register_forward_pre_hook(gather), one.register_forward_hook(leave))]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module in list(opened):  # a forward that ended in an error
            leave(module, None, None)


def full_state_dict(model: torch.nn.Module, *, trained_only: bool, keep: bool) -> dict[str, Tensor] | None:
    """The state dict with every weight whole, in this rank's memory where `keep`; None where nothing is sharded.

    One weight is gathered at a time. `trained_only` leaves frozen ones out. Weights that are tied stay one tensor.
    """
    weights = dict(model.named_parameters(remove_duplicate=False))
    if not any(is_sharded(one) for one in weights.values()):
        return None
    copies: dict[Tensor, Tensor] = {}
    for one in model.parameters():
        if one.requires_grad or not trained_only:
            with gathered([one]):
                copies[one] = one.detach().to("cpu", copy=True) if keep else one.new_empty(0)
    found = {name: copies[one] for name, one in weights.items() if one in copies}
    if not trained_only:
        found |= {name: one for name, one in model.state_dict().items() if name not in weights}
    return found
