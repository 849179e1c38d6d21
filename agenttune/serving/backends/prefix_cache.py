"""What one model read of earlier prompts, by their ids: a prompt that begins like one of them is not read again there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agenttune.models.base import Model, Prefix

Ids = npt.NDArray[np.int64]
_LEAST = 16  # ids; copying fewer costs more than reading them


class PrefixCache:
    """Prefixes of one model, at most `limit` bytes of them, the least recently used dropped first.

    What lies here is never continued in place: `find` gives a copy. `token_bytes` is what the model keeps of one token.

    >>> from agenttune.models.scripted import ScriptedModel
    >>> cache = PrefixCache(ScriptedModel([]), limit=1000, token_bytes=10)
    >>> cache.add(Prefix(ids=list(range(40))))
    >>> found = cache.find([*range(30), 99])
    >>> len(found.ids), cache.bytes
    (30, 400)
    """

    def __init__(self, model: Model, *, limit: int, token_bytes: int) -> None:
        self._model, self._limit, self._token_bytes = model, limit, max(1, token_bytes)
        self._kept: OrderedDict[int, tuple[Ids, Prefix]] = OrderedDict()
        self._number = 0

    @property
    def bytes(self) -> int:
        """Bytes of all that is kept."""
        return sum(len(ids) for ids, _ in self._kept.values()) * self._token_bytes

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, ids: Sequence[int]) -> Prefix | None:
        """A copy of the longest kept beginning of `ids`, never all of them: the last id is always read, because its logits are wanted."""
        wanted = np.asarray(ids[:-1], dtype=np.int64)
        best, length = None, _LEAST - 1
        for number, (kept, _) in self._kept.items():
            shared = _common(kept, wanted)
            if shared > length:
                best, length = number, shared
        if best is None:
            return None
        self._kept.move_to_end(best)
        return self._model.copied(self._kept[best][1], length)

    def add(self, prefix: Prefix) -> None:
        """Keeps a prefix, which belongs to the cache from here on. What it makes superfluous, and what is too much, is dropped."""
        ids = np.asarray(prefix.ids, dtype=np.int64)
        if len(ids) < _LEAST or len(ids) * self._token_bytes > self._limit:
            return
        for number, (kept, _) in list(self._kept.items()):
            if _common(kept, ids) == len(kept):
                del self._kept[number]
        self._number += 1
        self._kept[self._number] = (ids, prefix)
        while self.bytes > self._limit:
            self._kept.popitem(last=False)


def _common(left: Ids, right: Ids) -> int:
    """How many ids two arrays share at their start."""
    end = min(len(left), len(right))
    different = np.flatnonzero(left[:end] != right[:end])
    return int(different[0]) if len(different) else end
