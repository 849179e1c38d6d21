"""A record as another converter writes it, beside our own reading of it: what the other one loses is a name or a refusal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from agenttune.data.convert.converted import (
    NO_COUNTS,
    Converted,
    called_tools,
    counts_of,
    digest,
    digest_of,
    dropped_by_name,
    line_of,
    split_of,
    steps_of,
)
from agenttune.data.convert.options import ConvertOptions
from agenttune.data.quality import doctor
from agenttune.data.quality.finding import refuse
from agenttune.errors import Refusal
from agenttune.sources.base import record_id
from agenttune.sources.msagent import xtuner
from agenttune.values.trajectory import Json, Trajectory

UNEXAMINED = "unexamined"  # a record that XTuner converts and our own reader refuses, so that no check has seen it


def convert_compatible(options: ConvertOptions, value: Json, read: Iterator[Trajectory | Refusal]) -> Converted:
    """The line that XTuner writes for `value`. `read` is our own reading: it tells what the record holds, and the doctor examines it."""
    trajectory = _first(read)
    findings = tuple(doctor.examine(trajectory)) if trajectory else ()
    id = record_id(value) if isinstance(value, dict) else ""
    counts = counts_of(trajectory) if trajectory else NO_COUNTS
    try:
        refuse(findings, strict=options.strict)
        made = xtuner.convert(value)
        line = line_of(made.record())
    except Refusal as refusal:
        return Converted(id=id, refusal=refusal, findings=findings, read=counts)
    known = trajectory or Trajectory(id=id)
    kept = made.calls, made.observations, made.answers
    return Converted(
        id=id,
        line=line,
        split=split_of(known, options.split),
        digest=digest_of(known) if trajectory else digest(line),
        findings=findings,
        read=counts if trajectory else kept,
        written=kept,
        changes=dict(sorted(Counter([*made.notes, *([] if trajectory else [UNEXAMINED])]).items())),
        dropped=dropped_by_name(known.notes),
        length=sum(len(text) for turn in made.conversation for text in turn.values()),
        steps=steps_of(known),
        tools=called_tools(known),
    )


def _first(read: Iterator[Trajectory | Refusal]) -> Trajectory | None:
    try:
        one = next(read, None)
    except Refusal:
        return None
    return one if isinstance(one, Trajectory) else None
