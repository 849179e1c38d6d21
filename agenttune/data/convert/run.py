"""Raw records of any source to samples: streaming, in order, with an account in which everything that came in is found again.

Written beside ``OUT.jsonl``: ``OUT.rejects.jsonl`` (one line for each refusal), ``OUT.findings.jsonl`` (what the doctor saw),
``OUT.report.json`` (the account; `screens.page` makes a page of it) and, with a split, ``OUT.<name>.jsonl``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from agenttune import protocols, sources
from agenttune.data.convert.conversion import AUTO, Run
from agenttune.data.convert.converted import SAMPLE, Measure, Settings
from agenttune.data.convert.options import parse_shard, parse_split, refuse_compat, refuse_measure, systems_of
from agenttune.data.convert.paths import Paths, job_key
from agenttune.data.convert.report import ConvertEvent, ConvertReport, summary_rows
from agenttune.data.quality import repairs
from agenttune.errors import UserError
from agenttune.protocols.base import Parallel
from agenttune.sources.reading import files
from agenttune.values.trajectory import Json

__all__ = ["convert", "parse_split", "summary_rows"]


def convert(
    source: str,
    inputs: Sequence[str],
    out: str | None,
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
    measure: Measure | None = None,
    length: int = 0,
    shard: str | None = None,
    events: Callable[[ConvertEvent], None] = lambda event: None,
) -> ConvertReport:
    """Converts and writes, or with `check` only reports. The outputs are the same bytes whatever `workers` is.

    `source` is a source's name or ``auto``; `to` is ``sample`` or a target's name; `systems` maps scenarios to system texts (or is the path
    of a JSON file that does); `split` is ``name=share`` (``dev=5%``), several with commas; `compat` ``xtuner`` writes MSAgent records as
    XTuner v0.1.23 does, and names or refuses what that loses; `measure` tells lengths in tokens, of which `length` fit (0: any number);
    `shard` is ``i/n``: the i-th of n runs of the records. Only with `check` may `out` be None, and then nothing is written at all.
    Raises `UserError` for a missing or empty input, and for an output that is an input or exists and is not this same job's own, unless
    `overwrite`.
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
        measure=measure,
        length=length,
    )
    refuse_compat(settings, source)
    refuse_measure(settings)
    if to != SAMPLE:
        sources.get_target(to)
    if source != AUTO:
        sources.get(source)
    if out is None and not check:
        raise UserError("name the file to write with -o OUT.jsonl (only --check goes without)")
    found = files.expand(inputs)
    part = parse_shard(shard, found)
    paths = Paths.beside(out, [name for name, _ in settings.split]) if out is not None else None
    job = job_key(source, found, paths, settings, str(part or ""))
    if paths:
        (paths.refuse_check if check else paths.refuse)(found, job, overwrite=overwrite)
    blank = ConvertReport(
        out=str(paths.out) if paths else "",
        source=source,
        protocol=protocol if not compat else "",
        to=compat or to,
        job=job,
        checked_only=check,
        unit="tokens" if measure else "characters" if to == SAMPLE else "bytes",
        shard=str(part or ""),
        notes=_notes(settings),
    )
    run = Run(settings=settings, inputs=found, source=source, events=events, shard=part)
    return run.checked(blank, workers, paths) if check or paths is None else run.written(blank, workers, paths)


def _notes(settings: Settings) -> tuple[str, ...]:
    if settings.measure is None:
        return ()
    limit = f"; more than {settings.length:,} are too long" if settings.length else ""
    return (f"tokens are those of {settings.measure.name()}{limit}",)
