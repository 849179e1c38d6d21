"""The files that a conversion writes: samples, refusals and findings, put in place together or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from agenttune.data.convert.converted import Converted, id_of, line_of
from agenttune.data.convert.paths import Paths
from agenttune.data.convert.report import FileReport
from agenttune.errors import Refusal
from agenttune.files import replacing
from agenttune.sources.reading.records import RawRecord, record_of


class OutputFile:
    """A file of samples under way, counted and hashed as it is written."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._file = file
        self._records = self._bytes = 0
        self._digest = hashlib.sha256()

    def write(self, line: bytes) -> None:
        """One sample."""
        self._file.write(line)
        self._digest.update(line)
        self._records += 1
        self._bytes += len(line)

    def report(self) -> FileReport:
        """What was written so far."""
        return FileReport(name=str(self._path), records=self._records, bytes=self._bytes, sha256=self._digest.hexdigest())


class OutputFiles:
    """Samples by split, refusals, findings. Of a check, findings only; without paths nothing."""

    def __init__(
        self, samples: Mapping[str, OutputFile], rejects: IO[bytes] | None, findings: IO[bytes] | None, report: IO[bytes] | None
    ) -> None:
        self.discarded = False
        self._samples = samples
        self._rejects = rejects
        self._findings = findings
        self._report = report

    def write(self, record: RawRecord, made: Sequence[Converted]) -> None:
        """All that was made of one record."""
        for number, one in enumerate(made, 1):
            if one.refusal is None:
                if self._samples:
                    self._samples[one.split].write(one.line)
            elif self._rejects:
                first = all(earlier.refusal is None for earlier in made[: number - 1])
                self._rejects.write(reject_line(record, one, number if len(made) > 1 else 0, whole=first))
            if self._findings and one.findings:
                self._findings.writelines(line_of(asdict(found)) for found in one.findings)

    def tell(self, report: str) -> None:
        """The report's text. It is put in place after all else."""
        if self._report:
            self._report.write(report.encode("utf-8"))

    def discard(self) -> None:
        """No file of samples is put in place: none of them is usable."""
        self.discarded = True

    def reports(self) -> tuple[FileReport, ...]:
        """The files of samples that are put in place."""
        return () if self.discarded else tuple(one.report() for one in self._samples.values())


class _Discarded(Exception):
    """Leaves the block that would have put the samples in place."""


@contextlib.contextmanager
def output_files(paths: Paths | None, *, check: bool) -> Iterator[OutputFiles]:
    """The files of one conversion, put in place when the block ends without an exception; of a check only findings and report.

    The report of an earlier run goes before anything is put in place, and this run's comes last, so that no report ever stands beside
    outputs that it does not tell of: not where nothing is usable, and not where this is killed at the worst moment.
    """
    with ExitStack() as rest:
        report = rest.enter_context(replacing(paths.report, "wb")) if paths else None
        findings = rest.enter_context(replacing(paths.findings, "wb")) if paths else None
        rejects = rest.enter_context(replacing(paths.rejects, "wb")) if paths and not check else None
        named = {"": paths.out, **paths.splits} if paths and not check else {}
        with contextlib.suppress(_Discarded), ExitStack() as stack:
            samples = {name: OutputFile(path, stack.enter_context(replacing(path, "wb"))) for name, path in named.items()}
            output = OutputFiles(samples, rejects, findings, report)
            yield output
            for path in list(paths.outdated(samples=bool(samples) and not output.discarded)) if paths else ():
                path.unlink(missing_ok=True)
            if output.discarded:
                raise _Discarded


def reject_line(record: RawRecord, one: Converted, number: int, *, whole: bool) -> bytes:
    """One line of ``OUT.rejects.jsonl``. `number` counts the conversations of the record; the record itself stands in its first reject."""
    assert one.refusal is not None
    value: dict[str, Any] = {
        "file": record.file,
        "line": record.line,
        "id": one.id or id_of(record),
        "code": one.refusal.code,
        "sentence": one.refusal.sentence,
        "excerpt": one.refusal.excerpt,
    }
    if number:
        value["part"] = number
    kept = record_of(record) if whole else None
    try:
        return line_of({**value, "record": kept})
    except (Refusal, RecursionError):  # the record itself is what JSON cannot hold: its text can be escaped
        text = kept if isinstance(kept, str) else repr(kept)
        return json.dumps({**value, "record": text}, separators=(",", ":")).encode("ascii") + b"\n"
