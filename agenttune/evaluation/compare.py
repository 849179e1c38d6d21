"""Two runs over the same cases, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agenttune.errors import UserError
from agenttune.evaluation.rates import METRICS, clusters_of, rate, slices, values_of
from agenttune.evaluation.run_files import read_run
from agenttune.evaluation.stats import difference, mcnemar
from agenttune.values.case import Rate, Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One metric in one slice: both rates, the paired difference b − a with its 95 % interval, and exact McNemar p."""

    slice: str
    metric: str
    a: Rate
    b: Rate
    difference: float
    low: float
    high: float
    p: float

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, or ``undecided`` where the interval holds 0."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Every pair, what was run, and baselines: name → (slice, metric) → rate."""

    a: dict[str, Any]
    b: dict[str, Any]
    pairs: tuple[Pair, ...]
    baselines: dict[str, dict[tuple[str, str], Rate]] = field(default_factory=dict)


def compare(run_a: Path, run_b: Path, *, baselines: Sequence[Path] = ()) -> Comparison:
    """Raises `UserError` where a run is missing or unfinished, or where the runs are over different cases."""
    (meta_a, scores_a), (meta_b, scores_b) = read_run(run_a), read_run(run_b)
    if meta_a.get("cases_hash") != meta_b.get("cases_hash"):
        raise UserError(
            f"the runs are over different cases: {run_a} has {meta_a.get('cases')} of {meta_a.get('suite')}, "
            f"{run_b} has {meta_b.get('cases')} of {meta_b.get('suite')}, or they speak another protocol"
        )
    by_case = {one.case: one for one in scores_b}
    ordered_b = [by_case[one.case] for one in scores_a]
    pairs = [pair for name, part in slices(scores_a) for pair in _pairs(name, part, by_case)]
    extra = {path.name: _rates(read_run(path)[1]) for path in baselines}
    assert len(ordered_b) == len(scores_a)
    return Comparison(a=meta_a, b=meta_b, pairs=tuple(pairs), baselines=extra)


def _pairs(name: str, part: Sequence[Score], by_case: dict[str, Score]) -> list[Pair]:
    found = []
    for metric in METRICS:
        seen = values_of(part, metric)
        scores_a = [one for one, _ in seen]
        scores_b = [by_case[one.case] for one in scores_a]
        a, b = rate(scores_a, metric), rate(scores_b, metric)
        if a is None or b is None:
            continue
        left, right = [value for _, value in seen], [value for _, value in values_of(scores_b, metric)]
        gap, low, high = difference(left, right, clusters_of(scores_a))
        found.append(Pair(slice=name, metric=metric, a=a, b=b, difference=gap, low=low, high=high, p=mcnemar(left, right)))
    return found


def _rates(scores: Sequence[Score]) -> dict[tuple[str, str], Rate]:
    return {(name, metric): made for name, part in slices(scores) for metric in METRICS if (made := rate(part, metric)) is not None}
