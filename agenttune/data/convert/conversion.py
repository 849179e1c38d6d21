"""One pass over all inputs: read, convert, examine for duplicates, count, write."""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, islice
from typing import IO, Any

from agenttune import sources
from agenttune.data.convert.account import Account
from agenttune.data.convert.converted import Part, Settings, line_of
from agenttune.data.convert.duplicates import Duplicates
from agenttune.data.convert.options import Shard
from agenttune.data.convert.paths import Paths
from agenttune.data.convert.record import convert_chunk, reject_line
from agenttune.data.convert.report import ConvertEvent, ConvertReport, Detected, FileReport, Progress, json_text
from agenttune.data.convert.workers import in_order
from agenttune.errors import Refusal, UserError
from agenttune.files import file_hash, replacing, write_text
from agenttune.sources.reading import files
from agenttune.sources.reading.records import RawRecord, parse

AUTO = "auto"
_PEEKED = 16  # records of a file that `auto` looks at
_CHUNK = 256  # records of one task
_CHUNK_BYTES = 1 << 20
_PATIENCE = 1.0  # seconds after which a chunk goes as it is
Named = tuple[str, RawRecord]


class _NothingUsable(Exception):
    """Leaves the block that would have put the outputs in place."""


@dataclass(slots=True)
class Run:
    """One pass over all inputs, or over one part of them, and what is counted on the way."""

    settings: Settings
    inputs: Sequence[files.Input]
    source: str
    events: Callable[[ConvertEvent], None]
    shard: Shard | None = None
    account: Account = field(default_factory=Account)
    read: Counter[str] = field(default_factory=Counter)
    detected: list[Detected] = field(default_factory=list)
    share: float = 1.0  # of the records, in this shard

    def checked(self, report: ConvertReport, workers: int, paths: Paths | None) -> ConvertReport:
        """Reads and examines everything; writes the findings and the account if there are paths for them."""
        with replacing(paths.findings, "wb") if paths else contextlib.nullcontext() as findings:
            for _, parts in self._records(workers):
                if findings:
                    findings.writelines(line_of(asdict(one)) for part in parts for one in part.findings)
            report = self._filled(report)
            if paths:
                write_text(paths.report, json_text(report))
        return report

    def written(self, report: ConvertReport, workers: int, paths: Paths) -> ConvertReport:
        """Writes everything, or, where nothing is usable, only the refusals and the account."""
        with replacing(paths.rejects, "wb") as rejects, replacing(paths.findings, "wb") as findings:
            try:
                report = self._outputs(report, workers, paths, rejects, findings)
            except _NothingUsable:
                report = self._filled(report)
                own = paths.job() == report.job  # what an earlier run of this job wrote is no longer true
                for path in (paths.out, *paths.splits.values()) if own else ():
                    path.unlink(missing_ok=True)
                write_text(paths.report, json_text(report))
        return report

    def _outputs(self, report: ConvertReport, workers: int, paths: Paths, rejects: IO[bytes], findings: IO[bytes]) -> ConvertReport:
        named = {"": paths.out, **paths.splits}
        with ExitStack() as stack:
            out = {name: _Output(stack.enter_context(replacing(path, "wb"))) for name, path in named.items()}
            for record, parts in self._records(workers):
                for number, part in enumerate(parts, 1):
                    if part.refusal is not None:
                        first = all(one.refusal is None for one in parts[: number - 1])
                        rejects.write(reject_line(record, part, number if len(parts) > 1 else 0, whole=first))
                    else:
                        out[part.split].write(part.line)
                    findings.writelines(line_of(asdict(one)) for one in part.findings)
            if not self.account.counts["samples"] and not self.shard:  # a shard's output is there even if it is empty: it is one of several
                raise _NothingUsable
            outputs = tuple(one.report(str(named[name])) for name, one in out.items())
            report = replace(self._filled(report), outputs=outputs)
            write_text(paths.report, json_text(report))
        return report

    def _records(self, workers: int) -> Iterator[tuple[RawRecord, list[Part]]]:
        """Each raw record with its parts, duplicates marked and all counted, in the order of the input."""
        chunks = _chunks(self._named())
        total, done = files.size_of(self.inputs), 0
        counts = self.account.counts
        with Duplicates(strict=self.settings.strict) as duplicates:
            for chunk, (tally, made) in in_order(convert_chunk, self.settings, chunks, workers, _weight):
                self.account.merge(tally)
                for (_, record), parts in zip(chunk, made, strict=True):
                    for part in parts:
                        duplicates.mark(record, part)
                    self.account.add(record, parts)
                    done += len(record.raw) + 1
                    yield record, parts
                told = (counts["records"], counts["samples"], counts["rejects"])
                whole = None if total is None else round(total * self.share)
                self.events(Progress(records=told[0], samples=told[1], rejects=told[2], bytes_done=done, bytes_total=whole))

    def _named(self) -> Iterator[Named]:
        """Every raw record of this run with the name of the source that reads it."""
        start, end = self._range()
        number = 0
        for one in self.inputs:
            records = files.read(one)
            name = self.source
            if name == AUTO:
                peeked = list(islice(records, _PEEKED))
                records = chain(peeked, records)
                name, problem = self._detect(one, peeked)
                records = (replace(record, problem=record.problem or problem) for record in records) if problem else records
            for record in records:
                if start <= number < end:
                    self.read[one.name] += 1
                    yield name, record
                number += 1
                if number >= end:
                    return

    def _range(self) -> tuple[int, float]:
        """The records of this run, from and to: all, or a shard's run of them, for which all are counted first."""
        if self.shard is None:
            return 0, math.inf
        count = sum(1 for one in self.inputs for _ in files.read(one))
        if not count:
            raise UserError(f"{', '.join(one.name for one in self.inputs)} holds no record")
        start, end = self.shard.range(count)
        self.share = (end - start) / count
        return start, end

    def _detect(self, one: files.Input, peeked: Sequence[RawRecord]) -> tuple[str, Refusal | None]:
        """The source of a file. Where none knows it, its records are refused, or, where there is no other file, this raises `UserError`."""
        values = []
        for record in peeked:
            try:
                values.append(parse(record))
            except Refusal:
                continue  # it is counted when its turn comes
        if not values:
            return ("trajectory", None) if not peeked else self._unknown(one, "none of its first records can be read")
        try:
            name, reason = sources.detect_among(values)
        except UserError as error:
            return self._unknown(one, str(error))
        self.detected.append(Detected(file=one.name, source=name, reason=reason))
        self.events(self.detected[-1])
        return name, None

    def _unknown(self, one: files.Input, why: str) -> tuple[str, Refusal]:
        if len(self.inputs) == 1:
            raise UserError(f"cannot tell the source of {one.name}: {why}")
        return "trajectory", Refusal("unknown_source", f"cannot tell the source of this file: {why}")

    def _filled(self, report: ConvertReport) -> ConvertReport:
        if not self.account.counts["records"] and not self.shard:
            raise UserError(f"{', '.join(one.name for one in self.inputs)} holds no record")
        report = replace(report, sources=tuple(self.detected), inputs=tuple(self._input(one) for one in self.inputs))
        return self.account.filled(report, [name for name, _ in self.settings.split])

    def _input(self, one: files.Input) -> FileReport:
        if one.path is None:
            return FileReport(name=one.name, records=self.read[one.name])
        return FileReport(name=one.name, records=self.read[one.name], bytes=one.path.stat().st_size, sha256=file_hash(one.path))


def _chunks(named: Iterator[Named]) -> Iterator[list[Named]]:
    """Records in lists of a bounded number and size, gathered no longer than a second: the next record that comes ends that."""
    chunk: list[Named] = []
    size, began = 0, time.monotonic()
    for one in named:
        chunk.append(one)
        size += len(one[1].raw)
        if len(chunk) >= _CHUNK or size >= _CHUNK_BYTES or time.monotonic() - began >= _PATIENCE:
            yield chunk
            chunk, size, began = [], 0, time.monotonic()
    if chunk:
        yield chunk


def _weight(chunk: Sequence[Named]) -> int:
    return sum(len(record.raw) for _, record in chunk)


@dataclass(slots=True)
class _Output:
    """A file under way, hashed as it is written."""

    file: IO[bytes]
    records: int = 0
    size: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def write(self, line: bytes) -> None:
        self.file.write(line)
        self.digest.update(line)
        self.records += 1
        self.size += len(line)

    def report(self, name: str) -> FileReport:
        return FileReport(name=name, records=self.records, bytes=self.size, sha256=self.digest.hexdigest())
