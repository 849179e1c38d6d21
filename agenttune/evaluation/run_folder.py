"""A run's folder: ``meta.json`` (what was run), ``cases.jsonl`` (one judged case a line), ``report.json``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agenttune.errors import UserError
from agenttune.files import read_text, write_text
from agenttune.folder_lock import is_empty
from agenttune.own_json import from_json, parsed
from agenttune.values.case import Report, Score

MADE = ("cases.jsonl", "report.json", "table.md", "rates.png")  # what another run in this folder must not leave behind


def prepare(out: Path, key: str, meta: Mapping[str, Any], *, overwrite: bool) -> dict[str, Score]:
    """Makes or reopens a run's folder; the cases it has judged already, by id.

    Raises `UserError` where the folder holds another run, or something that is no run.
    """
    old = read_meta(out)
    if "key" in old:  # else its meta.json is somebody else's
        if old["key"] == key:
            return _reopened(out)
        if not overwrite:
            changed = ", ".join(name for name in sorted({*meta, *old} - {"key"}) if old.get(name) != meta.get(name)) or "code"
            raise UserError(f"{out} holds a run made otherwise ({changed} differs); choose another folder, or --overwrite")
        for name in MADE:
            (out / name).unlink(missing_ok=True)
    elif out.exists() and (not out.is_dir() or not is_empty(out)):
        raise UserError(f"{out} exists and is not the folder of a run; choose another")
    write_text(out / "meta.json", json.dumps({**meta, "key": key}, ensure_ascii=False, indent=1))
    return {}


def read_meta(out: Path) -> dict[str, Any]:
    """What a run's folder says was run; empty where it says nothing that can be read."""
    if not (out / "meta.json").is_file():
        return {}
    try:
        found = json.loads(read_text(out / "meta.json", "run"))
    except (ValueError, RecursionError):
        found = {}
    return found if isinstance(found, dict) else {}


def _reopened(out: Path) -> dict[str, Score]:
    """What was judged; a last line that was cut short is cut off the file, so that lines can be added."""
    path = out / "cases.jsonl"
    if path.is_file():
        data = path.read_bytes()
        if data and not data.endswith(b"\n"):
            os.truncate(path, data.rfind(b"\n") + 1)
    return finished(out)


def finished(out: Path) -> dict[str, Score]:
    """The judged cases of a run, by id; a last line that was cut short counts as not written. Raises `UserError` for a damaged one."""
    path = out / "cases.jsonl"
    found: dict[str, Score] = {}
    if not path.is_file():
        return found
    lines = path.read_bytes().split(b"\n")[:-1]
    for number, line in enumerate(lines, 1):
        try:
            one = score_from_json(parsed(line.decode("utf-8", "replace"), f"{path}:{number}"), f"{path}:{number}")
        except UserError as error:
            raise UserError(f"{error}; remove the folder, or --overwrite, and run again") from error
        found[one.case] = one
    return found


def append(out: Path, scores: Sequence[Score]) -> None:
    """Judged cases, a line each, on the disk before this returns."""
    with open(out / "cases.jsonl", "ab") as file:
        file.write(b"".join(json.dumps(asdict(one)).encode() + b"\n" for one in scores))
        file.flush()
        os.fsync(file.fileno())


def score_from_json(row: Any, where: str = "a judged case") -> Score:
    """The inverse of what `append` writes; rows of before outcomes and counts were kept are read too. Raises `UserError`."""
    return from_json(row, Score, where)


def read_run(out: Path) -> tuple[dict[str, Any], list[Score]]:
    """(meta, judged cases) of a finished run. Raises `UserError` where there is none, or it is not finished."""
    if not (out / "meta.json").is_file():
        raise UserError(f"{out} is no run of agenttune eval")
    if not (out / "report.json").is_file():
        raise UserError(f"{out} is a run that is not finished; the same agenttune eval goes on with it")
    return read_meta(out), list(finished(out).values())


def write_report(out: Path, report: Report) -> None:
    """``report.json``: estimates with intervals by slice, under the key ``rates``, which runs have had since the first."""
    row = asdict(report)
    row = {"suite": row["suite"], "rates": row["estimates"], "meta": row["meta"]}
    write_text(out / "report.json", json.dumps(row, ensure_ascii=False, indent=1))
