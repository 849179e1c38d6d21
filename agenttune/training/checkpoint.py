"""What a run leaves on disk while it runs: whose folder it is, which checkpoints are complete, and whether a run may go on from one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from agenttune.config import TrainConfig, config_to_json
from agenttune.errors import UserError
from agenttune.files import write_text
from agenttune.owned_folders import adopt, is_owned, remove_owned, seal

RUN = "run.json"
SUMMARY = "summary.json"
LOG = "train_log.jsonl"
COMPLETE = "complete.json"  # written last into a checkpoint; before folders had a marker of their own it was one
FORMAT = 2  # of run.json; 1 had no such number, and its run's best-STEP folders have no marker
LOCK = ".lock"
WRITING = (OSError, RuntimeError, UserError, SafetensorError)  # what a write that fails may raise
MEASURED: dict[str, type] = {"dtype": str, "products": bool}  # the base's number format; whether bfloat16 attends by matrix products
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
        with _locked(folder):
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


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Held by one process; released by the system when it dies."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    with open(folder / LOCK, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"another run is writing to {folder}") from error
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(folder / LOCK)


def write_run(folder: Path, config: TrainConfig, identity: Mapping[str, Any]) -> None:
    """Marks the folder as a run's: its resolved config and what a continuation must have in common with it."""
    plain = {"format": FORMAT, "config": config_to_json(config), "identity": dict(identity)}
    write_text(folder / RUN, json.dumps(plain, ensure_ascii=False, indent=2) + "\n")


def begun(folder: Path) -> dict[str, Any]:
    """What an unfinished run chose by measuring (see `MEASURED`): a continuation takes it, because measured again it may differ."""
    try:
        found = json.loads((folder / RUN).read_text(encoding="utf-8"))["identity"]
        return {key: found[key] for key, kind in MEASURED.items() if isinstance(found.get(key), kind)}
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        return {}


def check_same(folder: Path, config: TrainConfig, identity: Mapping[str, Any]) -> None:
    """Raises `UserError` with the reason where config, data, model, tokens or ranks are not those the run began with."""
    try:
        before = json.loads((folder / RUN).read_text(encoding="utf-8"))
        old_config, old_identity = dict(before["config"]), dict(before["identity"])
    except (ValueError, KeyError, TypeError, OSError) as error:
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


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, one in value.items():
        if isinstance(one, Mapping):
            found |= _flat(one, f"{prefix}{key}.")
        else:
            found[prefix + key] = one
    return found


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
    """Says that a checkpoint is whole, after everything in it is on disk."""
    for path in sorted(checkpoint.rglob("*")):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
    seal(checkpoint)
    write_text(checkpoint / COMPLETE, json.dumps({"step": step}) + "\n")


def best_folder(folder: Path, step: int) -> Path:
    """Where the weights of the check after `step` are kept."""
    return folder / f"best-{step}"


def rotate_best(folder: Path, keep: Collection[int]) -> None:
    """Removes the kept weights of all checks but these."""
    names = {best_folder(folder, step).name for step in keep}
    for one in folder.glob("best-*"):
        if one.name not in names:
            remove_owned(one)


def adopt_best(folder: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Marks the kept weights of a run that was begun before such folders had markers; `records` are those of its checks."""
    try:
        marked = json.loads((folder / RUN).read_text(encoding="utf-8")).get("format", 1) >= FORMAT
    except (ValueError, TypeError, AttributeError, OSError):
        return
    for step in [] if marked else [one["step"] for one in records]:
        if any(best_folder(folder, step).glob("*.safetensors")):
            adopt(best_folder(folder, step))


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


def read_log(folder: Path, upto: int) -> list[dict[str, Any]]:
    """The step records of a run, up to step `upto`; a torn last line is dropped."""
    return [one for one in _lines(folder, upto) if "loss" in one]


def read_checks(folder: Path, upto: int) -> list[dict[str, Any]]:
    """The records of checks, up to step `upto`."""
    return [one for one in _lines(folder, upto) if "check" in one]


def _lines(folder: Path, upto: int) -> list[dict[str, Any]]:
    path = folder / LOG
    found: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            record = json.loads(line)
        except ValueError:
            break
        if record.get("step", 0) <= upto:
            found.append(record)
    return found


def write_log(folder: Path, records: list[dict[str, Any]]) -> None:
    """Writes the records anew, in the order of their steps."""
    write_text(folder / LOG, "".join(json.dumps(one) + "\n" for one in sorted(records, key=lambda one: int(one["step"]))))


def no_disk(error: BaseException) -> bool:
    """Whether a write failed for want of space or of a disk; PyTorch and safetensors say so in their own words."""
    words = str(error).lower()
    said = ("no space", "writing file", "file write failed", "os error", "i/o error", "file too large", "unexpected pos")
    return isinstance(error, OSError) or isinstance(error.__cause__, OSError) or any(one in words for one in said)
