"""Judgements to estimates: by metric, by slice, each with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from agenttune.evaluation.stats import proportion
from agenttune.values.case import Estimate, Report, Score

METRICS = ("valid", "tool", "call", "abstained")
TITLES = {"valid": "well-formed", "tool": "tool", "call": "full call", "abstained": "abstention"}
ENGLISH = "en"
Slices = Iterator[tuple[str, list[Score]]]


def values_of(scores: Sequence[Score], metric: str) -> list[tuple[Score, bool]]:
    """The cases a metric speaks of, with its value."""
    return [(one, bool(getattr(one, metric))) for one in scores if getattr(one, metric) is not None]


def clusters_of(scores: Sequence[Score]) -> list[list[str]]:
    """Cluster labels, one list a way of clustering; a case without a label is a cluster of its own."""
    ways = max((len(one.clusters) for one in scores), default=0)
    return [[one.clusters[way] if way < len(one.clusters) else one.case for one in scores] for way in range(ways)]


def slices(scores: Sequence[Score]) -> Slices:
    """Named slices, by tags: ``all``; each ``half`` and what is inside it; each ``lang`` but English.

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
    """One metric over these cases, or None where it speaks of none."""
    seen = values_of(scores, metric)
    if not seen:
        return None
    clusters = clusters_of([one for one, _ in seen])
    mean, low, high = proportion([value for _, value in seen], clusters)
    return Estimate(name=metric, value=mean, low=low, high=high, n=len(seen), clusters=len(set(clusters[0])) if clusters else len(seen))


def estimates_by_slice(scores: Sequence[Score]) -> dict[str, tuple[Estimate, ...]]:
    """Every metric that speaks of a case, in every slice."""
    return {name: made for name, part in slices(scores) if (made := tuple(filter(None, (estimate(part, metric) for metric in METRICS))))}


def report(suite: str, scores: Sequence[Score], meta: dict[str, Any]) -> Report:
    """Every metric in every slice, and in ``meta`` how often each reason was given."""
    reasons: dict[str, int] = {}
    for one in scores:
        reasons[one.reason] = reasons.get(one.reason, 0) + 1
    return Report(
        suite=suite,
        estimates=estimates_by_slice(scores),
        meta={**meta, "reasons": dict(sorted(reasons.items(), key=lambda item: -item[1]))},
    )
