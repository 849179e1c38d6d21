"""What stands in a file that somebody wants to look at: each record, and what it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from agenttune import sources
from agenttune.errors import Refusal, UserError
from agenttune.sources.base import ReadOptions
from agenttune.sources.reading import files
from agenttune.sources.reading.records import RawRecord, parse, record_of
from agenttune.values.sample import Sample, sample_from_json
from agenttune.values.trajectory import Json, Trajectory

Kind = Literal["sample", "trajectory", "reject", "raw", "unknown", "unreadable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A record understood as far as it goes.

    `what` says it in words. `trajectories` are what a trajectory or a raw record holds, `refusals` what of it could not be held.
    """

    kind: Kind
    what: str
    raw: Json
    sample: Sample | None = None
    trajectories: tuple[Trajectory, ...] = ()
    refusals: tuple[Refusal, ...] = ()


def records(file: str) -> Iterator[RawRecord]:
    """Every record of a file, folder or glob, in order. Raises `UserError`."""
    return chain.from_iterable(files.read(one) for one in files.expand([file]))


def record_at(file: str, index: int) -> RawRecord:
    """Record `index` (from 0). Raises `UserError` for one that is not there."""
    count = 0
    for record in records(file):
        if count == index:
            return record
        count += 1
    if not count:
        raise UserError(f"{file} holds no record")
    only = "only record 0" if count == 1 else f"records 0 to {count - 1}"
    raise UserError(f"{file} has {only}; there is no --index {index}")


def origin(sample: Sample) -> RawRecord | None:
    """The raw record a sample was made of, if its file is still where it was."""
    source, line = sample.meta.get("source"), sample.meta.get("line")
    if not isinstance(source, str) or not isinstance(line, int) or not Path(source).is_file():
        return None
    try:
        return next((one for one in records(source) if one.line == line), None)
    except UserError:
        return None


def read_record(record: RawRecord, systems: Mapping[str, str] | None = None) -> Read:
    """What a record is, by its own marks; never raises for what stands in it. `systems`: see `ReadOptions.systems`."""
    try:
        value = parse(record)
    except Refusal as error:
        return Read(kind="unreadable", what=f"it cannot be read: {error.sentence}", raw=record_of(record), refusals=(error,))
    if isinstance(value, dict) and {"code", "sentence", "record"} <= value.keys():
        return Read(kind="reject", what="a rejected record", raw=value)
    if isinstance(value, dict) and isinstance(value.get("conversation"), list):
        return _sample(value)
    return _source(value, ReadOptions(file=record.file, line=record.line, systems=systems or {}))


def _sample(value: dict[str, Json]) -> Read:
    try:
        return Read(kind="sample", what="a sample", raw=value, sample=sample_from_json(value))
    except Refusal as error:
        return Read(kind="unknown", what=f"nearly a sample, but {error.sentence}", raw=value, refusals=(error,))


def _source(value: Json, options: ReadOptions) -> Read:
    found = sources.detect(value)
    if found is None:
        return Read(kind="unknown", what="JSON in a form that no source knows", raw=value)
    name, reason = found
    trajectories, refusals = _trajectories(name, value, options)
    if name == "trajectory":
        return Read(kind="trajectory", what="a trajectory", raw=value, trajectories=trajectories, refusals=refusals)
    return Read(kind="raw", what=f"{name} ({reason})", raw=value, trajectories=trajectories, refusals=refusals)


def _trajectories(name: str, value: Json, options: ReadOptions) -> tuple[tuple[Trajectory, ...], tuple[Refusal, ...]]:
    held: list[Trajectory] = []
    refused: list[Refusal] = []
    try:
        for one in sources.get(name).read(value, options):
            held.append(one) if isinstance(one, Trajectory) else refused.append(one)
    except Refusal as error:
        refused.append(error)
    except RecursionError:
        refused.append(Refusal("depth", "a value of the record is nested too deeply"))
    return tuple(held), tuple(refused)
