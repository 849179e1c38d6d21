"""Two runs over the same cases, pair by pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agenttune.errors import UserError
from agenttune.evaluation.evaluate import LABELS
from agenttune.evaluation.metrics import FEWER, clusters_of, counts_of, estimate, estimates_by_slice, metrics_of, slices, title
from agenttune.evaluation.run_folder import read_run
from agenttune.evaluation.stats import (
    difference,
    effective_size,
    holm,
    mcnemar,
    mean,
    minimum_detectable_effect,
    paired_bootstrap,
    sign_flip,
)
from agenttune.values.case import Estimate, Score

# What two runs are compared for, and what follows from it. Anything else that differs is told.
SUBJECT = LABELS | {"key", "model", "fingerprint", "weights_hash", "adapter_hash", "prompts_hash"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedMetric:
    """One metric in one slice: both estimates, the paired difference b − a with its 95 % interval, and the test's p.

    `low` to `high` is Bonett and Price's interval for shares of cases, `bootstrap` the cluster bootstrap's. `p` is McNemar's exact
    one, or a sign-flip test's for values that are not 0 or 1; `p_holm` is it after Holm's correction for its family: a metric's slices
    and all runs. `gained` cases are better in b, `lost` in a. `detectable` is the least difference that so many pairs, of which so
    many differ, show with 80 % power.
    """

    slice: str
    metric: str
    a: Estimate
    b: Estimate
    difference: float
    low: float
    high: float
    p: float
    p_holm: float | None = None
    bootstrap: tuple[float, float] = (-1.0, 1.0)
    gained: int = 0
    lost: int = 0
    detectable: float = 1.0

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, or ``undecided`` where the interval holds 0 or the corrected p is 0.05 or more."""
        if (self.p if self.p_holm is None else self.p_holm) >= 0.05 or self.low <= 0 <= self.high:
            return "undecided"
        return "better" if (self.difference > 0) != (self.metric in FEWER) else "worse"

    @property
    def sentence(self) -> str:
        """The verdict in words, with its figures."""
        what = f"{title(self.metric)} ({self.slice}, {self.a.n} cases)"
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
    return compare_runs(run_a, [run_b], baselines=baselines)[0]


def compare_runs(first: Path, others: Sequence[Path], *, baselines: Sequence[Path] = ()) -> list[Comparison]:
    """Each of the other runs against the first; p-values are corrected over them all. Raises `UserError` as `compare` does."""
    meta_a, scores_a = read_run(first)
    extra = {path.name: _by_slice(read_run(path)[1]) for path in baselines}
    found = []
    for path in others:
        meta_b, scores_b = read_run(path)
        _same_cases((first, meta_a, scores_a), (path, meta_b, scores_b))
        by_case = {one.case: one for one in scores_b}
        pairs = [pair for name, part in slices(scores_a) for pair in _pairs(name, part, by_case)]
        found.append(Comparison(a=meta_a, b=meta_b, pairs=tuple(pairs), baselines=extra))
    return _corrected(found)


def _corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """With Holm's correction: all cases and the slices are families of their own, one a metric, over all runs."""
    families: dict[tuple[str, bool], list[tuple[int, int]]] = {}
    for number, one in enumerate(comparisons):
        for at, pair in enumerate(one.pairs):
            families.setdefault((pair.metric, pair.slice == "all"), []).append((number, at))
    made = [list(one.pairs) for one in comparisons]
    for members in families.values():
        for (number, at), p in zip(members, holm([made[number][at].p for number, at in members]), strict=True):
            made[number][at] = replace(made[number][at], p_holm=p)
    return [replace(one, pairs=tuple(pairs)) for one, pairs in zip(comparisons, made, strict=True)]


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
    readers = ("protocol", "template", "fingerprint", "shots")  # where these are the same, so are the prompts of the same cases
    if all(meta_a.get(name) == meta_b.get(name) for name in readers) and meta_a.get("prompts_hash") != meta_b.get("prompts_hash"):
        return "the prompts have changed between the runs"
    return ""


def _pairs(name: str, part: Sequence[Score], by_case: Mapping[str, Score]) -> Iterator[PairedMetric]:
    for metric in metrics_of(name, part):
        seen = [(one, over) for one, over, under in counts_of(part, metric) if under == 1.0]
        other = {one.case: over for one, over, under in counts_of([by_case[one.case] for one, _ in seen], metric) if under == 1.0}
        both = [(one, left, other[one.case]) for one, left in seen if one.case in other]
        a = estimate([one for one, _, _ in both], metric)
        b = estimate([by_case[one.case] for one, _, _ in both], metric)
        if both and a is not None and b is not None:
            yield _paired(name, a, b, both)


def _paired(name: str, a: Estimate, b: Estimate, both: Sequence[tuple[Score, float, float]]) -> PairedMetric:
    left, right = [one for _, one, _ in both], [one for _, _, one in both]
    clusters = clusters_of([one for one, _, _ in both])
    labels = clusters[0] if clusters else ()
    more, less = sum(y > x for _, x, y in both), sum(x > y for _, x, y in both)
    gained, lost = (less, more) if a.name in FEWER else (more, less)
    _, *bootstrap = paired_bootstrap(left, right, labels)
    if {*left, *right} <= {0.0, 1.0}:
        booleans = [bool(one) for one in left], [bool(one) for one in right]
        gap, low, high = difference(*booleans, clusters)
        p = mcnemar(*booleans)
    else:
        gap, low, high = mean([y - x for x, y in zip(left, right, strict=True)], clusters)
        p = sign_flip(left, right, labels)
    size = effective_size([y - x for x, y in zip(left, right, strict=True)], clusters)
    return PairedMetric(
        slice=name,
        metric=a.name,
        a=a,
        b=b,
        difference=gap,
        low=low,
        high=high,
        p=p,
        bootstrap=(bootstrap[0], bootstrap[1]),
        gained=gained,
        lost=lost,
        detectable=minimum_detectable_effect(size, (gained + lost) / len(both)),
    )


def _by_slice(scores: Sequence[Score]) -> dict[tuple[str, str], Estimate]:
    return {(name, made.name): made for name, found in estimates_by_slice(scores).items() for made in found}
