"""Raw records of any source to samples: streaming, in order, with an account in which everything that came in is found again.

Written beside ``OUT.jsonl``: ``OUT.rejects.jsonl`` (one line for each refusal), ``OUT.findings.jsonl`` (what the doctor saw),
``OUT.report.json`` (the account) and, with a split, ``OUT.<name>.jsonl``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from agenttune import protocols, sources
from agenttune.data import repairs
from agenttune.data.convert_paths import Paths, job_key
from agenttune.data.convert_record import SAMPLE, Settings
from agenttune.data.convert_report import ConvertReport, Event, summary_rows
from agenttune.data.convert_run import AUTO, Run
from agenttune.errors import UserError
from agenttune.files import read_text
from agenttune.protocols.base import Parallel
from agenttune.sources import files
from agenttune.values.trajectory import Json

__all__ = ["convert", "parse_split", "summary_rows"]


def convert(
    source: str,
    inputs: Sequence[str],
    out: str,
    *,
    protocol: str = "react",
    to: str = SAMPLE,
    parallel: Parallel = "split",
    systems: str | Mapping[str, Json] | None = None,
    overwrite: bool = False,
    workers: int = 1,
    check: bool = False,
    split: str | None = None,
    mask_failed: bool = False,
    strict: bool = False,
    fix: bool | Sequence[str] = False,
    branches: Literal["all", "best"] = "all",
    failed_branches: bool = False,
    events: Callable[[Event], None] = lambda event: None,
) -> ConvertReport:
    """Converts and writes, or with `check` only reports. The outputs are the same bytes whatever `workers` is.

    `source` is a source's name or ``auto``; `to` is ``sample`` or a target's name; `systems` maps scenarios to system texts (or is the path
    of a JSON file that does); `split` is ``name=share`` (``dev=5%``), several with commas. Raises `UserError` for a missing or empty input,
    and for an output that is an input or exists and is not this same job's own, unless `overwrite`.
    """
    settings = Settings(
        protocol=protocols.get(protocol).name,
        to=to,
        parallel=parallel,
        systems=_systems(systems),
        branches=branches,
        failed_branches=failed_branches,
        mask_failed=mask_failed,
        split=parse_split(split),
        strict=strict,
        fix=repairs.chosen(fix),
    )
    if to != SAMPLE:
        sources.get_target(to)
    if source != AUTO:
        sources.get(source)
    found = files.expand(inputs)
    paths = Paths.beside(out, [name for name, _ in settings.split])
    job = job_key(source, found, paths, settings)
    if not check:
        paths.refuse(found, job, overwrite=overwrite)
    blank = ConvertReport(out=str(paths.out), source=source, protocol=protocol, to=to, job=job, checked_only=check)
    run = Run(settings=settings, inputs=found, source=source, events=events)
    return run.checked(blank, workers) if check else run.written(blank, workers, paths)


def parse_split(text: str | None) -> tuple[tuple[str, float], ...]:
    """``dev=5%`` or ``dev=0.05,test=0.1`` as names and shares. Raises `UserError`."""
    parts: list[tuple[str, float]] = []
    for part in text.split(",") if text else []:
        name, _, share = (one.strip() for one in part.partition("="))
        try:
            number = float(share.removesuffix("%")) / (100 if share.endswith("%") else 1)
        except ValueError:
            number = -1.0
        if not 0 < number < 1 or not name.isidentifier() or name in ("rejects", "report", "findings", *(one for one, _ in parts)):
            raise UserError(f'a split is written name=share, for example dev=5%; this is "{part.strip()}"')
        parts.append((name, number))
    if sum(share for _, share in parts) >= 1:
        raise UserError(f"the shares of the split {text} leave nothing over")
    return tuple(parts)


def _systems(given: str | Mapping[str, Json] | None) -> Mapping[str, str]:
    if isinstance(given, str):
        try:
            given = json.loads(read_text(given, "the file of system texts"))
        except ValueError as error:
            raise UserError(f"the file of system texts is not JSON: {error}") from error
    return files.check_mapping(dict(given) if isinstance(given, Mapping) else {} if given is None else given, "the file of system texts")
