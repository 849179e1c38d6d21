"""Judgements to rates: by metric, by slice, each with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from agenttune.evaluation.stats import share
from agenttune.values.case import Rate, Report, Score

METRICS = ("valid", "tool", "call", "abstained")
TITLES = {"valid": "well-formed", "tool": "tool", "call": "full call", "abstained": "abstention"}


def values_of(scores: Sequence[Score], metric: str) -> list[tuple[Score, bool]]:
    """The cases a metric speaks of, with its value."""
    return [(one, bool(getattr(one, metric))) for one in scores if getattr(one, metric) is not None]


def clusters_of(scores: Sequence[Score]) -> list[list[str]]:
    """Cluster labels, one list a way of clustering."""
    ways = max((len(one.clusters) for one in scores), default=0)
    return [[one.clusters[way] if way < len(one.clusters) else one.case for one in scores] for way in range(ways)]


def slices(scores: Sequence[Score]) -> Iterator[tuple[str, list[Score]]]:
    """Named parts: all; for suites with halves, each half in English, each difficulty in it, and the other languages together apart."""
    yield "all", list(scores)
    halves = sorted({one.tags["half"] for one in scores if "half" in one.tags})
    english = [one for one in scores if one.tags.get("lang", "en") == "en"]
    for half in halves:
        yield half, [one for one in english if one.tags.get("half") == half]
    for half in halves:
        for level in sorted({one.tags["difficulty"] for one in english if one.tags.get("half") == half and "difficulty" in one.tags}):
            yield f"{half}, {level}", [one for one in english if one.tags.get("half") == half and one.tags.get("difficulty") == level]
    for language in sorted({one.tags["lang"] for one in scores if one.tags.get("lang", "en") != "en"}):
        yield language, [one for one in scores if one.tags.get("lang") == language]


def rate(scores: Sequence[Score], metric: str) -> Rate | None:
    """One metric over these cases, or None where it speaks of none."""
    seen = values_of(scores, metric)
    if not seen:
        return None
    clusters = clusters_of([one for one, _ in seen])
    mean, low, high = share([value for _, value in seen], clusters)
    return Rate(name=metric, value=mean, low=low, high=high, n=len(seen), clusters=len(set(clusters[0])) if clusters else len(seen))


def report(suite: str, scores: Sequence[Score], meta: dict[str, Any]) -> Report:
    """Every metric in every slice."""
    found = {}
    for name, part in slices(scores):
        rates = tuple(made for made in (rate(part, metric) for metric in METRICS) if made is not None)
        if rates:
            found[name] = rates
    reasons: dict[str, int] = {}
    for one in scores:
        reasons[one.reason] = reasons.get(one.reason, 0) + 1
    return Report(suite=suite, rates=found, meta={**meta, "reasons": dict(sorted(reasons.items(), key=lambda item: -item[1]))})
