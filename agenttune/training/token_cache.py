"""A tokenizer that remembers what it has encoded: samples of one scenario repeat their system text, and fitting tries one sample often."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from agenttune.values.tokens import Tokenizer
from agenttune.values.trajectory import Json

ENTRIES = 8192  # more than the texts that are read ahead at a time

Key = TypeVar("Key", bound=Hashable)
Found = TypeVar("Found")


class LRUCache(OrderedDict[Key, Found]):
    """The entries used last, `ENTRIES` of them."""

    def take(self, key: Key, make: Callable[[], Found]) -> Found:
        """The entry of `key`, made where there is none."""
        if key in self:
            self.move_to_end(key)
            return self[key]
        self.add(key, make())
        return self[key]

    def add(self, key: Key, found: Found) -> None:
        """A new entry in place of the one that was not used for longest."""
        self[key] = found
        if len(self) > ENTRIES:
            self.popitem(last=False)


class CachingTokenizer:
    """See `Tokenizer`; ids are those of `inner`."""

    def __init__(self, inner: Tokenizer) -> None:
        self.inner = inner
        self._ids: LRUCache[tuple[str, bool], list[int]] = LRUCache()
        self._spans: LRUCache[str, list[tuple[int, int]]] = LRUCache()

    def read_ahead(self, plain: Iterable[str], located: Iterable[str]) -> None:
        """Encodes what is new of many plain texts at once; those `located` with their offsets."""
        for texts, offsets in ((located, True), (plain, False)):
            new = [text for text in dict.fromkeys(texts) if (text, False) not in self._ids or (offsets and text not in self._spans)]
            for text, (ids, spans) in zip(new, self.inner.encode_many(new, offsets=offsets), strict=True):
                self._ids.add((text, False), ids)
                if offsets:
                    self._spans.add(text, spans)

    @property
    def name(self) -> str:
        """See `Tokenizer.name`."""
        return self.inner.name

    @property
    def chat_template(self) -> str | None:
        """See `Tokenizer.chat_template`."""
        return self.inner.chat_template

    @property
    def bos_id(self) -> int | None:
        """See `Tokenizer.bos_id`."""
        return self.inner.bos_id

    @property
    def bos_token(self) -> str | None:
        """See `Tokenizer.bos_token`."""
        return self.inner.bos_token

    @property
    def eos_id(self) -> int | None:
        """See `Tokenizer.eos_id`."""
        return self.inner.eos_id

    @property
    def special_ids(self) -> frozenset[int]:
        """See `Tokenizer.special_ids`."""
        return self.inner.special_ids

    def encode(self, text: str, *, special: bool) -> list[int]:
        """See `Tokenizer.encode`. The list is kept: nobody may change it."""
        return self._ids.take((text, special), lambda: self.inner.encode(text, special=special))

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """See `Tokenizer.offsets`."""
        return self._spans.take(text, lambda: self.inner.offsets(text))

    def encode_many(self, texts: Sequence[str], *, offsets: bool) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """See `Tokenizer.encode_many`."""
        return self.inner.encode_many(texts, offsets=offsets)

    def decode(self, ids: Sequence[int]) -> str:
        """See `Tokenizer.decode`."""
        return self.inner.decode(ids)

    def special_id(self, text: str) -> int | None:
        """See `Tokenizer.special_id`."""
        return self.inner.special_id(text)

    def apply_template(self, messages: Sequence[Mapping[str, Any]], *, generate: bool, options: Mapping[str, Json] | None = None) -> str:
        """See `Tokenizer.apply_template`."""
        return self.inner.apply_template(messages, generate=generate, options=options)
