"""A record as another converter writes it, beside our own reading of it: what the other one loses is a name or a refusal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from agenttune.data.convert.converted import Part, Settings, digest, digest_of, line_of, measure_steps, size_of, split_of
from agenttune.data.quality import doctor
from agenttune.errors import Refusal
from agenttune.sources.base import record_id
from agenttune.sources.msagent import xtuner
from agenttune.values.trajectory import Json, Trajectory

UNEXAMINED = "unexamined"  # a record that XTuner converts and our own reader refuses, so that no check has seen it


def convert_compatible(settings: Settings, value: Json, read: Iterator[Trajectory | Refusal]) -> Part:
    """The line that XTuner writes for `value`. `read` is our own reading: it tells what the record holds, and the doctor examines it."""
    trajectory = _first(read)
    part = Part(id=record_id(value) if isinstance(value, dict) else "", size=size_of(trajectory) if trajectory else (0, 0, 0))
    try:
        part.findings = doctor.examine(trajectory) if trajectory else []
        doctor.refuse(part.findings, strict=settings.strict)
        made = xtuner.convert(value)
        part.line = line_of(made.record())
    except Refusal as refusal:
        part.refusal = refusal
        return part
    part.length = sum(len(text) for turn in made.conversation for text in turn.values())
    measure_steps(part, trajectory or Trajectory())
    part.kept = made.calls, made.observations, made.answers
    part.size = part.size if trajectory else part.kept
    part.changes = dict(sorted(Counter([*made.notes, *([] if trajectory else [UNEXAMINED])]).items()))
    known = trajectory or Trajectory(id=part.id)
    part.digest = digest_of(known) if trajectory else digest(part.line)
    part.split = split_of(known, settings.split)
    return part


def _first(read: Iterator[Trajectory | Refusal]) -> Trajectory | None:
    try:
        one = next(read, None)
    except Refusal:
        return None
    return one if isinstance(one, Trajectory) else None
