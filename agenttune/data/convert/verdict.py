"""What a conversion came to, in a few sentences that are read before any table: what is usable, what to look at, what was dropped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agenttune.data.convert.report import ConvertReport
from agenttune.data.quality.finding import NOTE, SEVERITY, in_words
from agenttune.values.counted import counted

_MANY = 0.01  # of the conversations: a finding that touches more stands in the first line
_SHOWN = 12  # names of what was dropped, of one kind
_MISSING = "system_missing"  # the change that a reader names where a record names a system text that it was not given


def verdict(report: ConvertReport) -> tuple[str, ...]:
    """The first line is the verdict: ``usable: 4,635 of 4,640; 6,062 calls; 5 rejected; look at: 177 empty answers``."""
    rejected = f"{report.rejects:,} rejected" if report.rejects else "none rejected"
    parts = [f"usable: {report.samples:,} of {report.trajectories:,}", counted(report.after.get("calls", 0), "call"), rejected]
    telling = list(_telling(report))
    parts += [f"look at: {', '.join(telling)}"] if telling else []
    return ("; ".join(parts), *_missing(report), *_dropped(report.dropped))


def _telling(report: ConvertReport) -> Iterator[str]:
    """Findings and refusals that touch more than one conversation in a hundred, the most frequent first."""
    least = _MANY * report.trajectories
    counts = dict(report.findings)
    for code, count in report.reasons.items():
        counts[code] = max(count, counts.get(code, 0))
    touched = {**report.reasons, **report.touched}
    for code, count in sorted(counts.items(), key=lambda item: -item[1]):
        if SEVERITY.get(code) != NOTE and max(touched.get(code, 0), report.reasons.get(code, 0)) > least:
            yield in_words(code, count)


def _missing(report: ConvertReport) -> Iterator[str]:
    count = report.changes.get(_MISSING, 0)
    if count:
        yield f"{counted(count, 'record names', 'records name')} a system text that was not given (--systems FILE)"


def _dropped(dropped: Mapping[str, int]) -> Iterator[str]:
    """``message fields dropped: text 371, apis 78``, a line for each kind."""
    kinds: dict[str, list[str]] = {}
    for name, count in dropped.items():
        kind, _, what = name.partition(": ")
        kinds.setdefault(kind, []).append(f"{what} {count:,}" if what else f"{count:,}")
    for kind, names in kinds.items():
        more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
        yield f"{kind.replace('_', ' ')}: {', '.join(names[:_SHOWN])}{more}"
