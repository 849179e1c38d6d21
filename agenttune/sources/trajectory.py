"""Our own form: chat sessions and evaluation transcripts come back as what they were. A target as well; nothing is lost either way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from agenttune.sources.base import ReadOptions
from agenttune.values.trajectory import Json, Trajectory
from agenttune.values.trajectory_json import trajectory_from_json, trajectory_to_json

NAME = "trajectory"


def detect(record: Json) -> str | None:
    """A list of rounds of a user and steps."""
    rounds = record.get("rounds") if isinstance(record, dict) else None
    if isinstance(rounds, list) and rounds and all(isinstance(one, dict) and "steps" in one for one in rounds):
        return '"rounds" holds steps'
    return None


def read(record: Json, options: ReadOptions) -> Iterator[Trajectory]:
    """The trajectory itself; one that does not say where it came from gets this file and line. Raises `Refusal`."""
    trajectory = trajectory_from_json(record)
    if not trajectory.file:
        trajectory = replace(trajectory, file=options.file, line=options.line)
    yield trajectory


def write(trajectory: Trajectory) -> Json:
    """The trajectory as JSON."""
    return trajectory_to_json(trajectory)
