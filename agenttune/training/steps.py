"""Optimizer steps of a packing: how many there are, and what each holds over all ranks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agenttune.data.packing import Packing
from agenttune.training.corpus import Corpus

if TYPE_CHECKING:
    from transformers import TrainingArguments


class StepTotals:
    """Steps are counted from 1 over all epochs. Keeps the order of the newest epoch it was asked about."""

    def __init__(self, corpus: Corpus, packing: Packing, accumulation: int) -> None:
        self.corpus, self.packing, self.accumulation = corpus, packing, accumulation
        self.per_epoch = packing.steps(accumulation)
        self._epoch = -1
        self._orders: list[list[int]] = []

    def total(self, arguments: TrainingArguments) -> int:
        """Steps of the whole run, by the Trainer's rule: ``max_steps`` where it is set, else epochs."""
        if arguments.max_steps > 0:
            return int(arguments.max_steps)
        return math.ceil(float(arguments.num_train_epochs) * self.per_epoch)

    def packs(self, step: int) -> list[int]:
        """The Packs of a step, of all ranks."""
        epoch, place = divmod(step - 1, self.per_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            self._orders = [self.packing.order(epoch, rank) for rank in range(self.packing.world)]
        part = slice(place * self.accumulation, (place + 1) * self.accumulation)
        return [pack for order in self._orders for pack in order[part]]

    def totals(self, step: int) -> tuple[int, int, int, int]:
        """(samples, tokens, tokens computed, tokens supervised) of a step."""
        packs = self.packs(step)
        samples = [index for pack in packs for index in self.packing.packs[pack]]
        return (
            len(samples),
            sum(self.corpus.length(index) for index in samples),
            sum(self.packing.tokens[pack] for pack in packs),
            sum(self.corpus.supervised(index) for index in samples),
        )
