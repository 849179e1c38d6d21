"""Suites: a shipped folder under evals/, or a file of samples, as cases. One reader a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from agenttune.errors import UserError, nearest
from agenttune.evaluation.suites import desk, samples
from agenttune.files import read_text, shipped
from agenttune.values.case import Case

READERS: dict[str, Callable[[Path, str], list[Case]]] = {"desk": desk.read, "samples": samples.read}


def read(name: str, *, protocol: str) -> list[Case]:
    """The cases of ``desk``, ``desk:dev`` (a suite and one of its splits), a suite's folder, or a file of samples.

    A file's own protocol is in its samples; a suite is written under `protocol`. Raises `UserError` for what is not there or
    holds nothing usable.
    """
    file, reader = locate(name)
    cases = READERS[reader](file, protocol)
    if not cases:
        raise UserError(f"{file} holds no case: there is nothing to evaluate")
    return cases


def locate(name: str) -> tuple[Path, str]:
    """(file, reader's name) of a suite's name or path."""
    path = Path(name)
    if path.is_file():
        return path, "samples"
    base, _, split = name.partition(":")
    folder = Path(base) if (Path(base) / "suite.yaml").is_file() else shipped("evals") / base
    if not base or not (folder / "suite.yaml").is_file():
        known = sorted(one.parent.name for one in shipped("evals").glob("*/suite.yaml"))
        raise UserError(f'there is no suite or file "{name}"{nearest(base, known)}; shipped suites: {", ".join(known)}')
    suite: dict[str, Any] = yaml.safe_load(read_text(folder / "suite.yaml", "suite"))
    splits = suite.get("splits") or {}
    split = split or str(suite.get("default") or next(iter(splits), ""))
    if split not in splits:
        raise UserError(f'the suite {base} has no split "{split}"{nearest(split, splits)}; it has {", ".join(splits)}')
    reader = str(suite.get("reader") or "samples")
    if reader not in READERS:
        raise UserError(f'the suite {base} names the reader "{reader}"{nearest(reader, READERS)}; known: {", ".join(READERS)}')
    return folder / str(splits[split]), reader
