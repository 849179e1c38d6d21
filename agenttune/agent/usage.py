"""What a conversation costs: a model that counts what it is given to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from agenttune.models.base import Model, Prefill, Prefix, SequenceBatch
from agenttune.values.adapter import Card
from agenttune.values.tokens import Tokenizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Counts of tokens: `prompt` in all prompts, `read` of them computed (the rest came from the prefix cache), `written` by the model."""

    rounds: int = 0
    steps: int = 0
    prompt: int = 0
    read: int = 0
    written: int = 0
    seconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(Usage)})

    def __sub__(self, other: Usage) -> Usage:
        return Usage(**{one.name: getattr(self, one.name) - getattr(other, one.name) for one in fields(Usage)})

    def sentence(self) -> str:
        """For a person."""
        steps = f"{self.steps} step{'' if self.steps == 1 else 's'}"
        cached = f"{self.prompt:,} prompt tokens ({self.prompt - self.read:,} from the prefix cache)"
        return f"{steps}, {cached}, {self.written:,} written, {self.seconds:.1f} s"


class CountingModel:
    """A model as it is, with counts of prompt tokens, of those that were read, and of tokens it wrote (an unfinished step's too)."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.prompt = 0
        self.read = 0
        self.written = 0
        self.filled = 0  # tokens of the newest prompt and what was written to it: so much of the context is used

    def usage(self) -> Usage:
        """What was counted so far."""
        return Usage(prompt=self.prompt, read=self.read, written=self.written)

    @property
    def name(self) -> str:
        """See `Model.name`."""
        return self._model.name

    @property
    def tokenizer(self) -> Tokenizer:
        """See `Model.tokenizer`."""
        return self._model.tokenizer

    @property
    def context(self) -> int:
        """See `Model.context`."""
        return self._model.context

    @property
    def card(self) -> Card | None:
        """See `Model.card`."""
        return self._model.card

    @property
    def fingerprint(self) -> str:
        """See `Model.fingerprint`."""
        return self._model.fingerprint

    def start(self, prompts: Sequence[Sequence[int]], prefixes: Sequence[Prefix | None]) -> SequenceBatch:
        """See `Model.start`."""
        rows = self._model.start(prompts, prefixes)
        self.prompt += sum(map(len, prompts))
        self.filled = len(prompts[-1])
        self.read += sum(one.tokens for one in rows.prefill)
        return CountingRows(rows, self)

    def read_ahead(self, ids: Sequence[int], prefix: Prefix) -> None:
        """See `Model.read_ahead`."""
        self.read += len(ids) - len(prefix.ids)
        self._model.read_ahead(ids, prefix)

    def copied(self, prefix: Prefix, length: int) -> Prefix | None:
        """See `Model.copied`."""
        return self._model.copied(prefix, length)


class CountingRows:
    """Rows as they are; their model counts what is written."""

    def __init__(self, rows: SequenceBatch, model: CountingModel) -> None:
        self._rows, self._model = rows, model

    @property
    def prefill(self) -> tuple[Prefill, ...]:
        """See `SequenceBatch.prefill`."""
        return self._rows.prefill

    def greedy(self) -> list[int]:
        """See `SequenceBatch.greedy`."""
        return self._rows.greedy()

    def logits(self) -> NDArray[np.float32]:
        """See `SequenceBatch.logits`."""
        return self._rows.logits()

    @property
    def drafts(self) -> bool:
        """See `SequenceBatch.drafts`."""
        return self._rows.drafts

    def advance(self, tokens: Sequence[int], drafts: Sequence[Sequence[int]] | None = None) -> None:
        """See `SequenceBatch.advance`."""
        self._model.written += len(tokens)
        self._model.filled += 1
        self._rows.advance(tokens, drafts)

    def cut(self, kept: Sequence[int]) -> None:
        """See `SequenceBatch.cut`."""
        self._model.written += sum(kept)
        self._model.filled += max(kept)
        self._rows.cut(kept)

    def keep(self, rows: Sequence[int]) -> None:
        """See `SequenceBatch.keep`."""
        self._rows.keep(rows)

    def prefix(self, row: int) -> Prefix:
        """See `SequenceBatch.prefix`."""
        return self._rows.prefix(row)

    def join(self, others: SequenceBatch) -> bool:
        """See `SequenceBatch.join`."""
        assert isinstance(others, CountingRows)
        return self._rows.join(others._rows)
