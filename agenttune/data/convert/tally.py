"""What is counted where records are converted, a chunk at a time, so that the main process only adds sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from agenttune.data.convert.converted import Part
from agenttune.data.convert.report import COUNTED
from agenttune.data.convert.sizes import Sizes

BEFORE = tuple(f"before:{name}" for name in COUNTED)
AFTER = tuple(f"after:{name}" for name in COUNTED)


@dataclass(slots=True)
class Tally:
    """Sums of some samples: counts by name, changes by theirs, lengths and steps, and calls by tool in the order they came in."""

    counts: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    lengths: Sizes = field(default_factory=Sizes)
    steps: Sizes = field(default_factory=Sizes)
    tools: Counter[str] = field(default_factory=Counter)

    def record(self, parts: Sequence[Part]) -> None:
        """A record whose conversations are all samples, and stay so: their parts are marked as counted. Others are left alone."""
        if any(part.refusal is not None for part in parts):
            return
        counts = self.counts
        counts["records"] += 1
        counts["whole"] += 1
        counts["trajectories"] += len(parts)
        for part in parts:
            self.sample(part)
            part.counted = True

    def sample(self, part: Part) -> None:
        """A conversation that is written."""
        counts = self.counts
        counts["samples"] += 1
        counts[f"split:{part.split}"] += 1
        self.sizes(BEFORE, part.size)
        self.sizes(AFTER, part.kept or part.size)
        for changes, made in ((self.changes, part.changes), (self.tools, part.tools)):
            for name, count in made.items():
                changes[name] += count
        self.lengths.add(part.length)
        self.steps.add(part.steps)

    def sizes(self, keys: Sequence[str], size: tuple[int, int, int]) -> None:
        """Calls, observations and answers under these names."""
        for key, count in zip(keys, size, strict=True):
            self.counts[key] += count

    def __reduce__(self) -> tuple[Any, ...]:
        return Tally, tuple(getattr(self, one.name) for one in fields(self))
