"""Rates and comparisons as a table in the terminal, a Markdown file and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agenttune.evaluation.compare import Comparison, Pair
from agenttune.evaluation.rates import METRICS, TITLES
from agenttune.files import replacing, write_text
from agenttune.screens.inert import inert
from agenttune.values.case import Rate, Report

if TYPE_CHECKING:
    from rich.console import Console

Table = tuple[list[str], list[list[str]]]


def percent(rate: Rate) -> str:
    """``71 % (64–77)``."""
    return f"{100 * rate.value:.0f} % ({100 * rate.low:.0f}–{100 * rate.high:.0f})"


def report_table(report: Report) -> Table:
    """A row a slice, a column a metric."""
    rows = []
    for name, rates in report.rates.items():
        by_metric = {rate.name: rate for rate in rates}
        rows.append([inert(name), str(max(rate.n for rate in rates)), *(percent(by_metric[m]) if m in by_metric else "–" for m in METRICS)])
    return ["cases", "n", *(TITLES[metric] for metric in METRICS)], rows


def comparison_table(comparison: Comparison) -> Table:
    """A row a slice and metric: baselines, both runs, the paired difference and its verdict."""
    names = list(comparison.baselines)
    rows = [[inert(pair.slice), TITLES[pair.metric], *_baselines(comparison, pair, names), *_cells(pair)] for pair in comparison.pairs]
    return ["cases", "metric", "n", *map(inert, names), _name(comparison.a), _name(comparison.b), "difference", "McNemar p", "verdict"], [
        [*row[:2], str(pair.a.n), *row[2:]] for row, pair in zip(rows, comparison.pairs, strict=True)
    ]


def _name(meta: dict[str, object]) -> str:
    return inert(f"{meta.get('model')} + adapter" if meta.get("adapter") else str(meta.get("model")))


def _baselines(comparison: Comparison, pair: Pair, names: Sequence[str]) -> list[str]:
    found = []
    for name in names:
        rate = comparison.baselines[name].get((pair.slice, pair.metric))
        found.append(f"{100 * rate.value:.0f} %" if rate else "–")
    return found


def _cells(pair: Pair) -> list[str]:
    gap = f"{100 * pair.difference:+.0f} ({100 * pair.low:+.0f} to {100 * pair.high:+.0f})"
    return [percent(pair.a), percent(pair.b), gap, f"{pair.p:.1e}" if pair.p < 0.001 else f"{pair.p:.3f}", pair.verdict]


def show_report(report: Report, console: Console | None = None) -> None:
    """The report's table in the terminal."""
    _show(report_table(report), f"{report.suite}: {report.meta.get('model')}", console)


def show_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """The comparison's table in the terminal, with chance beside it."""
    _show(comparison_table(comparison), f"{comparison.a.get('suite')}, 95 % intervals by cluster", console)
    print(inert(f"a uniform guess among the offered tools is right in {100 * float(comparison.a.get('chance') or 0):.0f} % of the calls"))


def _show(table: Table, title: str, console: Console | None) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    head, rows = table
    made = RichTable(title=Text(inert(title)), title_justify="left")
    for index, name in enumerate(head):
        made.add_column(Text(name), justify="left" if index < 2 else "right", no_wrap=index == 0)
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    (console or Console(width=None if Console().is_terminal else 150)).print(made)


def markdown(table: Table) -> str:
    """The table as Markdown; a pipe inside a cell is escaped."""
    head, rows = table
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |\n" for line in lines)


def save_report(report: Report, out: Path) -> None:
    """``table.md`` in the run's folder."""
    write_text(out / "table.md", markdown(report_table(report)))


def save_comparison(comparison: Comparison, out: Path) -> None:
    """``comparison.md`` and ``comparison.png``: bars with intervals, a group a slice and metric."""
    write_text(out / "comparison.md", markdown(comparison_table(comparison)))
    _plot(comparison, out / "comparison.png")


def _plot(comparison: Comparison, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pairs = [pair for pair in comparison.pairs if "," not in pair.slice]
    figure = Figure(figsize=(max(6.0, 0.55 * len(pairs) + 2), 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for shift, side, colour in ((-0.2, "a", "#9aa5b1"), (0.2, "b", "#2563eb")):
        rates: list[Rate] = [getattr(pair, side) for pair in pairs]
        below = [100 * (rate.value - rate.low) for rate in rates]
        above = [100 * (rate.high - rate.value) for rate in rates]
        axes.bar(
            [index + shift for index in range(len(pairs))],
            [100 * rate.value for rate in rates],
            width=0.38,
            color=colour,
            yerr=[[max(0.0, one) for one in below], [max(0.0, one) for one in above]],
            capsize=2,
            label=_name(getattr(comparison, side)),
        )
    axes.set_xticks(range(len(pairs)), [f"{pair.slice}\n{TITLES[pair.metric]}" for pair in pairs], rotation=60, ha="right", fontsize=8)
    axes.set_ylim(0, 100)
    axes.set_ylabel("%")
    axes.legend(fontsize=8)
    with replacing(path, "wb") as file:
        figure.savefig(file, format="png", dpi=120)
