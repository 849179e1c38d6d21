"""Whole conversations as a table: right answers first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from agenttune.evaluation.live.report import LiveReport
from agenttune.files import write_text
from agenttune.screens.blocks import note
from agenttune.screens.console import stdout
from agenttune.screens.inert import inert
from agenttune.screens.report.tables import percent

Rows = list[list[str]]


def live_rows(reports: Mapping[str, LiveReport], kinds: bool = True) -> tuple[list[str], Rows]:
    """A column a run: right answers of all, then of each half and kind, then how the conversations went."""
    first = next(iter(reports.values()))
    head = ["conversations", "n", *reports]
    slices = [name for name in first.rates if name != "all" and (kinds or name.startswith("half "))]
    rows = [_row("**right answers**", "all", reports), *(_row(name, name, reports) for name in slices)]
    told = [name for name in first.counts if not name.startswith("reason ")]
    rows += [[name, "", *(f"{one.counts.get(name, 0):g}" for one in reports.values())] for name in told]
    return head, rows


def _row(title: str, name: str, reports: Mapping[str, LiveReport]) -> list[str]:
    count = next(one.rates[name].n for one in reports.values() if name in one.rates)
    return [title, str(count), *(percent(one.rates.get(name)) for one in reports.values())]


def markdown(head: Sequence[str], rows: Rows) -> str:
    """The table as Markdown, its columns padded so that it reads as plain text too."""
    widths = [max(len(row[at]) for row in [list(head), *rows]) for at in range(len(head))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in [list(head), *rows]]
    lines.insert(1, ["-" * width for width in widths])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def show_live(reports: Mapping[str, LiveReport], out: Path | None = None, *, kinds: bool = True, console: Console | None = None) -> None:
    """Prints the table, and writes it as ``table.md`` into `out`."""
    text = markdown(*live_rows(reports, kinds))
    for line in text.replace("**right answers**", "right answers    ").splitlines():
        (console or stdout()).out(inert(line), highlight=False)
    for name, report in reports.items():
        reasons = ", ".join(f"{key.removeprefix('reason ')} {value:g}" for key, value in report.counts.items() if key.startswith("reason "))
        note(console or stdout(), f"{name}: {reasons}", style="")
    if out is not None:
        write_text(out / "table.md", text)
