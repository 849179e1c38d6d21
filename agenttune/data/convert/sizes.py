"""How large things are and how often names come, in memory that does not grow with the data: what a report's pictures are drawn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from agenttune.values.trajectory import Json

_EXACT = 32  # smaller sizes have a bucket each
_NAMES = 20_000  # names that are told apart
_LETTERS = 200  # of a name
_LARGEST = 1 << 62  # a size beyond it is nobody's
OTHERS = "(other names)"


def bucket(size: int) -> int:
    """The number of a size's bucket: the size itself below 32, then sixteen buckets for each doubling."""
    if size < _EXACT:
        return max(size, 0)
    shift = size.bit_length() - 5
    return _EXACT + 16 * (shift - 1) + (size >> shift) - 16


def least_of(number: int) -> int:
    """The smallest size in a bucket: ``least_of(bucket(size)) <= size < least_of(bucket(size) + 1)``."""
    if number < _EXACT:
        return number
    octave, place = divmod(number - _EXACT, 16)
    return (16 + place) << (octave + 1)


@dataclass(slots=True)
class Sizes:
    """Sizes seen: how many, the least, the most and the sum exactly, the rest by bucket."""

    count: int = 0
    least: int = 0
    most: int = 0
    sum: int = 0
    buckets: Counter[int] = field(default_factory=Counter)

    def add(self, size: int) -> None:
        """One more."""
        self.least = size if not self.count else min(self.least, size)
        self.most = max(self.most, size)
        self.count += 1
        self.sum += size
        self.buckets[bucket(size)] += 1

    def update(self, other: Sizes) -> None:
        """All of another's."""
        if other.count:
            self.least = other.least if not self.count else min(self.least, other.least)
        self.most = max(self.most, other.most)
        self.count += other.count
        self.sum += other.sum
        self.buckets.update(other.buckets)

    def below(self, share: float) -> int:
        """A size that `share` of all do not exceed: the upper end of the bucket in which that share is reached."""
        reached = 0
        for number in sorted(self.buckets):
            reached += self.buckets[number]
            if reached >= share * self.count:
                return min(least_of(number + 1) - 1, self.most)
        return self.most

    def to_json(self) -> dict[str, Json]:
        """``{"count", "least", "most", "sum", "buckets": {smallest size: count}}``."""
        buckets = {str(least_of(number)): self.buckets[number] for number in sorted(self.buckets)}
        return {"count": self.count, "least": self.least, "most": self.most, "sum": self.sum, "buckets": buckets}

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Sizes:
        """The inverse of `to_json`. Raises KeyError, TypeError, ValueError or AttributeError for anything else."""
        buckets = Counter({bucket(int(size)): int(count) for size, count in value["buckets"].items()})
        made = cls(int(value["count"]), int(value["least"]), int(value["most"]), int(value["sum"]), buckets)
        if not made._adds_up():
            raise ValueError("sizes that do not add up")
        return made

    def _adds_up(self) -> bool:
        """Whether the buckets hold as many as there are, between the least and the most."""
        whole = 0 <= self.least <= self.most <= _LARGEST and self.count * self.least <= self.sum <= self.count * self.most
        counted = sum(self.buckets.values()) == self.count and all(count > 0 for count in self.buckets.values())
        return whole and counted and all(bucket(self.least) <= number <= bucket(self.most) for number in self.buckets)


@dataclass(slots=True)
class Names:
    """How often each name came. Once 20,000 are known, new ones are counted together."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, count: int = 1) -> None:
        """A name that came `count` times more."""
        name = name[:_LETTERS]
        known = name in self.counts or len(self.counts) < _NAMES
        self.counts[name if known else OTHERS] += count

    def ranked(self) -> dict[str, int]:
        """The most frequent first, names of equal counts in order."""
        return dict(sorted(self.counts.items(), key=lambda item: (-item[1], item[0])))
