"""Recorded runs of tau-bench: ``[{"task_id", "trial", "reward", "traj"}, …]``, each a trial of a task that was judged when it ran."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agenttune.errors import Refusal, UserError
from agenttune.sources.reading.files import expand
from agenttune.sources.reading.files import read as read_file
from agenttune.sources.reading.records import parse
from agenttune.values.case import Score
from agenttune.values.trajectory import Json

RIGHT = 1.0 - 1e-6  # tau-bench's own tolerance for a reward of 1 (tau_bench/run.py)


def read(path: Path) -> Iterator[Score]:
    """One `Score` a trial, with ``success``; trials of a task are a cluster.

    Raises `UserError` for a file that is none of tau-bench's.
    """
    for place in expand([str(path)]):
        for raw in read_file(place):
            try:
                row = parse(raw)
            except Refusal as refusal:
                raise UserError(f"{raw.file}:{raw.line} cannot be read: {refusal.sentence}") from refusal
            if not isinstance(row, dict) or not {"task_id", "trial", "reward"} <= row.keys():
                raise UserError(f'{raw.file}:{raw.line} is no trial of tau-bench: it needs "task_id", "trial" and "reward"')
            yield _score(row)


def _score(row: dict[str, Json]) -> Score:
    right = row["reward"] >= RIGHT
    counts = {"success": (float(right), 1.0)}
    task = f"task {row['task_id']}"
    return Score(
        case=f"{task} trial {row['trial']}",
        valid=True,
        tool=None,
        arguments=None,
        call=None,
        abstained=None,
        reason="ok" if right else "failed",
        tags={"trial": str(row["trial"])},
        clusters=(task,),
        counts=counts,
    )
