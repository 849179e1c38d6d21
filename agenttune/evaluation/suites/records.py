"""Cases from records of any source: each step of a conversation against its own gold, given the history before it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

from agenttune import protocols, sources
from agenttune.errors import Refusal
from agenttune.evaluation.suites.plugin import Reader
from agenttune.evaluation.suites.samples import cases_of
from agenttune.protocols.base import write
from agenttune.sources.base import ReadOptions
from agenttune.sources.reading.files import expand
from agenttune.sources.reading.files import read as read_file
from agenttune.sources.reading.records import RawRecord, parse
from agenttune.values.case import Case
from agenttune.values.trajectory import Reject, Trajectory


def reader(source: str) -> Reader:
    """`read` of one source."""
    return functools.partial(read, source=source)


def read(path: Path, protocol: str | None, *, source: str) -> Iterator[Case | Reject]:
    """The cases of a file in the format of `source` (a name of ``convert``), written under `protocol` (None: react)."""
    spoken = protocols.get(protocol or "react")
    names: set[str] = set()
    for raw in (record for place in expand([str(path)]) for record in read_file(place)):
        for one in _trajectories(raw, source):
            if isinstance(one, Refusal):
                yield _reject(raw, one)
                continue
            name = one.id if one.id and one.id not in names else f"{one.id or 'record'}@{raw.line}.{len(names)}"
            names.add(name)
            try:
                sample = write(one, spoken)
            except Refusal as refusal:
                yield _reject(raw, refusal)
                continue
            yield from cases_of(sample, name, spoken, path, raw.line)


def _trajectories(raw: RawRecord, source: str) -> Iterator[Trajectory | Refusal]:
    try:
        yield from sources.get(source).read(parse(raw), ReadOptions(file=raw.file, line=raw.line))
    except Refusal as refusal:
        yield refusal


def _reject(raw: RawRecord, refusal: Refusal) -> Reject:
    return Reject(file=raw.file, line=raw.line, code=refusal.code, sentence=refusal.sentence, record="", excerpt=refusal.excerpt)
