"""Sequences in flight on a transformers model: one key-value cache, one row a sequence.

A pass is a rectangle of ids, padded on the left; padding stands between a row's kept prefix and what it reads now, is masked
out of attention, and takes no position. So the last column is every row's newest token, and the LM head is computed there only.
"""

from __future__ import annotations

import inspect
import itertools
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from agenttune.models.base import Prefill, Prefix, SequenceBatch
from agenttune.models.key_value_cache import CachedRow, crop, empty, keep, plain, side_by_side, stacked
from agenttune.models.prefix_groups import group_by_prefix
from agenttune.values.tokens import common_prefix

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from transformers import Cache, PreTrainedModel


class CachedForward:
    """Forward passes of one causal language model."""

    def __init__(self, hf: PreTrainedModel) -> None:
        self.hf = hf
        self.device = hf.get_input_embeddings().weight.device
        self._names = frozenset(inspect.signature(hf.forward).parameters)
        if self.device.type == "cpu":  # PyTorch's kernel reads grouped keys under a mask as they are; transformers repeats them first
            os.environ.setdefault("TRANSFORMERS_SDPA_FORCE_GQA", "1")
        head = hf.get_output_embeddings()
        if head is not None:
            head.register_forward_pre_hook(_contiguous_input)

    def cache(self) -> Cache:
        """An empty key-value cache."""
        return empty(self.hf.config)

    def forward(self, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor | None, cache: Cache, wanted: int) -> torch.Tensor:
        """Logits ``[rows, wanted, vocabulary]`` at the last columns of ``ids[rows, columns]``; `mask` is ``[rows, cached + columns]``."""
        given = {"input_ids": ids, "attention_mask": mask, "past_key_values": cache, "use_cache": True}
        if "position_ids" in self._names:
            given["position_ids"] = positions
        if "logits_to_keep" in self._names:
            given["logits_to_keep"] = wanted
        with torch.inference_mode():
            found: torch.Tensor = self.hf(**given).logits[:, -wanted:]
        return found


def _contiguous_input(head: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """The head's input as one piece of memory: for the last column of several rows PyTorch else copies the frozen weights once a row."""
    return (given[0].contiguous(), *given[1:])


class HFBatch:
    """See `SequenceBatch`."""

    def __init__(self, model: CachedForward, prompts: Sequence[Sequence[int]], prefixes: Sequence[Prefix | None]) -> None:
        self._model = model
        self._ids = [list(prompt) for prompt in prompts]
        self._drafts: list[list[int]] = [[] for _ in prompts]
        self._mask: torch.Tensor | None = None
        self._own: Prefix | None = None
        self.prefill: tuple[Prefill, ...] = ()
        if len(prompts) == 1:
            self._start_one(self._ids[0], prefixes[0])
        else:
            self._start_many(prefixes)

    def _start_one(self, prompt: list[int], prefix: Prefix | None) -> None:
        own = prefix if prefix is not None else Prefix()
        kept = min(common_prefix(own.ids, prompt), len(prompt) - 1)
        if own.state is None or not crop(own.state, kept):
            own.state, kept = self._model.cache(), 0
        self._own, self._cache = own, own.state
        own.ids = prompt[:kept] if plain(self._cache) else []
        self._logits = self._pass([prompt[kept:]], [kept])
        own.ids = prompt
        self.prefill = (Prefill(tokens=len(prompt) - kept, passes=1),)

    def _start_many(self, prefixes: Sequence[Prefix | None]) -> None:
        parts, counts = self._kept(prefixes)
        fresh = [row for row, part in enumerate(parts) if part is None]
        self._cache = self._model.cache()
        if len(fresh) > 1 and plain(self._cache):
            self._share(fresh, parts, counts)
        starts = [0 if part is None else part[3] - part[2] for part in parts]
        if any(starts):
            self._cache, self._mask = stacked(self._model.hf.config, parts, self._model.device)
        self._logits = self._pass([ids[start:] for ids, start in zip(self._ids, starts, strict=True)], starts)
        self.prefill = tuple(
            Prefill(tokens=tokens + len(ids) - start, passes=passes + 1)
            for ids, start, (tokens, passes) in zip(self._ids, starts, counts, strict=True)
        )

    def _kept(self, prefixes: Sequence[Prefix | None]) -> tuple[list[CachedRow | None], list[tuple[int, int]]]:
        parts: list[CachedRow | None] = []
        for ids, prefix in zip(self._ids, prefixes, strict=True):
            length = min(common_prefix(prefix.ids, ids), len(ids) - 1) if prefix is not None else 0
            usable = prefix is not None and length and plain(prefix.state)
            parts.append((prefix.state, 0, 0, length) if prefix is not None and usable else None)
        return parts, [(0, 0)] * len(parts)

    def _share(self, fresh: list[int], parts: list[CachedRow | None], counts: list[tuple[int, int]]) -> None:
        """Reads the prefixes that rows share, a row a group, and makes them the rows' kept parts."""
        groups = [group for group in group_by_prefix([self._ids[row] for row in fresh]) if group.prefix]
        if not groups:
            return
        rows = [[fresh[row] for row in group.rows] for group in groups]
        texts = [self._ids[members[0]][: group.prefix] for members, group in zip(rows, groups, strict=True)]
        width = max(map(len, texts))
        self._pass(texts, [0] * len(texts))
        shared = self._cache
        for number, (group, members) in enumerate(zip(groups, rows, strict=True)):
            for row in members:
                parts[row] = (shared, number, width - group.prefix, width)
                counts[row] = (group.prefix if row == members[0] else 0, 1)
        self._cache, self._mask = self._model.cache(), None

    def _pass(self, texts: Sequence[Sequence[int]], starts: Sequence[int]) -> torch.Tensor:
        """Reads ``texts[row]``, whose first id stands at position ``starts[row]``; the rectangle joins the cache.

        Logits ``[places, vocabulary]`` behind the last token of each row that is no draft, and behind its drafts.
        """
        width = max(map(len, texts))
        pads = [width - len(text) for text in texts]
        device = self._model.device
        ids = torch.tensor([[0] * pad + list(text) for pad, text in zip(pads, texts, strict=True)], device=device)
        positions = torch.tensor([[max(0, start - pad + at) for at in range(width)] for pad, start in zip(pads, starts, strict=True)])
        if any(pads) or self._mask is not None:
            seen = torch.tensor([[0] * pad + [1] * (width - pad) for pad in pads], device=device)
            self._mask = self._wider(seen)
        wanted = 1 + max(map(len, self._drafts))
        found = self._model.forward(ids, positions.to(device), self._mask, self._cache, wanted)
        if wanted == 1:
            return found[:, 0]
        return torch.cat([found[row, wanted - 1 - len(draft) :] for row, draft in enumerate(self._drafts)])

    def _wider(self, seen: torch.Tensor) -> torch.Tensor:
        if self._mask is None:
            before = self._cache.get_seq_length()
            self._mask = torch.ones((seen.shape[0], before), dtype=seen.dtype, device=seen.device)
        return torch.cat([self._mask, seen], dim=1)

    def greedy(self) -> list[int]:
        """See `SequenceBatch.greedy`."""
        found: list[int] = self._logits.argmax(-1).tolist()
        return found

    def logits(self) -> NDArray[np.float32]:
        """See `SequenceBatch.logits`."""
        found: NDArray[np.float32] = self._logits.float().cpu().numpy()
        return found

    @property
    def drafts(self) -> bool:
        """See `SequenceBatch.drafts`."""
        return plain(self._cache)

    def advance(self, tokens: Sequence[int], drafts: Sequence[Sequence[int]] | None = None) -> None:
        """See `SequenceBatch.advance`."""
        own = self._own
        before = own.ids if own is not None else []
        if own is not None and not plain(self._cache):  # an interrupted pass could not be undone
            own.ids = []
        self._drafts = [list(draft) for draft in drafts] if drafts else [[] for _ in tokens]
        texts = [[token, *draft] for token, draft in zip(tokens, self._drafts, strict=True)]
        self._logits = self._pass(texts, [len(ids) for ids in self._ids])
        self._ids = [[*ids, token] for ids, token in zip(self._ids, tokens, strict=True)]
        if own is not None:
            own.ids = [*before, tokens[0]]

    def cut(self, kept: Sequence[int]) -> None:
        """See `SequenceBatch.cut`. Columns that no row keeps leave the cache; the others are masked out of the rows that do not."""
        left = [len(draft) - count for draft, count in zip(self._drafts, kept, strict=True)]
        width, least = self._cache.get_seq_length(), min(left)
        if max(left) > least:
            self._mask = self._full_mask()
            for row, count in enumerate(left):
                self._mask[row, width - count :] = 0
        if least:
            crop(self._cache, width - least)
            self._mask = self._mask[:, : width - least] if self._mask is not None else None
        self._logits = self._logits[[start + count for start, count in zip(self._starts(), kept, strict=True)]]
        self._ids = [[*ids, *draft[:count]] for ids, draft, count in zip(self._ids, self._drafts, kept, strict=True)]
        self._drafts = [[] for _ in kept]
        if self._own is not None:
            self._own.ids = self._ids[0]

    def _starts(self) -> list[int]:
        """Where each row's places begin in the logits."""
        return [0, *itertools.accumulate(1 + len(draft) for draft in self._drafts)][:-1]

    def keep(self, rows: Sequence[int]) -> None:
        """See `SequenceBatch.keep`."""
        keep(self._cache, rows, self._model.device)
        starts = self._starts()
        self._logits = self._logits[[starts[row] + at for row in rows for at in range(1 + len(self._drafts[row]))]]
        chosen = torch.tensor(list(rows), device=self._model.device)
        self._ids = [self._ids[row] for row in rows]
        self._drafts = [self._drafts[row] for row in rows]
        if self._mask is not None:
            self._mask = self._mask[chosen]

    def prefix(self, row: int) -> Prefix:
        """See `SequenceBatch.prefix`."""
        if self._own is not None:
            return self._own
        if not plain(self._cache):
            return Prefix()
        seen = slice(None) if self._mask is None else self._mask[row].bool()
        cache = self._model.cache()
        for mine, layer in zip(cache.layers, self._cache.layers, strict=True):
            mine.update(layer.keys[row : row + 1][:, :, seen], layer.values[row : row + 1][:, :, seen])
        return Prefix(ids=self._ids[row], state=cache)

    def join(self, others: SequenceBatch) -> bool:
        """See `SequenceBatch.join`. Both caches are copied into one, padded on the left to the longer of them."""
        assert isinstance(others, HFBatch)
        mine, theirs = self._cache, others._cache
        if not plain(mine) or not plain(theirs):
            return False
        masks = [self._full_mask(), others._full_mask()]
        widths = [int(mask.shape[1]) for mask in masks]
        self._cache, width = side_by_side(self._model.hf.config, (mine, theirs)), max(widths)
        padded = [torch.nn.functional.pad(mask, (width - own, 0)) for mask, own in zip(masks, widths, strict=True)]
        mask = torch.cat(padded)
        self._mask = None if bool(mask.all()) else mask
        self._logits = torch.cat([self._logits, others._logits])
        self._ids = [*self._ids, *others._ids]
        self._drafts = [*self._drafts, *others._drafts]
        self._own = None
        return True

    def _full_mask(self) -> torch.Tensor:
        if self._mask is not None:
            return self._mask
        return torch.ones((len(self._ids), self._cache.get_seq_length()), dtype=torch.long, device=self._model.device)
