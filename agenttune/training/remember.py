"""A tokenizer that remembers what it has encoded: samples of one scenario repeat their system text, and fitting tries one sample often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from agenttune.values.tokens import Tokenizer

ENTRIES = 4096


class Remembering:
    """See `Tokenizer`; ids are those of `inner`."""

    def __init__(self, inner: Tokenizer) -> None:
        self.inner = inner
        self._ids = lru_cache(maxsize=ENTRIES)(lambda text, special: tuple(inner.encode(text, special=special)))
        self._spans = lru_cache(maxsize=ENTRIES)(lambda text: tuple(inner.offsets(text)))

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
    def eos_id(self) -> int | None:
        """See `Tokenizer.eos_id`."""
        return self.inner.eos_id

    @property
    def special_ids(self) -> frozenset[int]:
        """See `Tokenizer.special_ids`."""
        return self.inner.special_ids

    def encode(self, text: str, *, special: bool) -> list[int]:
        """See `Tokenizer.encode`."""
        return list(self._ids(text, special))

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """See `Tokenizer.offsets`."""
        return list(self._spans(text))

    def decode(self, ids: Sequence[int]) -> str:
        """See `Tokenizer.decode`."""
        return self.inner.decode(ids)

    def special_id(self, text: str) -> int | None:
        """See `Tokenizer.special_id`."""
        return self.inner.special_id(text)

    def apply_template(self, messages: Sequence[Mapping[str, Any]], *, generate: bool) -> str:
        """See `Tokenizer.apply_template`."""
        return self.inner.apply_template(messages, generate=generate)
