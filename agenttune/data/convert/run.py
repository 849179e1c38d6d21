"""Raw records of any source to samples: streaming, in order, with an account in which everything that came in is found again.

Written beside ``OUT.jsonl``: ``OUT.rejects.jsonl`` (one line for each refusal), ``OUT.findings.jsonl`` (what the checks found),
``OUT.report.json`` (the account; `screens.report.page` makes a page of it) and, with a split, ``OUT.<name>.jsonl``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from agenttune import sources
from agenttune.data.convert.account import MAIN, Account
from agenttune.data.convert.converted import Converted
from agenttune.data.convert.duplicates import Duplicates
from agenttune.data.convert.inputs import AUTO, NamedRecord, NamedRecords
from agenttune.data.convert.options import SAMPLE, ConvertOptions, refuse_options
from agenttune.data.convert.output import output_files
from agenttune.data.convert.paths import Paths, job_key
from agenttune.data.convert.record import convert_chunk
from agenttune.data.convert.report import ConvertEvent, ConvertReport, Progress, json_text
from agenttune.data.convert.workers import in_order
from agenttune.errors import UserError
from agenttune.sources.reading import files
from agenttune.sources.reading.records import RawRecord

_CHUNK = 256  # records of one task
_CHUNK_BYTES = 1 << 20
_PATIENCE = 1.0  # seconds after which a chunk goes as it is
_DEFAULTS = ConvertOptions()
OnEvent = Callable[[ConvertEvent], None]


def convert(
    source: str,
    inputs: Sequence[str],
    out: str | None = None,
    *,
    options: ConvertOptions = _DEFAULTS,
    events: OnEvent = lambda event: None,
) -> ConvertReport:
    """Converts and writes, or with ``options.check`` only reports: then `out` may be None, and nothing is written at all.

    `source` is a source's name or ``auto``; `inputs` are files, folders, globs, ``-`` or ``hf:org/name``. Raises `UserError` for a missing
    or empty input, for options that do not go together, and for an output that is an input or exists and is not this same job's own,
    unless ``options.overwrite``.

        report = convert("msagent", ["logs.jsonl"], "samples.jsonl", options=ConvertOptions(strict=True, split={"dev": 0.05}))
        print(report.samples, report.reasons)
    """
    found = files.expand(inputs)
    refuse_options(options, source, found)
    if source != AUTO:
        sources.get(source)
    if out is None and not options.check:
        raise UserError("name the file to write with -o OUT.jsonl (only --check goes without)")
    paths = Paths.beside(out, options.split) if out is not None else None
    blank = _blank_report(source, paths, options, job_key(source, found, paths, options))
    if paths:
        (paths.refuse_check if options.check else paths.refuse)(found, blank.job, overwrite=options.overwrite)
    return _converted(blank, NamedRecords(found, source, options.shard, events), paths, options, events)


def _converted(blank: ConvertReport, records: NamedRecords, paths: Paths | None, options: ConvertOptions, events: OnEvent) -> ConvertReport:
    account = Account()
    with output_files(paths, check=options.check) as output:
        for record, made in _each_record(records, options, account, events):
            output.write(record, made)
        if not account.totals["records"] and not options.shard:
            raise UserError(f"{records.names()} holds no record")
        if not account.totals["samples"] and not options.shard:  # a shard's output is there even if it is empty: it is one of several
            output.discard()
        placed = replace(blank, sources=tuple(records.detected), inputs=records.reports(), outputs=output.reports())
        report = account.filled(placed, (MAIN, *options.split))
        output.tell(json_text(report))
    return report


def _each_record(
    records: NamedRecords, options: ConvertOptions, account: Account, events: OnEvent
) -> Iterator[tuple[RawRecord, list[Converted]]]:
    """Each raw record with all that was made of it, duplicates marked and all counted, in the order of the input."""
    totals, done = account.totals, 0
    with Duplicates(strict=options.strict) as duplicates:
        for chunk, (counted, made) in in_order(convert_chunk, options, _chunks(records), options.workers, _weight):
            account.merge(counted)
            for (_, record), conversations in zip(chunk, made, strict=True):
                marked = [duplicates.marked(record, one) for one in conversations]
                account.add(record, marked)
                done += len(record.raw) + 1
                yield record, marked
            events(
                Progress(
                    records=totals["records"],
                    samples=totals["samples"],
                    rejects=totals["rejects"],
                    bytes_done=done,
                    bytes_total=records.size(),
                )
            )


def _chunks(records: NamedRecords) -> Iterator[list[NamedRecord]]:
    """Records in lists of a bounded number and size, gathered no longer than a second: the next record that comes ends that."""
    chunk: list[NamedRecord] = []
    size, began = 0, time.monotonic()
    for one in records:
        chunk.append(one)
        size += len(one[1].raw)
        if len(chunk) >= _CHUNK or size >= _CHUNK_BYTES or time.monotonic() - began >= _PATIENCE:
            yield chunk
            chunk, size, began = [], 0, time.monotonic()
    if chunk:
        yield chunk


def _weight(chunk: Sequence[NamedRecord]) -> int:
    return sum(len(record.raw) for _, record in chunk)


def _blank_report(source: str, paths: Paths | None, options: ConvertOptions, job: str) -> ConvertReport:
    """The report before anything is counted."""
    return ConvertReport(
        out=str(paths.out) if paths else "",
        source=source,
        protocol="" if options.compat else options.protocol,
        to=options.compat or options.to,
        job=job,
        checked_only=options.check,
        unit="tokens" if options.measure else "characters" if options.to == SAMPLE else "bytes",
        shard=str(options.shard or ""),
        notes=_notes(options),
    )


def _notes(options: ConvertOptions) -> tuple[str, ...]:
    if options.measure is None:
        return ()
    limit = f"; more than {options.length:,} are too long" if options.length else ""
    return (f"tokens are those of {options.measure.name()}{limit}",)
