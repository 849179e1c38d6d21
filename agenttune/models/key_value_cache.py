"""The key-value cache: transformers' own, with layers that append in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedConfig

_ROOM = 64  # positions taken ahead; one copy of the cache for so many tokens, where concatenating copies it for each


class PreallocatedLayer(DynamicLayer):  # type: ignore[misc]  # the library has no types
    """Keys and values ``[rows, heads, positions, head size]`` as views of buffers with room behind them.

    A crop leaves a view of the same buffer, whose tail is then written over, and so does `keep`, whose rows then end earlier. A
    selection by the library (`reorder_cache`) is a new tensor, for which the next update makes a new buffer.
    """

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self._buffers: tuple[torch.Tensor | None, torch.Tensor | None] = (None, None)

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Appends new positions. All keys and values, without copying them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        keys = _appended(self._buffers[0], self.keys, key_states)
        values = _appended(self._buffers[1], self.values, value_states)
        end = self.get_seq_length() + key_states.shape[-2]
        self._buffers = (keys, values)
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]
        return self.keys, self.values

    def keep(self, rows: int, moved: Sequence[tuple[int, int]]) -> None:
        """Leaves the first `rows` rows, after each of `moved` (to, from) was copied to a place that is free."""
        for side in (self.keys, self.values):
            for to, source in moved:
                side[to] = side[source]
        self.keys, self.values = self.keys[:rows], self.values[:rows]


def _appended(buffer: torch.Tensor | None, kept: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """A buffer that begins with `kept` and `new`, and has as many rows."""
    length = kept.shape[-2] if kept.numel() else 0
    end = length + new.shape[-2]
    if buffer is None or not length or kept.data_ptr() != buffer.data_ptr() or buffer.shape[-2] < end:
        buffer = new.new_empty((*new.shape[:2], end + _ROOM, new.shape[-1]))
        if length:
            buffer[:, :, :length] = kept
    buffer = buffer[: new.shape[0]]
    buffer[:, :, length:end] = new
    return buffer


def empty(config: PreTrainedConfig) -> Cache:
    """An empty cache for a model of this config."""
    cache = DynamicCache(config=config)
    cache.layers = [PreallocatedLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def token_bytes(config: PreTrainedConfig, number: int) -> int:
    """Bytes that the keys and values of one token take in all layers, with `number` bytes for each number; 0 for a model without heads."""
    text = config.get_text_config(decoder=True)
    heads = getattr(text, "num_key_value_heads", None) or getattr(text, "num_attention_heads", 0)
    if not heads:
        return 0
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return int(2 * text.num_hidden_layers * heads * size * number)


def plain(cache: Cache) -> bool:
    """Whether every layer keeps every position, so that rows can be cut, copied and laid side by side."""
    return all(type(layer) is PreallocatedLayer for layer in cache.layers)


def keep(cache: Cache, rows: Sequence[int], device: torch.device) -> None:
    """Leaves these rows, in this order. What stays in its place is not copied, where rows move only to the places of others that go."""
    moved = [(to, source) for to, source in enumerate(rows) if to != source]
    if plain(cache) and all(source >= len(rows) for _, source in moved):
        with torch.inference_mode():
            for layer in cache.layers:
                layer.keep(len(rows), moved)
    else:
        cache.reorder_cache(torch.tensor(list(rows), device=device))


def crop(cache: Cache, length: int) -> bool:
    """Cuts the cache to its first `length` positions, each layer by itself; False if it cannot be put back there."""
    for layer in cache.layers:
        if not isinstance(layer, DynamicLayer) or (length and not layer.is_initialized):
            return False
        if not layer.is_initialized:
            continue
        if type(layer) is PreallocatedLayer:
            layer.keys, layer.values = layer.keys[..., :length, :], layer.values[..., :length, :]
        elif type(layer) is DynamicSlidingWindowLayer and layer.get_seq_length() < layer.sliding_window:
            layer.crop(min(0, length - layer.get_seq_length()))
        elif layer.get_seq_length() != length:
            return False
    return True


CachedRow = tuple["Cache", int, int, int]  # (cache, its row, first column, column after the last)


def stacked(config: PreTrainedConfig, parts: list[CachedRow | None], device: torch.device) -> tuple[Cache, torch.Tensor | None]:
    """One cache with a row for each part, padded on the left, and its mask ``[rows, columns]``, None where nothing is padding.

    A part that is None is all padding. At least one is not.
    """
    lengths = [0 if part is None else part[3] - part[2] for part in parts]
    width = max(lengths)
    cache = empty(config)
    for number, layer in enumerate(cache.layers):
        layer.update(_side(parts, width, number, "keys"), _side(parts, width, number, "values"))
    mask = torch.tensor([[0] * (width - length) + [1] * length for length in lengths], device=device)
    return cache, None if min(lengths) == width else mask


def side_by_side(config: PreTrainedConfig, caches: Sequence[Cache]) -> Cache:
    """One cache with the rows of several, each padded on the left to the longest. All are `plain`."""
    width = max(cache.get_seq_length() for cache in caches)
    made = empty(config)
    for number, layer in enumerate(made.layers):
        sides = [[getattr(cache.layers[number], side) for cache in caches] for side in ("keys", "values")]
        layer.update(*(torch.cat([torch.nn.functional.pad(one, (0, 0, width - one.shape[2], 0)) for one in side]) for side in sides))
    return made


def _side(parts: list[CachedRow | None], width: int, number: int, side: str) -> torch.Tensor:
    """Keys or values of one layer, ``[rows, heads, width, head size]``."""
    like = next(getattr(part[0].layers[number], side) for part in parts if part is not None)
    made: torch.Tensor = like.new_zeros((len(parts), like.shape[1], width, like.shape[3]))
    for row, part in enumerate(parts):
        if part is not None:
            cache, source, start, end = part
            made[row, :, width - (end - start) :] = getattr(cache.layers[number], side)[source, :, start:end]
    return made
