"""One raw record to what is written for it. Runs in the main process or in a worker, with the same result."""

from __future__ import annotations

import contextlib
import functools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from agenttune import protocols, sources
from agenttune.data.convert.converted import (
    SAMPLE,
    Part,
    Settings,
    digest_of,
    id_of,
    line_of,
    measure_steps,
    sample_line,
    size_of,
    split_of,
)
from agenttune.data.convert.tally import Tally
from agenttune.data.convert.tool_cache import ByTools
from agenttune.data.convert.xtuner import convert_compatible
from agenttune.data.quality import doctor, repairs
from agenttune.data.quality.mask import mask_failed
from agenttune.errors import Refusal
from agenttune.protocols.base import Protocol, write
from agenttune.sources.base import ReadOptions, note_name
from agenttune.sources.reading import relaxed
from agenttune.sources.reading.records import RawRecord, parse, record_of
from agenttune.values.sample import Sample
from agenttune.values.trajectory import Json, ToolSpec, Trajectory


def convert_chunk(settings: Settings, chunk: list[tuple[str, RawRecord]]) -> tuple[Tally, list[list[Part]]]:
    """The parts of each record of a chunk, in order, and the sums of those that no duplicate can make a reject of.

    Each record comes with the name of its source.
    """
    tally = Tally()
    made = [convert_record(settings, source, record) for source, record in chunk]
    if not settings.strict:
        for parts in made:
            tally.record(parts)
    return tally, made


def convert_record(settings: Settings, source: str, record: RawRecord) -> list[Part]:
    """At least one part: what the source makes of the record, or the refusal."""
    parts: list[Part] = []
    try:
        options = ReadOptions(
            file=record.file,
            line=record.line,
            systems=settings.systems,
            branches=settings.branches,
            failed_branches=settings.failed_branches,
        )
        taken: list[str] = []
        with relaxed.allowed(taken) if repairs.JSON in settings.fix else contextlib.nullcontext():
            value = _parsed(record, settings, taken)
            read = _read(source, value, options)
            if settings.compat:
                return [convert_compatible(settings, value, read)]
            parts += [Part(refusal=one) if isinstance(one, Refusal) else _converted(settings, one, taken) for one in read]
        if not parts:
            raise Refusal("empty", "the source found no conversation in this record")
    except Refusal as refusal:
        parts.append(Part(refusal=refusal))
    return parts


def _parsed(record: RawRecord, settings: Settings, taken: list[str]) -> Json:
    """The record's data; where that was asked for, out of relaxed JSON too."""
    try:
        return parse(record)
    except Refusal as refusal:
        if refusal.code != "json" or not record.raw or repairs.JSON not in settings.fix:
            raise
        try:
            value, names = relaxed.relaxed(record.raw.decode("utf-8"))
        except (Refusal, UnicodeDecodeError):
            raise refusal from None
    taken += names
    return value


def _converted(settings: Settings, trajectory: Trajectory, taken: list[str]) -> Part:
    """What relaxed JSON took of the record so far is told by its next conversation."""
    notes = [f"fixed_json_{name}" for name in taken]
    taken.clear()
    return convert_trajectory(settings, replace(trajectory, notes=(*trajectory.notes, *notes)) if notes else trajectory)


def _read(source: str, value: Json, options: ReadOptions) -> Iterator[Trajectory | Refusal]:
    """The source's own reading; a fault of its code is one record's refusal, so that an hour's conversion does not end in a traceback."""
    try:
        yield from sources.get(source).read(value, options)
    except Refusal:
        raise
    except RecursionError as error:
        raise Refusal("depth", "a value of the record is nested too deeply") from error
    except Exception as error:
        raise Refusal("source_error", f'the source "{source}" failed: {type(error).__name__}: {error}') from error


def convert_trajectory(settings: Settings, trajectory: Trajectory) -> Part:
    """A trajectory examined, repaired, masked, written and counted."""
    part = Part(id=trajectory.id, size=size_of(trajectory))
    try:
        trajectory = repairs.repaired(trajectory, settings.fix)
        if settings.mask_failed:
            trajectory, masked = mask_failed(trajectory)
            trajectory = replace(trajectory, notes=(*trajectory.notes, *["masked_failed"] * masked))
        part.findings = doctor.examine(trajectory)
        doctor.refuse(part.findings, strict=settings.strict)
        _write(settings, trajectory, part)
        doctor.refuse(part.findings, strict=settings.strict)
    except Refusal as refusal:
        part.refusal = refusal
        return part
    except RecursionError:
        part.refusal = Refusal("depth", "a value of the conversation is nested too deeply")
        return part
    measure_steps(part, trajectory)
    part.digest = digest_of(trajectory)
    part.split = split_of(trajectory, settings.split)
    return part


def _write(settings: Settings, trajectory: Trajectory, part: Part) -> None:
    """The target's record as the part's line, its length, and its changes by name: the reader's notes, and what writing took."""
    notes: dict[str, int] = {}
    for note in trajectory.notes:
        name = note_name(note)
        notes[name] = notes.get(name, 0) + 1
    if settings.to == SAMPLE:
        _write_sample(settings, trajectory, part, notes)
        return
    value = sources.get_target(settings.to).write(trajectory)
    named = value.get("changes") if isinstance(value, dict) and settings.to != "trajectory" else None
    part.changes = dict(Counter(notes) + Counter(str(name) for name in named or ()))
    part.line = line_of(value)
    part.length = len(part.line)


def _write_sample(settings: Settings, trajectory: Trajectory, part: Part, notes: dict[str, int]) -> None:
    sample = write(trajectory, _protocol(settings.protocol), parallel=settings.parallel)
    made: Mapping[str, int] = sample.meta.get("changes") or {}
    for name, count in made.items():
        if name not in trajectory.notes:
            notes[name] = notes.get(name, 0) + count
    part.changes = dict(sorted(notes.items()))
    part.line = sample_line(sample, part.changes)
    part.length = sum([len(turn.system) + len(turn.input) + len(turn.output) for turn in sample.turns])
    if settings.measure is not None:
        _measure(settings, sample, trajectory, part)


def _measure(settings: Settings, sample: Sample, trajectory: Trajectory, part: Part) -> None:
    """The length in the model's tokens, and a finding where that is too much."""
    assert settings.measure is not None
    part.length = settings.measure.tokens(sample)
    if settings.length and part.length > settings.length:
        last = next((turn.output for turn in reversed(sample.turns) if turn.output), "")
        found = doctor.finding("too_long", f"{part.length:,} tokens, and the model is given {settings.length:,}", last)
        part.findings.append(replace(found, file=trajectory.file, line=trajectory.line, id=trajectory.id))


class _Remembering:
    """A protocol that writes the text of a system and tool list once."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._texts: ByTools[str] = ByTools()
        self.name, self.observation_field, self.parallel_calls = protocol.name, protocol.observation_field, protocol.parallel_calls
        self.write_step, self.observation_text = protocol.write_step, protocol.observation_text

    def __getattr__(self, name: str) -> Any:
        return getattr(self._protocol, name)

    def system_text(self, system: str, tools: Sequence[ToolSpec]) -> str:
        """The protocol's own text."""
        return self._texts.get(tools, system, lambda: self._protocol.system_text(system, tools))


@functools.lru_cache(maxsize=4)
def _protocol(name: str) -> Protocol:
    return cast(Protocol, _Remembering(protocols.get(name)))


def reject_line(record: RawRecord, part: Part, number: int, *, whole: bool) -> bytes:
    """One line of ``OUT.rejects.jsonl``. `number` counts the conversations of the record; the record itself stands in its first reject."""
    assert part.refusal is not None
    value: dict[str, Any] = {
        "file": record.file,
        "line": record.line,
        "id": part.id or id_of(record),
        "code": part.refusal.code,
        "sentence": part.refusal.sentence,
        "excerpt": part.refusal.excerpt,
    }
    if number:
        value["part"] = number
    kept = record_of(record) if whole else None
    try:
        return line_of({**value, "record": kept})
    except (Refusal, RecursionError):  # the record itself is what JSON cannot hold: its text can be escaped
        text = kept if isinstance(kept, str) else repr(kept)
        return json.dumps({**value, "record": text}, separators=(",", ":")).encode("ascii") + b"\n"
