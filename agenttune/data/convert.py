"""Raw records of any source to samples: streaming, in order, with an account in which everything that came in is found again.

Written beside ``OUT.jsonl``: ``OUT.rejects.jsonl`` (one line for each refusal), ``OUT.findings.jsonl`` (what the doctor saw),
``OUT.report.json`` (the account) and, with a split, ``OUT.<name>.jsonl``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from agenttune import protocols, sources
from agenttune.data import repairs
from agenttune.data.convert_options import parse_split, refuse_compat, systems_of
from agenttune.data.convert_part import SAMPLE, Settings
from agenttune.data.convert_paths import Paths, job_key
from agenttune.data.convert_report import ConvertReport, Event, summary_rows
from agenttune.data.convert_run import AUTO, Run
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
    compat: str = "",
    events: Callable[[Event], None] = lambda event: None,
) -> ConvertReport:
    """Converts and writes, or with `check` only reports. The outputs are the same bytes whatever `workers` is.

    `source` is a source's name or ``auto``; `to` is ``sample`` or a target's name; `systems` maps scenarios to system texts (or is the path
    of a JSON file that does); `split` is ``name=share`` (``dev=5%``), several with commas; `compat` ``xtuner`` writes MSAgent
    records as XTuner v0.1.23 does, and names or refuses what that loses. Raises `UserError` for a missing or empty input,
    and for an output that is an input or exists and is not this same job's own, unless `overwrite`.
    """
    settings = Settings(
        protocol=protocols.get(protocol).name,
        to=to,
        parallel=parallel,
        systems=systems_of(systems),
        branches=branches,
        failed_branches=failed_branches,
        mask_failed=mask_failed,
        split=parse_split(split),
        strict=strict,
        fix=repairs.chosen(fix),
        compat=compat,
    )
    refuse_compat(settings, source)
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
