"""One pass over all inputs: read, convert, examine for duplicates, count, write."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, islice
from typing import IO, Any

from agenttune import sources
from agenttune.data import doctor
from agenttune.data.convert_part import Part, Settings, line_of
from agenttune.data.convert_paths import Paths
from agenttune.data.convert_record import convert_chunk, reject_line
from agenttune.data.convert_report import COUNTED, ConvertReport, Detected, Event, FileReport, Finding, Progress, by_count, report_to_json
from agenttune.data.duplicates import Seen
from agenttune.data.workers import in_order
from agenttune.errors import Refusal, UserError
from agenttune.files import file_hash, replacing, write_text
from agenttune.sources import files

AUTO = "auto"
_PEEKED = 16  # records of a file that `auto` looks at
_CHUNK = 64  # records of one task
_CHUNK_BYTES = 1 << 20
_EXAMPLES = 20  # findings of one code in the report
Named = tuple[str, files.RawRecord]


class _NothingUsable(Exception):
    """Leaves the block that would have put the outputs in place."""


@dataclass(slots=True)
class Run:
    """One pass over all inputs, and what is counted on the way."""

    settings: Settings
    inputs: Sequence[files.Input]
    source: str
    events: Callable[[Event], None]
    counts: Counter[str] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)
    detected: list[Detected] = field(default_factory=list)
    examples: list[Finding] = field(default_factory=list)
    contents: Seen = field(default_factory=Seen)
    ids: Seen = field(default_factory=Seen)

    def checked(self, report: ConvertReport, workers: int) -> ConvertReport:
        """Reads and examines everything, writes nothing."""
        for record, parts in self._records(workers):
            self._count(record, parts)
        return self._filled(report)

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
                write_text(paths.report, _json_text(report))
        return report

    def _outputs(self, report: ConvertReport, workers: int, paths: Paths, rejects: IO[bytes], findings: IO[bytes]) -> ConvertReport:
        named = {"": paths.out, **paths.splits}
        with ExitStack() as stack:
            out = {name: _Output(stack.enter_context(replacing(path, "wb"))) for name, path in named.items()}
            for record, parts in self._records(workers):
                self._count(record, parts)
                for number, part in enumerate(parts, 1):
                    if part.refusal is not None:
                        first = all(one.refusal is None for one in parts[: number - 1])
                        rejects.write(reject_line(record, part, number if len(parts) > 1 else 0, whole=first))
                    else:
                        out[part.split].write(part.line)
                    findings.writelines(line_of(asdict(one)) for one in part.findings)
            if not self.counts["samples"]:
                raise _NothingUsable
            outputs = tuple(one.report(str(named[name])) for name, one in out.items())
            report = replace(self._filled(report), outputs=outputs)
            write_text(paths.report, _json_text(report))
        return report

    def _records(self, workers: int) -> Iterator[tuple[files.RawRecord, list[Part]]]:
        """Each raw record with its parts, duplicates marked, in the order of the input."""
        total, done = files.size_of(self.inputs), 0
        number = 0
        for chunk, made in in_order(convert_chunk, self.settings, _chunks(self._named()), workers):
            for (_, record), parts in zip(chunk, made, strict=True):
                for part in parts:
                    number += 1
                    self._duplicates(record, part, number)
                done += len(record.raw) + 1
                yield record, parts
            progress = (self.counts["records"], self.counts["samples"], self.counts["rejects"])
            self.events(Progress(records=progress[0], samples=progress[1], rejects=progress[2], bytes_done=done, bytes_total=total))

    def _named(self) -> Iterator[Named]:
        """Every raw record with the name of the source that reads it."""
        for one in self.inputs:
            records = files.read(one)
            name = self.source
            if name == AUTO:
                peeked = list(islice(records, _PEEKED))
                records = chain(peeked, records)
                name = self._detect(one, peeked)
            for record in records:
                self.read[one.name] += 1
                yield name, record

    def _detect(self, one: files.Input, peeked: Sequence[files.RawRecord]) -> str:
        values = []
        for record in peeked:
            try:
                values.append(files.parse(record))
            except Refusal:
                continue  # it is counted when its turn comes
        if not values:
            return "trajectory" if not peeked else self._unknown(one, "none of its first records can be read")
        try:
            name, reason = sources.detect_among(values)
        except UserError as error:
            return self._unknown(one, str(error))
        self.detected.append(Detected(file=one.name, source=name, reason=reason))
        self.events(self.detected[-1])
        return name

    def _unknown(self, one: files.Input, why: str) -> str:
        raise UserError(f"cannot tell the source of {one.name}: {why}")

    def _duplicates(self, record: files.RawRecord, part: Part, number: int) -> None:
        if part.refusal is not None:
            return
        known = []
        if self.contents.first(part.digest, number) != number:
            known.append(doctor.finding("duplicate_content", "an earlier record says and does the same"))
        if part.id:
            digest = hashlib.blake2b(part.id.encode("utf-8", "replace"), digest_size=16).digest()
            if self.ids.first(digest, number) != number:
                known.append(doctor.finding("duplicate_id", "an earlier record has the same id", part.id))
        part.findings += [replace(one, file=record.file, line=record.line, id=part.id) for one in known]
        grave = doctor.refusing(known, strict=self.settings.strict)
        if grave:
            part.refusal = Refusal(grave.code, grave.sentence, grave.excerpt)

    def _count(self, record: files.RawRecord, parts: Sequence[Part]) -> None:
        refused = [part for part in parts if part.refusal is not None]
        kind = "whole" if not refused else "refused" if len(refused) == len(parts) else "partly"
        self.counts["records"] += 1
        self.counts[kind] += 1
        self.counts["trajectories"] += len(parts)
        for part in parts:
            self._count_part(part)

    def _count_part(self, part: Part) -> None:
        counts = self.counts
        for name, count in zip(COUNTED, part.size, strict=True):
            counts[f"before:{name}"] += count
        for one in part.findings:
            counts[f"finding:{one.code}"] += 1
            if counts[f"finding:{one.code}"] <= _EXAMPLES:
                self.examples.append(one)
        if part.refusal is not None:
            counts["rejects"] += 1
            counts[f"reason:{part.refusal.code}"] += 1
            return
        counts["samples"] += 1
        counts[f"split:{part.split}"] += 1
        for name, count in zip(COUNTED, part.kept or part.size, strict=True):
            counts[f"after:{name}"] += count
        for name, count in part.changes.items():
            counts[f"change:{name}"] += count

    def _filled(self, report: ConvertReport) -> ConvertReport:
        counts = self.counts
        if not counts["records"]:
            raise UserError(f"{', '.join(one.name for one in self.inputs)} holds no record")
        assert counts["records"] == counts["whole"] + counts["partly"] + counts["refused"]
        assert counts["trajectories"] == counts["samples"] + counts["rejects"]
        return replace(
            report,
            sources=tuple(self.detected),
            inputs=tuple(self._input(one) for one in self.inputs),
            records=counts["records"],
            whole=counts["whole"],
            partly=counts["partly"],
            refused=counts["refused"],
            trajectories=counts["trajectories"],
            samples=counts["samples"],
            rejects=counts["rejects"],
            reasons=by_count(counts, "reason:"),
            before=_totals(counts, "before:"),
            after=_totals(counts, "after:"),
            changes=by_count(counts, "change:"),
            findings=by_count(counts, "finding:"),
            splits={name or "train": counts[f"split:{name}"] for name in ("", *(name for name, _ in self.settings.split))},
            examples=tuple(self.examples),
        )

    def _input(self, one: files.Input) -> FileReport:
        if one.path is None:
            return FileReport(name=one.name, records=self.read[one.name])
        return FileReport(name=one.name, records=self.read[one.name], bytes=one.path.stat().st_size, sha256=file_hash(one.path))


def _totals(counts: Counter[str], prefix: str) -> dict[str, int]:
    return {name: counts[prefix + name] for name in COUNTED}


def _json_text(report: ConvertReport) -> str:
    return json.dumps(report_to_json(report), ensure_ascii=True, indent=1) + "\n"


def _chunks(named: Iterator[Named]) -> Iterator[list[Named]]:
    """Records in lists of a bounded number and size."""
    chunk: list[Named] = []
    size = 0
    for one in named:
        chunk.append(one)
        size += len(one[1].raw)
        if len(chunk) >= _CHUNK or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


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
