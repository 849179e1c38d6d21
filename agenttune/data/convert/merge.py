"""The accounts of a corpus's shards as one account of the whole."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from agenttune.data.convert.account import Account, account_of
from agenttune.data.convert.paths import Paths
from agenttune.data.convert.report import ConvertReport, FileReport, json_text, report_from_json
from agenttune.errors import UserError
from agenttune.files import read_json, write_text

UNSEEN = "duplicates were looked for inside each shard; one that stands in two shards is not seen"


def read_report(name: str) -> ConvertReport:
    """The report in ``X.report.json``, or beside the output ``X.jsonl``. Raises `UserError`."""
    path = Path(name) if name.endswith(".json") else Path(name).with_suffix(".report.json")
    return report_from_json(read_json(path, "the report"), str(path))


def added(reports: Sequence[ConvertReport]) -> ConvertReport:
    """The account of a whole corpus out of those of its shards, in the order of the shards; one report alone comes back as it is.

    Raises `UserError` for reports that are no shards of one corpus under the same options, and for one shard twice. A shard that is
    missing is said in the notes.
    """
    if len(reports) == 1:
        return reports[0]
    reports = sorted(reports, key=_number)
    _refuse(reports)
    whole = Account()
    for one in reports:
        whole.merge(account_of(one))
    return replace(
        whole.filled(reports[0]),
        out="",
        job=hashlib.sha256("".join(one.job for one in reports).encode("utf-8", "surrogatepass")).hexdigest(),
        sources=tuple(dict.fromkeys(found for one in reports for found in one.sources)),
        inputs=tuple(_inputs(reports)),
        outputs=tuple(found for one in reports for found in one.outputs),
        shard="",
        shards=tuple(one.shard for one in reports),
        notes=(*dict.fromkeys(note for one in reports for note in one.notes), *_missing(reports), UNSEEN),
    )


def save_added(report: ConvertReport, out: str, *, overwrite: bool) -> ConvertReport:
    """Writes ``OUT.report.json``. Raises `UserError` where another report is there, unless `overwrite`."""
    paths = Paths.beside(out, [])
    if paths.report.exists() and not overwrite and paths.job() != report.job:
        raise UserError(f"{paths.report} exists and tells of something else; choose another name or say --overwrite")
    report = replace(report, out=str(paths.out))
    write_text(paths.report, json_text(report))
    return report


def _number(report: ConvertReport) -> int:
    if "/" not in report.shard:
        raise UserError(f"{report.out or 'a report'} is the whole of something and no shard; only shards add up")
    return int(report.shard.partition("/")[0])


def _refuse(reports: Sequence[ConvertReport]) -> None:
    first = reports[0]
    for one, after in itertools.pairwise(reports):
        if one.shard == after.shard:
            raise UserError(f"{one.out} and {after.out} are both the shard {one.shard}")
    for one in reports[1:]:
        if _kind(one) != _kind(first):
            raise UserError(f"{first.out} and {one.out} are no shards of the same inputs under the same options")


def _kind(report: ConvertReport) -> tuple[object, ...]:
    inputs = tuple((one.bytes, one.sha256) if one.sha256 else one.name for one in report.inputs)
    return (inputs, report.source, report.protocol, report.to, report.unit, report.checked_only, report.shard.partition("/")[2])


def _missing(reports: Sequence[ConvertReport]) -> Iterator[str]:
    of = int(reports[0].shard.partition("/")[2])
    there = {_number(one) for one in reports}
    missing = [f"{number}/{of}" for number in range(1, of + 1) if number not in there]
    if missing:
        yield f"not the whole corpus: the report of shard {', '.join(missing[:20])} is missing" + (" (and others)" if missing[20:] else "")


def _inputs(reports: Sequence[ConvertReport]) -> Iterator[FileReport]:
    for same in zip(*(one.inputs for one in reports), strict=True):
        yield replace(same[0], records=sum(one.records for one in same))
