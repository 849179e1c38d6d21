"""What one conversation of a record becomes: a line to write, or a refusal, with all that is known of it. And the makings of both."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from agenttune.data.convert.tool_cache import ToolCache
from agenttune.data.quality.finding import Finding
from agenttune.errors import Refusal
from agenttune.sources.base import record_id
from agenttune.sources.reading.records import RawRecord, parse
from agenttune.values.sample import Sample, sample_to_json, tool_to_json
from agenttune.values.trajectory import Json, Step, ToolCall, Trajectory
from agenttune.values.trajectory_json import trajectory_to_json

Counts = tuple[int, int, int]  # calls, observations, answers
NO_COUNTS: Counts = (0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """One conversation of a record. `read` counts the calls, observations and answers that its source read, `written` those in `line`.

    `dropped` counts by name what `changes` says was dropped (``message_fields_dropped: text``). `length` is that of what is written, in the
    unit that the report names; `tools` counts calls by the name of their tool. `counted`: an account has all of it but the findings, and
    only they, the line and what duplicates are known by are left.
    """

    id: str = ""
    line: bytes = b""
    split: str = ""
    refusal: Refusal | None = None
    digest: bytes = b""
    findings: tuple[Finding, ...] = ()
    read: Counts = NO_COUNTS
    written: Counts = NO_COUNTS
    changes: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    length: int = 0
    steps: int = 0
    tools: Mapping[str, int] = field(default_factory=dict)
    counted: bool = False

    def without_counts(self) -> Converted:
        """What is left when all else is counted: a quarter of the bytes on the way from a worker."""
        return Converted(id=self.id, line=self.line, split=self.split, digest=self.digest, findings=self.findings, counted=True)

    def __reduce__(self) -> tuple[Any, ...]:
        """On its way from a worker as a plain tuple, which costs a quarter of what field by field does."""
        if self.counted:
            return _counted, (self.id, self.line, self.split, self.digest, self.findings)
        return _converted, tuple(getattr(self, name) for name in self.__dataclass_fields__)


def _counted(id: str, line: bytes, split: str, digest: bytes, findings: tuple[Finding, ...]) -> Converted:
    return Converted(id=id, line=line, split=split, digest=digest, findings=findings, counted=True)


def _converted(*values: Any) -> Converted:
    return Converted(**dict(zip(Converted.__dataclass_fields__, values, strict=True)))


def counts_of(trajectory: Trajectory) -> Counts:
    """Its calls, observations and answers."""
    calls = observations = answers = 0
    for round_ in trajectory.rounds:  # every record passes here: two loops cost less than a generator
        for step in round_.steps:
            calls += len(step.calls)
            observations += len(step.observations)
            answers += step.answer is not None
    return calls, observations, answers


def steps_of(trajectory: Trajectory) -> int:
    """How many steps it has."""
    return sum([len(round_.steps) for round_ in trajectory.rounds])


def called_tools(trajectory: Trajectory) -> dict[str, int]:
    """Its calls by the name of their tool."""
    tools: dict[str, int] = {}
    for call in [call for round_ in trajectory.rounds for step in round_.steps for call in step.calls]:
        if isinstance(call, ToolCall):
            tools[call.name] = tools.get(call.name, 0) + 1
    return tools


def dropped_by_name(notes: Iterable[str]) -> dict[str, int]:
    """Each name in notes such as ``message_fields_dropped: text, apis``, with that of its note, and how often it came."""
    counts: dict[str, int] = {}
    for note in notes:
        if "_dropped" not in note:
            continue
        kind, _, names = note.partition(": ")
        for name in names.split(", ") if kind.endswith("_dropped") and names else ():
            counts[f"{kind}: {name}"] = counts.get(f"{kind}: {name}", 0) + 1
    return counts


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


def sample_line(sample: Sample, changes: Mapping[str, int]) -> bytes:
    """The line of a sample, with what was changed on the way to it; the bytes of a tool list are made once. Raises `Refusal`."""
    meta = {**sample.meta, "changes": changes} if changes else sample.meta
    listed = _tool_lines().get(sample.tools, "", lambda: _quick_line([tool_to_json(tool) for tool in sample.tools]))
    if listed and (line := _quick_line({**sample_to_json(sample, tools=orjson.Fragment(listed)), "meta": meta})):
        return line + b"\n"
    return line_of({**sample_to_json(sample), "meta": dict(meta)})


def _quick_line(value: Json) -> bytes:
    """What the fast writer makes of a value; empty where only the slow one can write it."""
    try:
        return orjson.dumps(value)
    except (TypeError, ValueError):
        return b""


@functools.lru_cache(maxsize=1)
def _tool_lines() -> ToolCache[bytes]:
    return ToolCache()


def digest_of(trajectory: Trajectory) -> bytes:
    """Of what is said and done, whatever it and its calls are called and wherever it stood."""
    tools = trajectory.tools
    listed = _tool_digests().get(tools, "", lambda: digest(line_of([tool_to_json(tool) for tool in tools])))
    said = _quick_line((trajectory.system, trajectory.stop, [(one.user, [_said(step) for step in one.steps]) for one in trajectory.rounds]))
    return digest(listed + (said or _slow_line(trajectory)))


def _said(step: Step) -> tuple[Json, ...]:
    """All of a step but the ids of its calls."""
    calls = [(call.name, call.arguments) if isinstance(call, ToolCall) else (call.text, call.reason) for call in step.calls]
    seen = [(one.text, one.error, one.provenance) for one in step.observations]
    return calls, seen, step.reasoning, step.thought, step.answer, step.weight, step.token_ids, step.raw, step.outcome


def _nameless(step: Step) -> Step:
    calls = tuple(replace(call, id="") if isinstance(call, ToolCall) else call for call in step.calls)
    return replace(step, calls=calls, observations=tuple(replace(seen, call_id="") for seen in step.observations))


def _slow_line(trajectory: Trajectory) -> bytes:
    """What the fast writer cannot hold."""
    rounds = tuple(replace(one, steps=tuple(_nameless(step) for step in one.steps)) for one in trajectory.rounds)
    value = trajectory_to_json(replace(trajectory, tools=(), rounds=rounds))
    return line_of([value["rounds"], trajectory.system, trajectory.stop])


@functools.lru_cache(maxsize=1)
def _tool_digests() -> ToolCache[bytes]:
    return ToolCache()


def digest(content: bytes) -> bytes:
    """32 bytes that stand for a content: two contents with the same are the same."""
    return hashlib.sha256(content).digest()  # processors have instructions for this one


def split_of(trajectory: Trajectory, split: Mapping[str, float]) -> str:
    """The part a trajectory falls into, by a hash of its group: the same in every run, and as data grows."""
    if not split:
        return ""
    key = trajectory.group or trajectory.id or (trajectory.rounds[0].user if trajectory.rounds else "")
    place = int.from_bytes(hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=8).digest(), "big") / 2**64
    for name, share in split.items():
        if place < share:
            return name
        place -= share
    return ""


def id_of(record: RawRecord) -> str:
    """The id that a raw record gives itself, if it can be read that far."""
    try:
        value = parse(record)
    except Refusal:
        return ""
    return record_id(value) if isinstance(value, dict) else ""
