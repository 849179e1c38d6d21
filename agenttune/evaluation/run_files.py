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
from agenttune.values.case import Report, Score


def prepare(out: Path, key: str, meta: Mapping[str, Any], *, overwrite: bool) -> dict[str, Score]:
    """Makes or reopens a run's folder; the cases it has judged already, by id.

    Raises `UserError` where the folder holds another run, or something that is no run.
    """
    if (out / "meta.json").is_file():
        try:
            old = json.loads(read_text(out / "meta.json", "run"))
        except ValueError:
            old = {}
        if old.get("key") == key:
            return finished(out)
        if not overwrite:
            changed = ", ".join(name for name in sorted({*meta, *old} - {"key"}) if old.get(name) != meta.get(name)) or "code"
            raise UserError(f"{out} holds a run made otherwise ({changed} differs); choose another folder, or --overwrite")
        for name in ("cases.jsonl", "report.json"):
            (out / name).unlink(missing_ok=True)
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not the folder of a run; choose another")
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "meta.json", json.dumps({**meta, "key": key}, ensure_ascii=False, indent=1))
    return {}


def finished(out: Path) -> dict[str, Score]:
    """The judged cases of a run. A last line that was cut short is left out and, so that lines can be added, cut off the file."""
    path = out / "cases.jsonl"
    if not path.is_file():
        return {}
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        with open(path, "r+b") as file:
            file.truncate(len(whole))
    return {one.case: one for one in (score_from_json(json.loads(line)) for line in whole.splitlines() if line.strip())}


def append(out: Path, scores: Sequence[Score]) -> None:
    """Judged cases, a line each, on the disk before this returns."""
    with open(out / "cases.jsonl", "ab") as file:
        for one in scores:
            file.write(json.dumps(asdict(one), ensure_ascii=True).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def score_from_json(row: Mapping[str, Any]) -> Score:
    """The inverse of what `append` writes."""
    return Score(**{**row, "clusters": tuple(row["clusters"])})


def read_run(out: Path) -> tuple[dict[str, Any], list[Score]]:
    """(meta, judged cases) of a finished run. Raises `UserError` where there is none, or it is not finished."""
    if not (out / "meta.json").is_file() or not (out / "report.json").is_file():
        started = (out / "meta.json").is_file()
        raise UserError(f"{out} is {'a run that is not finished; start it again to go on' if started else 'no run of agenttune eval'}")
    return json.loads(read_text(out / "meta.json", "run")), list(finished(out).values())


def write_report(out: Path, report: Report) -> None:
    """``report.json``: rates with intervals by slice."""
    write_text(out / "report.json", json.dumps(asdict(report), ensure_ascii=False, indent=1))
