"""Two runs over the same cases, pair by pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agenttune.errors import UserError
from agenttune.evaluation.evaluate import LABELS
from agenttune.evaluation.metrics import METRICS, TITLES, clusters_of, estimate, estimates_by_slice, slices, values_of
from agenttune.evaluation.run_folder import read_run
from agenttune.evaluation.stats import difference, mcnemar
from agenttune.values.case import Estimate, Score

# What two runs are compared for, and what follows from it. Anything else that differs is told.
SUBJECT = LABELS | {"key", "model", "fingerprint", "weights_hash", "adapter_hash", "prompts_hash"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedMetric:
    """One metric in one slice: both rates, the paired difference b − a with its 95 % interval, and exact McNemar p.

    `gained` cases are right in b alone, `lost` in a alone.
    """

    slice: str
    metric: str
    a: Estimate
    b: Estimate
    difference: float
    low: float
    high: float
    p: float
    gained: int = 0
    lost: int = 0

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, or ``undecided`` where the interval holds 0 or p is 0.05 or more."""
        if self.p >= 0.05 or self.low <= 0 <= self.high:
            return "undecided"
        return "better" if self.difference > 0 else "worse"

    @property
    def sentence(self) -> str:
        """The verdict in words, with its figures."""
        what = f"{TITLES[self.metric]} ({self.slice}, {self.a.n} cases)"
        figures = f"{100 * self.difference:+.0f} points, 95 % interval {100 * self.low:+.0f} to {100 * self.high:+.0f}, {p_text(self.p)}"
        if self.verdict == "undecided":
            return f"{what}: no difference is shown ({figures})"
        return f"{what}: the second run is {self.verdict} ({figures}; {self.gained} cases gained, {self.lost} lost)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Every pair, what was run, and baselines: name → (slice, metric) → rate."""

    a: dict[str, Any]
    b: dict[str, Any]
    pairs: tuple[PairedMetric, ...]
    baselines: dict[str, dict[tuple[str, str], Estimate]] = field(default_factory=dict)

    @property
    def differs(self) -> dict[str, tuple[Any, Any]]:
        """What is different beside model and adapter, where both runs say it."""
        return {
            name: (self.a[name], self.b[name])
            for name in sorted(self.a.keys() & self.b.keys() - SUBJECT)
            if name != "cases_hash" and self.a[name] != self.b[name]
        }


def p_text(p: float) -> str:
    """``p = 0.033``, ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def compare(run_a: Path, run_b: Path, *, baselines: Sequence[Path] = ()) -> Comparison:
    """Raises `UserError` where a run is missing or unfinished, or where the runs are over different cases."""
    (meta_a, scores_a), (meta_b, scores_b) = read_run(run_a), read_run(run_b)
    _same_cases((run_a, meta_a, scores_a), (run_b, meta_b, scores_b))
    by_case = {one.case: one for one in scores_b}
    pairs = [pair for name, part in slices(scores_a) for pair in _pairs(name, part, by_case)]
    extra = {path.name: _by_slice(read_run(path)[1]) for path in baselines}
    return Comparison(a=meta_a, b=meta_b, pairs=tuple(pairs), baselines=extra)


Run = tuple[Path, Mapping[str, Any], Sequence[Score]]


def _same_cases(a: Run, b: Run) -> None:
    reason = _difference(a, b)
    if reason:
        raise UserError(f"{a[0]} and {b[0]} cannot be compared, they are over different cases: {reason}")


def _difference(a: Run, b: Run) -> str:
    """How the cases of two runs differ; empty where they do not."""
    (path_a, meta_a, scores_a), (path_b, meta_b, scores_b) = a, b
    ids_a, ids_b = ({one.case for one in scores} for scores in (scores_a, scores_b))
    if ids_a != ids_b:
        only = [f"{len(ids - other)} are in {path} alone" for ids, other, path in ((ids_a, ids_b, path_a), (ids_b, ids_a, path_b))]
        return f"{meta_a.get('suite')} with {len(ids_a)} and {meta_b.get('suite')} with {len(ids_b)}; {', '.join(only)}"
    if meta_a.get("cases_hash") != meta_b.get("cases_hash"):
        return f"they have the same names, but what is asked or accepted in {meta_a.get('suite')} has changed between the runs"
    readers = ("protocol", "template", "fingerprint")  # where these are the same, so are the prompts of the same cases
    if all(meta_a.get(name) == meta_b.get(name) for name in readers) and meta_a.get("prompts_hash") != meta_b.get("prompts_hash"):
        return "the prompts have changed between the runs"
    return ""


def _pairs(name: str, part: Sequence[Score], by_case: Mapping[str, Score]) -> Iterator[PairedMetric]:
    for metric in METRICS:
        seen = values_of(part, metric)
        scores_a = [one for one, _ in seen]
        scores_b = [by_case[one.case] for one in scores_a]
        a, b = estimate(scores_a, metric), estimate(scores_b, metric)
        if a is None or b is None:
            continue
        left, right = [value for _, value in seen], [value for _, value in values_of(scores_b, metric)]
        gap, low, high = difference(left, right, clusters_of(scores_a))
        gained = sum(after and not before for before, after in zip(left, right, strict=True))
        lost = sum(before and not after for before, after in zip(left, right, strict=True))
        p = mcnemar(left, right)
        yield PairedMetric(slice=name, metric=metric, a=a, b=b, difference=gap, low=low, high=high, p=p, gained=gained, lost=lost)


def _by_slice(scores: Sequence[Score]) -> dict[tuple[str, str], Estimate]:
    return {(name, made.name): made for name, found in estimates_by_slice(scores).items() for made in found}
