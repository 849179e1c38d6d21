"""``train_log.jsonl``: one JSON record a line, of an optimizer step (it has ``loss``) or of a check (it has ``check``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias

from agenttune.errors import UserError
from agenttune.files import read_text, write_text

LOG = "train_log.jsonl"
LogRecord: TypeAlias = dict[str, Any]


def read_log(folder: Path, upto: int) -> list[LogRecord]:
    """The step records of a run, up to step `upto`; a torn last line is dropped."""
    return [one for one in _read(folder, upto) if "loss" in one]


def read_checks(folder: Path, upto: int) -> list[LogRecord]:
    """The records of checks, up to step `upto`."""
    return [one for one in _read(folder, upto) if "check" in one]


def _read(folder: Path, upto: int) -> list[LogRecord]:
    path = folder / LOG
    found: list[LogRecord] = []
    for line in read_text(path, "log").splitlines() if path.is_file() else []:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not _is_record(record):
            raise UserError(f"{path} holds a line that is no record of a step: it is damaged; move it away to go on without it")
        if record["step"] <= upto:
            found.append(record)
    return found


def _is_record(value: Any) -> bool:
    """Whether it has a step, and the numbers of a step or of a check where it has any."""
    if not isinstance(value, dict) or type(value.get("step")) is not int or not isinstance(value.get("check", {}), dict):
        return False
    check = value.get("check", {})
    numbers = [one[key] for one, keys in ((value, ("loss",)), (check, ("loss", "right", "cases"))) for key in keys if key in one]
    return all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers)


def write_log(folder: Path, records: list[LogRecord]) -> None:
    """Writes the records anew, in the order of their steps."""
    write_text(folder / LOG, "".join(json.dumps(one) + "\n" for one in sorted(records, key=lambda one: int(one["step"]))))
