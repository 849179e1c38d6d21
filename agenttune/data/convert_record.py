"""One raw record to what is written for it. Runs in the main process or in a worker, with the same result."""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import orjson

from agenttune import protocols, sources
from agenttune.data import doctor, repairs
from agenttune.data.convert_report import Finding
from agenttune.data.mask import mask_failed
from agenttune.errors import Refusal
from agenttune.protocols.base import Parallel, Protocol, write
from agenttune.sources import files
from agenttune.sources.base import ReadOptions, note_name, record_id
from agenttune.values.sample import sample_to_json
from agenttune.values.trajectory import Json, ToolSpec, Trajectory
from agenttune.values.trajectory_json import trajectory_to_json

SAMPLE = "sample"
_REMEMBERED = 512  # system texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a worker must know, as plain data."""

    protocol: str
    to: str
    parallel: Parallel
    systems: Mapping[str, str]
    branches: Literal["all", "best"]
    failed_branches: bool
    mask_failed: bool
    split: tuple[tuple[str, float], ...]
    strict: bool
    fix: tuple[str, ...]


@dataclass(slots=True)
class Part:
    """One conversation of a record: a line to write, or the refusal; what is known of it besides."""

    line: bytes = b""
    split: str = ""
    refusal: Refusal | None = None
    id: str = ""
    digest: bytes = b""
    findings: list[Finding] = field(default_factory=list)
    size: tuple[int, int, int] = (0, 0, 0)  # calls, observations, answers
    changes: dict[str, int] = field(default_factory=dict)


def convert_chunk(settings: Settings, chunk: list[tuple[str, files.RawRecord]]) -> list[list[Part]]:
    """The parts of each record of a chunk, in order; each comes with the name of its source."""
    return [convert_record(settings, source, record) for source, record in chunk]


def convert_record(settings: Settings, source: str, record: files.RawRecord) -> list[Part]:
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
        for one in _read(source, files.parse(record), options):
            parts.append(Part(refusal=one) if isinstance(one, Refusal) else convert_trajectory(settings, one))
        if not parts:
            raise Refusal("empty", "the source found no conversation in this record")
    except Refusal as refusal:
        parts.append(Part(refusal=refusal))
    return parts


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
    part = Part(id=trajectory.id, size=_size(trajectory))
    try:
        trajectory = repairs.repaired(trajectory, settings.fix)
        if settings.mask_failed:
            trajectory, masked = mask_failed(trajectory)
            trajectory = replace(trajectory, notes=(*trajectory.notes, *["masked_failed"] * masked))
        part.findings = doctor.examine(trajectory)
        grave = doctor.refusing(part.findings, strict=settings.strict)
        if grave:
            raise Refusal(grave.code, grave.sentence, grave.excerpt)
        value, part.changes = _written(settings, trajectory)
        part.line = line_of(value)
    except Refusal as refusal:
        part.refusal = refusal
        return part
    except RecursionError:
        part.refusal = Refusal("depth", "a value of the conversation is nested too deeply")
        return part
    part.digest = _digest(trajectory)
    part.split = _split_of(trajectory, settings.split)
    return part


def _size(trajectory: Trajectory) -> tuple[int, int, int]:
    calls = observations = answers = 0
    for round_ in trajectory.rounds:
        for step in round_.steps:
            calls += len(step.calls)
            observations += len(step.observations)
            answers += step.answer is not None
    return calls, observations, answers


def _written(settings: Settings, trajectory: Trajectory) -> tuple[Json, dict[str, int]]:
    """The target's record, and its changes by name: the reader's notes, and what writing took."""
    notes = Counter(note_name(note) for note in trajectory.notes)
    if settings.to != SAMPLE:
        value = sources.get_target(settings.to).write(trajectory)
        named = value.get("changes") if isinstance(value, dict) and settings.to != "trajectory" else None
        return value, dict(notes + Counter(str(name) for name in named or ()))
    sample = write(trajectory, _protocol(settings.protocol), parallel=settings.parallel)
    made: Mapping[str, int] = sample.meta.get("changes") or {}
    notes.update({name: count for name, count in made.items() if name not in trajectory.notes})
    changes = dict(sorted(notes.items()))
    value = sample_to_json(sample)
    if changes:
        value["meta"]["changes"] = changes
    return value, changes


class _Remembering:
    """A protocol that writes the text of a system and tool list once for the thousands of records that share them."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._texts: dict[tuple[str, int], tuple[Sequence[ToolSpec], str]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._protocol, name)

    def system_text(self, system: str, tools: Sequence[ToolSpec]) -> str:
        """The protocol's own text. The readers give the same tuple of tools for the same list, and it is kept, so its id is its own."""
        known = self._texts.get((system, id(tools)))
        if known is None:
            if len(self._texts) >= _REMEMBERED:
                self._texts.clear()
            known = self._texts[system, id(tools)] = (tools, self._protocol.system_text(system, tools))
        return known[1]


@functools.lru_cache(maxsize=4)
def _protocol(name: str) -> Protocol:
    return cast(Protocol, _Remembering(protocols.get(name)))


def line_of(value: Json) -> bytes:
    """One line of JSON, UTF-8. Raises `Refusal` for what JSON or UTF-8 cannot hold."""
    try:
        return orjson.dumps(value) + b"\n"
    except (TypeError, ValueError):
        pass  # integers beyond 64 bits, deep nesting: the slower writer can; NaN and half a surrogate pair it will name
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8") + b"\n"
    except UnicodeEncodeError as error:
        raise Refusal("surrogate", "a text holds half of a surrogate pair, which no UTF-8 file can hold") from error
    except (TypeError, ValueError) as error:
        raise Refusal("json", f"a value has no JSON form: {error}") from error


def _digest(trajectory: Trajectory) -> bytes:
    """Of what is said and done, whatever it is called and wherever it stood."""
    bare = replace(trajectory, id="", file="", line=0, group="", notes=())
    return hashlib.blake2b(line_of(trajectory_to_json(bare)), digest_size=16).digest()


def _split_of(trajectory: Trajectory, split: tuple[tuple[str, float], ...]) -> str:
    """The part a trajectory falls into, by a hash of its group: the same in every run, and as data grows."""
    if not split:
        return ""
    key = trajectory.group or trajectory.id or (trajectory.rounds[0].user if trajectory.rounds else "")
    place = int.from_bytes(hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=8).digest(), "big") / 2**64
    for name, share in split:
        if place < share:
            return name
        place -= share
    return ""


def _id_of(record: files.RawRecord) -> str:
    try:
        value = files.parse(record)
    except Refusal:
        return ""
    return record_id(value) if isinstance(value, dict) else ""


def reject_line(record: files.RawRecord, part: Part, number: int, *, whole: bool) -> bytes:
    """One line of ``OUT.rejects.jsonl``. `number` counts the conversations of the record; the record itself stands in its first reject."""
    assert part.refusal is not None
    value: dict[str, Any] = {
        "file": record.file,
        "line": record.line,
        "id": part.id or _id_of(record),
        "code": part.refusal.code,
        "sentence": part.refusal.sentence,
        "excerpt": part.refusal.excerpt,
    }
    if number:
        value["part"] = number
    kept = files.record_of(record) if whole else None
    try:
        return line_of({**value, "record": kept})
    except (Refusal, RecursionError):  # the record itself is what JSON cannot hold: its text can be escaped
        text = kept if isinstance(kept, str) else repr(kept)
        return json.dumps({**value, "record": text}, separators=(",", ":")).encode("ascii") + b"\n"
