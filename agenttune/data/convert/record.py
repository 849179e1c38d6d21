"""One raw record to what is written for it. Runs in the main process or in a worker, with the same result."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from agenttune import protocols, sources
from agenttune.data.convert.account import Account
from agenttune.data.convert.converted import (
    Converted,
    called_tools,
    counts_of,
    digest_of,
    dropped_by_name,
    line_of,
    sample_line,
    split_of,
    steps_of,
)
from agenttune.data.convert.options import SAMPLE, ConvertOptions
from agenttune.data.convert.tool_cache import ToolCache
from agenttune.data.convert.xtuner import convert_compatible
from agenttune.data.quality import doctor, repairs
from agenttune.data.quality.completeness import misplaced, vanished
from agenttune.data.quality.finding import Finding, finding, refuse, refusing
from agenttune.data.quality.mask import mask_failed
from agenttune.errors import Refusal
from agenttune.protocols.base import Protocol, write
from agenttune.sources.base import ReadOptions, note_name
from agenttune.sources.detection import looks_like_calls
from agenttune.sources.reading import relaxed
from agenttune.sources.reading.column_nulls import each_without
from agenttune.sources.reading.records import RawRecord, parse
from agenttune.values.sample import Sample
from agenttune.values.trajectory import Json, ToolSpec, Trajectory


def convert_chunk(options: ConvertOptions, chunk: list[tuple[str, RawRecord]]) -> tuple[Account, list[list[Converted]]]:
    """What becomes of each record of a chunk, in order, and the account of those that no duplicate can make a reject of.

    Each record comes with the name of its source.
    """
    account = Account()
    made = [convert_record(options, source, record) for source, record in chunk]
    return account, made if options.strict else [account.take(one) for one in made]


def convert_record(options: ConvertOptions, source: str, record: RawRecord) -> list[Converted]:
    """At least one: what the source makes of the record, or the refusal."""
    made: list[Converted] = []
    try:
        place = ReadOptions(
            file=record.file,
            line=record.line,
            systems=options.systems,
            branches=options.branches,
            failed_branches=options.failed_branches,
        )
        taken: list[str] = []
        with relaxed.allowed(taken) if repairs.JSON in options.fix else contextlib.nullcontext():
            value = _parsed(record, options, taken)
            read = _read(source, value, place)
            read = each_without(read) if record.table else read
            if options.compat:
                return [convert_compatible(options, value, read)]
            found = list(read) if options.check else read
            made += [Converted(refusal=one) if isinstance(one, Refusal) else _converted(options, one, taken) for one in found]
            if options.check:
                made[:1] = _examined(made[:1], value, list(found), record)
        if not made:
            raise Refusal("empty", "the source found no conversation in this record")
        if not any(one.refusal or one.read[0] for one in made) and looks_like_calls(value):
            made = [_without_calls(options, one, record) for one in made]
    except Refusal as refusal:
        made.append(Converted(refusal=refusal))
    return made


def _without_calls(options: ConvertOptions, one: Converted, record: RawRecord) -> Converted:
    """The conversation with the finding that no call of its record was read, for which it is refused."""
    found = finding(
        "calls_unread", "no call was read, and the record looks as if it held some", record.raw[:200].decode("utf-8", "replace")
    )
    marked = replace(one, findings=(*one.findings, replace(found, file=record.file, line=record.line, id=one.id)))
    return (
        replace(marked, refusal=Refusal(found.code, found.sentence, found.excerpt)) if refusing([found], strict=options.strict) else marked
    )


def _examined(first: list[Converted], value: Json, found: list[Trajectory | Refusal], record: RawRecord) -> list[Converted]:
    """The first conversation of a record, with what of the record is found in none of them, and what stands in another order there."""
    read = [one for one in found if isinstance(one, Trajectory)]
    if not first or len(read) < len(found):  # a reject holds the record
        return first
    gone = {leaf.name(): leaf.text for leaf in vanished(value, read)}
    moved = [text for one in read for text in misplaced(value, one)]
    notes = [finding("vanished", f'"{name}" of the record is found nowhere in what was read of it', text) for name, text in gone.items()]
    notes += [finding("misplaced", "a call or a result stands elsewhere in the record", text) for text in moved]
    names = {**{f"found_nowhere: {name}": 1 for name in gone}, **({"out_of_order": len(moved)} if moved else {})}
    placed = [replace(one, file=record.file, line=record.line, id=first[0].id) for one in notes]
    return [replace(first[0], dropped={**first[0].dropped, **names}, findings=(*first[0].findings, *placed))] if names else first


def _parsed(record: RawRecord, options: ConvertOptions, taken: list[str]) -> Json:
    """The record's data; where that was asked for, out of relaxed JSON too."""
    try:
        return parse(record)
    except Refusal as refusal:
        if refusal.code != "json" or not record.raw or repairs.JSON not in options.fix:
            raise
        try:
            value, names = relaxed.relaxed(record.raw.decode("utf-8"))
        except (Refusal, UnicodeDecodeError):
            raise refusal from None
    taken += names
    return value


def _converted(options: ConvertOptions, trajectory: Trajectory, taken: list[str]) -> Converted:
    """What relaxed JSON took of the record so far is told by its next conversation."""
    notes = [f"fixed_json_{name}" for name in taken]
    taken.clear()
    return convert_trajectory(options, replace(trajectory, notes=(*trajectory.notes, *notes)) if notes else trajectory)


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


def convert_trajectory(options: ConvertOptions, given: Trajectory) -> Converted:
    """A trajectory repaired, masked, examined and written, or the refusal; with what is counted of it."""
    findings: list[Finding] = []
    read = counts_of(given)
    try:
        trajectory = _masked(options, repairs.repaired(given, options.fix))
        findings += doctor.examine(trajectory)
        refuse(findings, strict=options.strict)
        written = _written(options, trajectory)
        findings += written.findings
        refuse(findings, strict=options.strict)
        return Converted(
            id=given.id,
            line=written.line,
            split=split_of(trajectory, options.split),
            digest=digest_of(trajectory),
            findings=tuple(findings),
            read=read,
            written=read if trajectory is given else counts_of(trajectory),
            changes=written.changes,
            dropped=dropped_by_name(trajectory.notes),
            length=written.length,
            steps=steps_of(trajectory),
            tools=called_tools(trajectory),
        )
    except Refusal as refusal:
        return Converted(id=given.id, refusal=refusal, findings=tuple(findings), read=read)
    except RecursionError:
        deep = Refusal("depth", "a value of the conversation is nested too deeply")
        return Converted(id=given.id, refusal=deep, findings=tuple(findings), read=read)


def _masked(options: ConvertOptions, trajectory: Trajectory) -> Trajectory:
    if not options.mask_failed:
        return trajectory
    trajectory, masked = mask_failed(trajectory)
    return replace(trajectory, notes=(*trajectory.notes, *["masked_failed"] * masked))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """A target's record as a line, its changes by name (the reader's notes and those of writing), its length, what writing found."""

    line: bytes
    changes: Mapping[str, int]
    length: int
    findings: tuple[Finding, ...] = field(default=())


def _written(options: ConvertOptions, trajectory: Trajectory) -> _Written:
    notes: dict[str, int] = {}
    for note in trajectory.notes:
        name = note_name(note)
        notes[name] = notes.get(name, 0) + 1
    if options.to == SAMPLE:
        return _written_sample(options, trajectory, notes)
    value = sources.get_target(options.to).write(trajectory)
    named = value.get("changes") if isinstance(value, dict) and options.to != "trajectory" else None
    line = line_of(value)
    return _Written(line=line, changes=dict(Counter(notes) + Counter(str(name) for name in named or ())), length=len(line))


def _written_sample(options: ConvertOptions, trajectory: Trajectory, notes: dict[str, int]) -> _Written:
    sample = write(trajectory, _protocol(options.protocol), parallel=options.parallel)
    made: Mapping[str, int] = sample.meta.get("changes") or {}
    for name, count in made.items():
        if name not in trajectory.notes:
            notes[name] = notes.get(name, 0) + count
    changes = dict(sorted(notes.items()))
    length = sum([len(turn.system) + len(turn.input) + len(turn.output) for turn in sample.turns])
    findings: tuple[Finding, ...] = ()
    if options.measure is not None:
        length = options.measure.tokens(sample)
        findings = _too_long(options, sample, trajectory, length)
    return _Written(line=sample_line(sample, changes), changes=changes, length=length, findings=findings)


def _too_long(options: ConvertOptions, sample: Sample, trajectory: Trajectory, tokens: int) -> tuple[Finding, ...]:
    if not options.length or tokens <= options.length:
        return ()
    last = next((turn.output for turn in reversed(sample.turns) if turn.output), "")
    found = finding("too_long", f"{tokens:,} tokens, and the model is given {options.length:,}", last)
    return (replace(found, file=trajectory.file, line=trajectory.line, id=trajectory.id),)


class _SystemTextsKept:
    """A protocol that writes the text of a system and tool list once."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._texts: ToolCache[str] = ToolCache()
        self.name, self.observation_field, self.parallel_calls = protocol.name, protocol.observation_field, protocol.parallel_calls
        self.write_step, self.observation_text = protocol.write_step, protocol.observation_text

    def __getattr__(self, name: str) -> Any:
        return getattr(self._protocol, name)

    def system_text(self, system: str, tools: Sequence[ToolSpec]) -> str:
        """The protocol's own text."""
        return self._texts.get(tools, system, lambda: self._protocol.system_text(system, tools))


@functools.lru_cache(maxsize=4)
def _protocol(name: str) -> Protocol:
    return cast(Protocol, _SystemTextsKept(protocols.get(name)))
