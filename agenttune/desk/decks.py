"""Drawing in even shares: a deck is dealt to its end before it is shuffled again."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Deck(Generic[T]):
    """Items in random order, again and again."""

    def __init__(self, rng: random.Random, items: Sequence[T]) -> None:
        assert items
        self.rng = rng
        self.items = tuple(items)
        self.left: list[T] = []

    def draw(self, fits: Callable[[T], bool] = lambda item: True) -> T:
        """The next item that fits; the others keep their places. An assertion when none of all items fits."""
        for _ in range(2):
            for place, item in enumerate(self.left):
                if fits(item):
                    return self.left.pop(place)
            more = list(self.items)
            self.rng.shuffle(more)
            self.left += more
        raise AssertionError("no item of the deck fits")


def shares(rng: random.Random, weights: Mapping[str, float], size: int = 50) -> Deck[str]:
    """A deck of `size` names in shares as near to the weights as whole cards allow (largest remainder)."""
    whole = sum(weights.values())
    exact = {name: size * weight / whole for name, weight in weights.items()}
    counts = {name: int(value) for name, value in exact.items()}
    for name in sorted(exact, key=lambda one: counts[one] - exact[one])[: size - sum(counts.values())]:
        counts[name] += 1
    return Deck(rng, [name for name, count in counts.items() for _ in range(count)])
