"""What decoding needs of a model: ids in, the last position's logits out, for several sequences at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from agenttune.values.adapter import Card
from agenttune.values.tokens import SamplingParams, Tokenizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(slots=True, kw_only=True)
class Prefix:
    """Ids that a model has read and what it keeps of them (its key-value cache); `state` is the model's own business.

    The first ``len(ids)`` positions of `state` belong to `ids` at every moment, also after an interrupted pass: ids are
    appended only when a pass is complete, and whatever lies behind them is cut before the next one.
    """

    ids: list[int] = field(default_factory=list)
    state: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefill:
    """What reading one prompt took: tokens computed for it (a shared prefix counts for its first row), and passes it was in."""

    tokens: int
    passes: int


CUT = -1  # in the place of an id: whoever computes the sequence ends it here, at a limit of its own


class SequenceBatch(Protocol):
    """Sequences in flight, one a row. Rows are numbered as they stand now: `keep` renumbers them."""

    @property
    def prefill(self) -> tuple[Prefill, ...]:
        """One for each prompt, as they were given."""

    @property
    def drafts(self) -> bool:
        """Whether `advance` takes drafts: a cache that cannot be cut (a sliding window, linear attention) takes none."""

    def greedy(self) -> list[int]:
        """The id of the largest logit (or `CUT`) behind each row's newest token, and behind each of its drafts; row by row."""

    def logits(self) -> NDArray[np.float32]:
        """``[places, vocabulary]``: behind each row's newest token, and behind each of its drafts; row by row."""

    def advance(self, tokens: Sequence[int], drafts: Sequence[Sequence[int]] | None = None) -> None:
        """One more token for each row, and behind it the tokens of its draft, if it has one; one forward pass. `cut` follows drafts."""

    def cut(self, kept: Sequence[int]) -> None:
        """Keeps so many tokens of each row's draft and takes the rest back, also out of `greedy` and `logits`."""

    def keep(self, rows: Sequence[int]) -> None:
        """Leaves these rows, in this order; the others cost nothing from here on."""

    def prefix(self, row: int) -> Prefix:
        """What a session keeps of this row."""

    def join(self, others: SequenceBatch) -> bool:
        """Takes the rows of another flight of the same model behind its own; `others` is used up. False, and nothing is changed,
        where this model's cache cannot be laid side by side (a sliding window, linear attention)."""


class Model(Protocol):
    """A language model with its tokenizer."""

    @property
    def name(self) -> str:
        """As it was named by a person."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Its tokenizer."""

    @property
    def context(self) -> int:
        """The most positions it can read."""

    @property
    def card(self) -> Card | None:
        """The card of its adapter, if it has one."""

    @property
    def fingerprint(self) -> str:
        """A hash of the base's shape and embedding, which tells another base apart."""

    def start(self, prompts: Sequence[Sequence[int]], prefixes: Sequence[Prefix | None]) -> SequenceBatch:
        """Reads prompts of one or more ids each. A prefix that a prompt begins with is not read again.

        With one prompt its prefix is continued in place; with several, prefixes are copied.
        """

    def read_ahead(self, ids: Sequence[int], prefix: Prefix) -> None:
        """Reads one or more ids into `prefix`, which holds them afterwards; nothing is said. A part of a long prompt, read ahead."""

    def copied(self, prefix: Prefix, length: int) -> Prefix | None:
        """The first `length` ids of a prefix and what is kept of them, as a prefix of its own; None where a cache cannot be cut."""


@runtime_checkable
class SamplesItself(Protocol):
    """A model that chooses its tokens by itself (a server's): it is told how, and the loop takes what it says."""

    def sample_with(self, sampling: SamplingParams) -> SamplingParams:
        """Takes what is sampled with from now on; returns what is left for the loop to do."""
