"""A run's output folder while it trains: whose it is, and whether a run may go on in it. ``run.json`` says what it was begun with."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agenttune.config import TrainConfig, config_to_json
from agenttune.errors import UserError
from agenttune.files import write_text
from agenttune.folder_lock import LOCK, locked
from agenttune.owned_folders import adopt
from agenttune.training.checkpoint import best_folder, newest_complete

RUN = "run.json"
SUMMARY = "summary.json"
FORMAT = 2  # of run.json; 1 had no such number, and its run's best-STEP folders have no marker
MEASURED: dict[str, type] = {"dtype": str, "matmul": bool}  # the base's dtype; whether attention's backward pass in bfloat16 is matmuls
FORMER_KEYS = {"products": "matmul"}  # of an identity, in runs that were begun before
# Keys that may differ between a run and its continuation: none changes a loss.
FREE = (
    "output",
    "device",
    "data",
    "trainer.save_steps",
    "trainer.save_total_limit",
    "trainer.save_strategy",
    "trainer.logging_steps",
    "trainer.report_to",
)


@contextlib.contextmanager
def claim(folder: Path, config: TrainConfig, *, resume: bool) -> Iterator[None]:
    """The folder as this run's own until the block ends: made, locked, marked.

    Raises `UserError` where it holds something else, a finished run, an unfinished one that was not asked to go on, or a running one.
    """
    _allowed(folder, resume)
    if int(os.environ.get("RANK", "0")) > 0:  # the first rank answers for the folder; what it refuses, others do not wait for
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the output folder {folder}: {error.strerror or error}") from error
    try:
        with locked(folder):
            _allowed(folder, resume)
            if not resume:
                write_run(folder, config, {})
            try:
                yield
            except BaseException:
                if {one.name for one in folder.iterdir()} <= {RUN, LOCK}:  # it failed before anything was trained
                    (folder / RUN).unlink(missing_ok=True)
                raise
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # goes only where nothing is left in it


def _allowed(folder: Path, resume: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"the output {folder} is a file; name a folder with output=…")
    held = [one for one in (folder.iterdir() if folder.exists() else []) if one.name != LOCK and one.suffix != ".part"]  # killed writes
    if not (folder / RUN).is_file():
        if held:
            raise UserError(f"the output folder {folder} holds something else ({held[0].name}); name another with output=…")
        if resume:
            raise UserError(f"there is no run to resume in {folder}; start it without --resume")
        return
    if (folder / SUMMARY).exists():
        raise UserError(f"the run in {folder} is finished; train it further with adapter={folder} output=ANOTHER, or name another output=…")
    if not resume and newest_complete(folder) is not None:
        raise UserError(f"{folder} holds an unfinished run; go on with --resume, or remove the folder")


def write_run(folder: Path, config: TrainConfig, identity: Mapping[str, Any]) -> None:
    """Marks the folder as a run's: its resolved config and what a continuation must have in common with it."""
    plain = {"format": FORMAT, "config": config_to_json(config), "identity": dict(identity)}
    write_text(folder / RUN, json.dumps(plain, ensure_ascii=False, indent=2) + "\n")


def measured_choices(folder: Path) -> dict[str, Any]:
    """What an unfinished run chose by measuring (see `MEASURED`): a continuation takes it, because another measurement may differ."""
    try:
        found = _new_names(json.loads((folder / RUN).read_text(encoding="utf-8"))["identity"])
        return {key: found[key] for key, kind in MEASURED.items() if isinstance(found.get(key), kind)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError):
        return {}


def check_continues(folder: Path, config: TrainConfig, identity: Mapping[str, Any]) -> None:
    """Raises `UserError` with the reason where config, data, model, tokens or ranks are not those the run began with."""
    try:
        before = json.loads((folder / RUN).read_text(encoding="utf-8"))
        old_config, old_identity = dict(before["config"]), _new_names(before["identity"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise UserError(f"{folder / RUN} cannot be read, so the run cannot be resumed ({error})") from error
    if not old_identity:
        return  # it ended before its data was read; nothing has been trained
    old, new = {"lora.lr_ratio": 1.0, **_flat(old_config)}, _flat(config_to_json(config))  # there was one rate before it was a key
    for key in sorted({*old, *new} - set(FREE)):
        if key.split(".")[0] not in FREE and old.get(key) != new.get(key):
            raise UserError(f"cannot resume {folder}: {key} was {old.get(key)!r} and is {new.get(key)!r} now")
    said = {
        "data": "the data files have changed",
        "model": "the base model is another one",
        "world": "the number of processes has changed",
        "tokens": "the samples render to other tokens (template, tokenizer or protocol have changed)",
        "packs": "the samples are packed otherwise",
    }
    for key, value in identity.items():
        if old_identity.get(key) != value and (key in old_identity or key not in MEASURED):
            raise UserError(f"cannot resume {folder}: {said.get(key, f'{key} has changed')}")


def _new_names(identity: Mapping[str, Any]) -> dict[str, Any]:
    """The identity of a ``run.json`` under today's keys."""
    return {FORMER_KEYS.get(key, key): value for key, value in identity.items()}


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, one in value.items():
        if isinstance(one, Mapping):
            found |= _flat(one, f"{prefix}{key}.")
        else:
            found[prefix + key] = one
    return found


def adopt_unmarked_best(folder: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Marks the kept weights of a run that was begun before such folders had markers; `records` are those of its checks."""
    try:
        marked = json.loads((folder / RUN).read_text(encoding="utf-8")).get("format", 1) >= FORMAT
    except (ValueError, TypeError, AttributeError, RecursionError, OSError):
        return
    for step in [] if marked else [one["step"] for one in records]:
        if any(best_folder(folder, step).glob("*.safetensors")):
            adopt(best_folder(folder, step))
