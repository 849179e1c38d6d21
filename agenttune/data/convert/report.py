"""What a conversion did, in numbers that add up: records in are records kept whole, kept in part, or refused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from agenttune.data.convert.sizes import Sizes
from agenttune.data.quality.finding import Finding
from agenttune.errors import UserError
from agenttune.own_json import from_json
from agenttune.values.trajectory import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """Which source `auto` took for a file, and why."""

    file: str
    source: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a conversion is. `bytes_total` is None where it cannot be known."""

    records: int
    samples: int
    rejects: int
    bytes_done: int
    bytes_total: int | None


ConvertEvent: TypeAlias = Detected | Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """A file read or written: its name, records, bytes and SHA-256 (both empty for what is no file)."""

    name: str
    records: int
    bytes: int = 0
    sha256: str = ""


COUNTED = ("calls", "observations", "answers")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertReport:
    """The whole account.

    `records` read = `whole` + `partly` + `refused`. A record may hold several conversations: `trajectories` = `samples` + `rejects`, where
    a record that could not be read at all is one reject and counts as one. `before` and `after` count calls, observations and answers of
    all trajectories read, and of those written. `changes` and `findings` count by name, `dropped` what was dropped by its own
    name, `touched` the conversations that a code was found in. `examples` are the first findings of each code,
    `refusals` the first refusals. `lengths` (in `unit`: characters, tokens or bytes) and `steps` are those of the samples, `tools` their
    calls by tool. `shard` is ``2/3`` for the second of three parts, `shards` the parts that were added up; `notes` what to know besides.
    """

    out: str
    source: str
    protocol: str
    to: str
    job: str
    checked_only: bool = False
    sources: tuple[Detected, ...] = ()
    inputs: tuple[FileReport, ...] = ()
    outputs: tuple[FileReport, ...] = ()
    records: int = 0
    whole: int = 0
    partly: int = 0
    refused: int = 0
    trajectories: int = 0
    samples: int = 0
    rejects: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    before: Mapping[str, int] = field(default_factory=dict)
    after: Mapping[str, int] = field(default_factory=dict)
    changes: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    findings: Mapping[str, int] = field(default_factory=dict)
    touched: Mapping[str, int] = field(default_factory=dict)
    splits: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[Finding, ...] = ()
    refusals: tuple[Finding, ...] = ()
    unit: str = "characters"
    lengths: Sizes = field(default_factory=Sizes)
    steps: Sizes = field(default_factory=Sizes)
    tools: Mapping[str, int] = field(default_factory=dict)
    shard: str = ""
    shards: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 clean, 1 written (or checked) with rejects, 2 nothing usable; one part of a corpus may hold nothing."""
        return 2 if self.samples == 0 and not self.shard else 1 if self.rejects else 0


def summary_rows(report: ConvertReport) -> list[tuple[str, int]]:
    """The closing table: what came in equals what went out and what was refused, each by its reasons and parts."""
    rows = [("records in", report.records)]
    if report.trajectories != report.records:
        rows.append(("conversations in them", report.trajectories))
    rows.append(("samples out", report.samples))
    rows += [(f"  in {name}", count) for name, count in report.splits.items() if len(report.splits) > 1]
    rows.append(("rejects", report.rejects))
    rows += [(f"  {code}", count) for code, count in report.reasons.items()]
    for name in COUNTED:
        rows += [(f"{name} read", report.before.get(name, 0)), (f"{name} written", report.after.get(name, 0))]
    rows += [(f"change: {name}", count) for name, count in report.changes.items()]
    rows += [(f"finding: {name}", count) for name, count in report.findings.items()]
    return rows


def report_to_json(report: ConvertReport) -> dict[str, Json]:
    """``OUT.report.json``; the same bytes for the same input and options."""
    value: dict[str, Any] = {name: getattr(report, name) for name in report.__dataclass_fields__}
    value["exit_code"] = report.exit_code
    for name in _LISTS:
        value[name] = [{key: getattr(one, key) for key in one.__dataclass_fields__} for one in value[name]]
    for name in _COUNTS:
        value[name] = dict(value[name])
    for name in _SIZES:
        value[name] = value[name].to_json()
    return value


_SHARD = re.compile(r"[1-9]\d{0,6}/[1-9]\d{0,6}")
_LISTS = ("sources", "inputs", "outputs", "examples", "refusals")
_COUNTS = ("reasons", "before", "after", "changes", "dropped", "findings", "touched", "splits", "tools")
_SIZES = ("lengths", "steps")


def report_from_json(value: Json, name: str) -> ConvertReport:
    """The inverse of `report_to_json`; `name` is the file's. Raises `UserError` for what is none, or whose numbers do not add up."""
    fields = {key: one for key, one in value.items() if key != "exit_code"} if isinstance(value, dict) else value
    report = from_json(fields, ConvertReport, name, whole=True, read={Sizes: Sizes.from_json})
    numbers = [getattr(report, key) for key in ("records", "whole", "partly", "refused", "trajectories", "samples", "rejects")]
    sums = report.records == report.whole + report.partly + report.refused and report.trajectories == report.samples + report.rejects
    counts = [count for key in _COUNTS for count in getattr(report, key).values()]
    if not sums or min(*numbers, *counts) < 0:
        raise UserError(f"the numbers in {name} do not add up: it is damaged, or was changed")
    for shard in filter(None, (report.shard, *report.shards)):
        if not _SHARD.fullmatch(shard):
            raise UserError(f'"{shard[:40]}" in {name} is no shard, such as 2/3: it is damaged')
    return report


def json_text(report: ConvertReport) -> str:
    """The text of ``OUT.report.json``."""
    return json.dumps(report_to_json(report), ensure_ascii=True, indent=1) + "\n"
