"""What a self-test found, as a table of models and metrics."""

from __future__ import annotations

from rich.console import Console

from agenttune.evaluation.metrics import title
from agenttune.evaluation.selftest import SelfTest
from agenttune.screens.blocks import note
from agenttune.screens.console import stdout
from agenttune.screens.report.tables import Table, line, show_table

SHOWN = 6  # faults and unattainable cases that are named


def selftest_table(found: SelfTest) -> Table:
    """A row a metric, a column a model, in percent."""
    metrics = list(dict.fromkeys(metric for some in found.values.values() for metric in some))
    head = ["metric", *found.values]
    return head, [
        [title(metric), *(_cell(some[metric].value) if metric in some else "–" for some in found.values.values())] for metric in metrics
    ]


def _cell(value: float) -> str:
    return f"{100 * value:.0f}" if value in (0.0, 1.0) else f"{100 * value:.1f}"


def show_selftest(found: SelfTest, console: Console | None = None) -> None:
    """The table, the best attainable, and what is wrong."""
    console = console or stdout()
    show_table(selftest_table(found), line(f"{found.suite}: {found.cases} cases, in %"), console)
    reached = found.cases - len(found.unattainable)
    note(console, f"best attainable: {reached} of {found.cases}", style="")
    for case, reason in found.unattainable[:SHOWN]:
        note(console, line(f"  out of reach: {case} ({reason})"), style="")
    for fault in found.faults[:SHOWN]:
        note(console, line(f"  WRONG: {fault}"), style="bold red")
    if len(found.faults) > SHOWN:
        note(console, f"  and {len(found.faults) - SHOWN} more", style="bold red")
    note(console, "the scorers are honest here" if not found.faults else f"{len(found.faults)} faults", style="bold")
