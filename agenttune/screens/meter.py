"""What a conversation costs: a model that counts what it is given to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agenttune.models.base import Model, Prefix, Rows
from agenttune.values.adapter import Card
from agenttune.values.tokens import Tokenizer


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
        return Usage(
            rounds=self.rounds + other.rounds,
            steps=self.steps + other.steps,
            prompt=self.prompt + other.prompt,
            read=self.read + other.read,
            written=self.written + other.written,
            seconds=self.seconds + other.seconds,
        )

    def sentence(self) -> str:
        """For a person."""
        steps = f"{self.steps} step{'' if self.steps == 1 else 's'}"
        cached = f"{self.read:,} of {self.prompt:,} prompt tokens read, the others were in the prefix cache"
        return f"{steps}, {cached}, {self.written:,} written, {self.seconds:.1f} s"


class CountingModel:
    """A model as it is, with counts of prompt tokens and of those that were read."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.prompt = 0
        self.read = 0

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

    def start(self, prompts: Sequence[Sequence[int]], prefixes: Sequence[Prefix | None]) -> Rows:
        """See `Model.start`."""
        rows = self._model.start(prompts, prefixes)
        self.prompt += sum(map(len, prompts))
        self.read += sum(one.tokens for one in rows.prefill)
        return rows
