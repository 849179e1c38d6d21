"""Judgements to estimates: by metric, by slice, each with its interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from agenttune.evaluation.stats import bootstrap_of, cluster_bootstrap, mean, pass_hat_k, proportion, wilson
from agenttune.values.case import Estimate, Report, Score

METRICS = ("valid", "tool", "call", "abstained")  # of every slice
# Over all cases alone: what is within the four, and what they leave out.
DETAILS = (
    "decision_f1", "called", "tool_if_called", "call_strict", "call_repaired", "argument_f1", "call_f1", "call_precision", "call_recall",
    "rouge_l", "invented_tool", "invented_argument", "wrong_type_argument", "success", "invented_observation", "recovered",
    "repeated_after_error", "needless_call", "excess_steps",
)  # fmt: skip
# The less of these the better.
FEWER = frozenset((
    "invented_tool", "invented_argument", "wrong_type_argument", "invented_observation", "repeated_after_error", "needless_call",
    "excess_steps",
))  # fmt: skip
UNBOUNDED = frozenset(("excess_steps",))  # no share: it may be above 1, and below 0
TITLES = {
    "valid": "well-formed",
    "tool": "tool",
    "call": "full call",
    "abstained": "abstention",
    "decision_f1": "decision F1",
    "called": "calls if due",
    "tool_if_called": "tool if called",
    "call_strict": "strict call",
    "call_repaired": "repaired call",
    "argument_f1": "argument F1",
    "call_f1": "call F1",
    "call_precision": "call precision",
    "call_recall": "call recall",
    "rouge_l": "ROUGE-L",
    "invented_tool": "invented tools",
    "invented_argument": "invented args",
    "wrong_type_argument": "args of a wrong type",
    "success": "success",
    "invented_observation": "invented results",
    "recovered": "errors recovered",
    "repeated_after_error": "errors repeated",
    "needless_call": "needless calls",
    "excess_steps": "excess steps",
}
ENGLISH = "en"
Slices = Iterator[tuple[str, list[Score]]]


def title(metric: str) -> str:
    """What a metric is called in tables; a suite's own keeps its name."""
    return TITLES.get(metric, metric.replace("_", " "))


def values_of(scores: Sequence[Score], metric: str) -> list[tuple[Score, bool]]:
    """The cases that one of `METRICS` speaks of, with its value."""
    return [(one, bool(getattr(one, metric))) for one in scores if getattr(one, metric) is not None]


def counts_of(scores: Sequence[Score], metric: str) -> list[tuple[Score, float, float]]:
    """The cases that a metric speaks of, each with its numerator and denominator."""
    if metric in METRICS:
        return [(one, float(value), 1.0) for one, value in values_of(scores, metric)]
    return [(one, *one.counts[metric]) for one in scores if metric in one.counts]


def clusters_of(scores: Sequence[Score]) -> list[list[str]]:
    """Cluster labels, one list a way of clustering; a case without a label is a cluster of its own."""
    ways = max((len(one.clusters) for one in scores), default=0)
    return [[one.clusters[way] if way < len(one.clusters) else one.case for one in scores] for way in range(ways)]


def slices(scores: Sequence[Score]) -> Slices:
    """Named slices, by tags: ``all``; each ``half`` and what is inside it; each ``category``; each ``lang`` but English.

    Inside are each ``difficulty``, each ``kind`` of case that expects no call, and each ``turn``. Where a suite has other
    languages too, all parts but ``all`` and the languages are English alone.
    """
    yield "all", list(scores)
    english = [one for one in scores if one.tags.get("lang", ENGLISH) == ENGLISH]
    halves = dict(_by(english, "half"))
    for half, part in halves.items():
        yield half, part
    for prefix, part in [(f"{half}, ", part) for half, part in halves.items()] or [("", english)]:
        yield from ((prefix + name, inside) for name, inside in _inside(part))
    yield from _several(scores, "category")
    yield from ((name, part) for name, part in _by(scores, "lang") if name != ENGLISH)


def _inside(scores: Sequence[Score]) -> Slices:
    yield from _several(scores, "difficulty")
    yield from _several([one for one in scores if one.abstained is not None], "kind")
    yield from _several(scores, "turn")


def _several(scores: Sequence[Score], tag: str) -> Slices:
    """The parts of a tag that tells cases apart: one part alone would only repeat the whole."""
    found = list(_by(scores, tag))
    if len(found) > 1:
        yield from found


def _by(scores: Sequence[Score], tag: str) -> Slices:
    for value in sorted({one.tags[tag] for one in scores if tag in one.tags}):
        yield value, [one for one in scores if one.tags.get(tag) == value]


def estimate(scores: Sequence[Score], metric: str) -> Estimate | None:
    """One metric over these cases, or None where it speaks of none.

    A share of cases has Wilson's interval at its effective size, a mean Student's, a ratio and a macro-F1 the cluster bootstrap's.
    """
    if metric == "decision_f1":
        return _decision_f1(scores)
    seen = counts_of(scores, metric)
    if not seen or not any(under for _, _, under in seen):
        return None
    clusters = clusters_of([one for one, _, _ in seen])
    values = [over for _, over, _ in seen]
    if any(under != 1.0 for _, _, under in seen):
        middle, low, high = cluster_bootstrap(values, [under for _, _, under in seen], clusters[0] if clusters else ())
    elif set(values) <= {0.0, 1.0}:
        middle, low, high = proportion([bool(value) for value in values], clusters)
    else:
        middle, low, high = mean(values, clusters)
    return _made(metric, (middle, low, high), len(seen), len(set(clusters[0])) if clusters else len(seen))


def _made(metric: str, found: tuple[float, float, float], n: int, clusters: int) -> Estimate:
    """An estimate within 0 and 1. Where nothing varies, as at 0 and 1, no width can be seen: then it is Wilson's over the clusters.

    One of `UNBOUNDED` stays as it is.
    """
    value, low, high = found
    if metric in UNBOUNDED:
        return Estimate(name=metric, value=value, low=low, high=high, n=n, clusters=clusters)
    if low == high:
        low, high = wilson(value * clusters, clusters)
    return Estimate(name=metric, value=value, low=max(0.0, low), high=min(1.0, high), n=n, clusters=clusters)


def _decision_f1(scores: Sequence[Score]) -> Estimate | None:
    """Macro-F1 of calling and answering, where both are due: what cannot be read is neither, and so wrong for either."""
    if not {True, False} <= {one.abstained is None for one in scores if one.outcome}:
        return None
    rows = [_decision(one) for one in scores]
    clusters = clusters_of(scores)
    found = bootstrap_of(rows, clusters[0] if clusters else (), _macro_f1)
    return _made("decision_f1", found, len(scores), len(set(clusters[0])) if clusters else len(scores))


def _decision(one: Score) -> tuple[float, ...]:
    """Of calls, then of answers: rightly made, made, due."""
    due_call, call, answer = one.abstained is None, one.outcome == "call_ok", one.outcome == "final"
    return tuple(map(float, (due_call and call, call, due_call, not due_call and answer, answer, not due_call)))


def _macro_f1(sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Of sums of `_decision`, one a row."""
    right, made, due = sums[:, 0::3], sums[:, 1::3], sums[:, 2::3]
    both = made + due
    f1: npt.NDArray[np.float64] = np.divide(2 * right, both, out=np.zeros_like(right), where=both > 0)
    return np.asarray(f1.mean(axis=1), dtype=np.float64)


def pass_hat(scores: Sequence[Score]) -> dict[str, Estimate]:
    """``pass^1``, ``pass^2``, … of repeated trials: the mean over tasks of the chance that so many trials of a task all succeed.

    A task is the first cluster of its trials, which carry the tag ``trial``; k goes to the fewest trials of a task. The interval is
    over tasks.
    """
    tasks: dict[str, list[bool]] = {}
    for one in scores:
        if "success" in one.counts and "trial" in one.tags:
            tasks.setdefault(one.clusters[0], []).append(bool(one.counts["success"][0]))
    found = {}
    for k in range(1, min(map(len, tasks.values()), default=0) + 1):
        values = mean([pass_hat_k(sum(trials), len(trials), k) for trials in tasks.values()])
        found[f"pass^{k}"] = _made(f"pass^{k}", values, len(scores), len(tasks))
    return found


def metrics_of(name: str, part: Sequence[Score]) -> tuple[str, ...]:
    """What is told of a slice: `METRICS` and a suite's own metrics; of ``all`` also `DETAILS`."""
    own = sorted({metric for one in part for metric in one.counts} - set(DETAILS))
    return (*METRICS, *(DETAILS if name == "all" else ()), *own)


def estimates_by_slice(scores: Sequence[Score]) -> dict[str, tuple[Estimate, ...]]:
    """`metrics_of` each slice; over all cases also pass^k."""
    found = {}
    for name, part in slices(scores):
        made = [one for metric in metrics_of(name, part) if (one := estimate(part, metric)) is not None]
        if name == "all":
            made += pass_hat(part).values()
        if made:
            found[name] = tuple(made)
    return found


def report(suite: str, scores: Sequence[Score], meta: dict[str, Any]) -> Report:
    """Every metric in every slice, and in ``meta`` how often each outcome and each reason was seen."""
    reasons, outcomes = Counter(one.reason for one in scores), Counter(one.outcome for one in scores if one.outcome)
    told = {"outcomes": dict(sorted(outcomes.items())), "reasons": dict(sorted(reasons.items(), key=lambda item: -item[1]))}
    written = sorted(one.tokens for one in scores if one.tokens)
    if written:
        told["output_tokens"] = {"sum": sum(written), "median": written[len(written) // 2], "p95": written[len(written) * 95 // 100]}
    return Report(suite=suite, estimates=estimates_by_slice(scores), meta={**meta, **told})
