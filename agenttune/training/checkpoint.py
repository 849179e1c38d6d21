"""Checkpoints and kept best weights inside a run's folder: which are complete, which are the run's own, and which go.

Their names are transformers' (``checkpoint-STEP``) and ours (``best-STEP``); what else lies in the folder is left alone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agenttune.errors import UserError
from agenttune.files import read_text, write_text
from agenttune.own_json import from_json, parsed
from agenttune.owned_folders import MARKER, is_owned, remove_owned, seal

COMPLETE = "complete.json"  # written last into a checkpoint; before folders had a marker of their own it was one


@dataclass(frozen=True, slots=True, kw_only=True)
class _Complete:
    """What a complete checkpoint says of itself: its step, and the bytes of its files."""

    step: int
    files: Mapping[str, int] = field(default_factory=dict)


def newest_complete(folder: Path) -> Path | None:
    """The complete checkpoint of the most steps, or None. What was never finished, or is a copy under another name, does not count."""
    return max(_complete_checkpoints(folder), key=step_of, default=None)


def checkpoint_folder(folder: Path, step: int) -> Path:
    """Where the checkpoint of `step` lies; the name is transformers'."""
    return folder / f"checkpoint-{step}"


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was made, by its name."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def _checkpoints(folder: Path) -> list[Path]:
    """Folders that are named as checkpoints are: ``checkpoint-`` and a number without leading zeros."""
    return [one for one in folder.glob("checkpoint-*") if re.fullmatch(r"checkpoint-(0|[1-9][0-9]{0,17})", one.name)]


def _complete_checkpoints(folder: Path) -> list[Path]:
    return [one for one in _checkpoints(folder) if _completed_step(one) == step_of(one)]


def _completed_step(checkpoint: Path) -> int | None:
    """The step that a finished checkpoint says it is of; None for what was not finished."""
    try:
        found = json.loads((checkpoint / COMPLETE).read_text(encoding="utf-8"))["step"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, int) else None


def complete(checkpoint: Path, step: int) -> None:
    """Says that a checkpoint is whole, and of which files with how many bytes, after everything in it is on disk."""
    sizes = {}
    for path in sorted(checkpoint.rglob("*")):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
            if path.name != MARKER:
                sizes[path.relative_to(checkpoint).as_posix()] = path.stat().st_size
    seal(checkpoint)
    write_text(checkpoint / COMPLETE, json.dumps({"step": step, "files": sizes}) + "\n")


def refuse_damaged(checkpoint: Path) -> None:
    """Raises `UserError` where a checkpoint that was whole lacks a file, or has one cut: what goes on from it would be another run.

    Checkpoints from before the list was kept are taken as they are.
    """
    path = checkpoint / COMPLETE
    for name, size in from_json(parsed(read_text(path, "checkpoint"), str(path)), _Complete, str(path)).files.items():
        there = _size(checkpoint / name)
        if there != size:
            what = "lacks" if there is None else "holds only a part of"
            raise UserError(f"{checkpoint} {what} {name}; put it back, or remove that folder to go on from the checkpoint before it")


def _size(path: Path) -> int | None:
    """The bytes of a file; None where there is none, or could be none of that name."""
    try:
        return path.stat().st_size if path.is_file() else None
    except (OSError, ValueError):
        return None


def best_folder(folder: Path, step: int) -> Path:
    """Where the weights of the check after `step` are kept."""
    return folder / f"best-{step}"


def rotate_best(folder: Path, keep: Collection[int]) -> None:
    """Removes the kept weights of all checks but these."""
    names = {best_folder(folder, step).name for step in keep}
    for one in folder.glob("best-*"):
        if one.name not in names:
            remove_owned(one)


def rotate(folder: Path, keep: int | None) -> None:
    """Removes all but the newest `keep` complete checkpoints, and those of ours that were left incomplete."""
    complete_ones = sorted(_complete_checkpoints(folder), key=step_of)
    for one in _checkpoints(folder):
        if one not in complete_ones:
            remove_owned(one)
    for one in complete_ones[: max(0, len(complete_ones) - max(1, keep))] if keep is not None else []:
        (one / COMPLETE).unlink(missing_ok=True)  # first, so that a removal that is cut short leaves nothing that looks complete
        if is_owned(one):
            remove_owned(one)
        elif not one.is_symlink():  # made before folders had a marker: that it was complete, by its own word, is the mark
            shutil.rmtree(one, ignore_errors=True)
