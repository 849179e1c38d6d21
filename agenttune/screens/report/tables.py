"""Rates and comparisons as a table in the terminal and as a Markdown file; `plot` draws them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from agenttune.evaluation.compare import Comparison, PairedMetric
from agenttune.evaluation.metrics import METRICS, TITLES
from agenttune.files import write_text
from agenttune.screens.blocks import note
from agenttune.screens.console import live, stdout
from agenttune.screens.inert import inert
from agenttune.screens.report import plot
from agenttune.values.case import Estimate, Report

Table = tuple[list[str], list[list[str]]]  # the head, and rows as long as it
NONE = "–"


def percent(rate: Estimate | None) -> str:
    """``71 % (64–77)``: the share and its 95 % interval."""
    return f"{100 * rate.value:.0f} % ({100 * rate.low:.0f}–{100 * rate.high:.0f})" if rate else NONE


def report_table(report: Report) -> Table:
    """A row a slice, a column a metric; `calls` counts the cases that expect one."""
    rows = []
    for name, rates in report.estimates.items():
        by_metric = {rate.name: rate for rate in rates}
        counts = [str(by_metric[metric].n) if metric in by_metric else "0" for metric in ("valid", "tool")]
        rows.append([_line(name), *counts, *(percent(by_metric.get(metric)) for metric in METRICS)])
    return ["cases", "n", "calls", *(TITLES[metric] for metric in METRICS)], rows


def report_notes(report: Report) -> list[str]:
    """What stands under the table: why steps were wrong, what chance is right in, and what could not be used."""
    notes = [f"reasons: {_counts(report.meta.get('reasons'))}"]
    chance = _chance(report.meta, "all")
    if chance:
        notes.append(f"chance: {', '.join(f'{TITLES[metric]} {100 * value:.0f} %' for metric, value in chance.items())}")
    if report.meta.get("left_out"):
        notes.append(f"left out, because they are no samples or no steps: {_counts(report.meta['left_out'])}")
    return [_line(one) for one in notes]


def _counts(counts: Any) -> str:
    return ", ".join(f"{name} {count}" for name, count in (counts or {}).items())


def _chance(meta: Mapping[str, Any], name: str) -> Mapping[str, float]:
    found = (meta.get("chance") or {}).get(name) or {}
    return {metric: float(value) for metric, value in found.items() if metric in TITLES}


def comparison_table(comparison: Comparison) -> Table:
    """A row a slice and metric: chance, baselines, both runs, the paired difference and its verdict."""
    names = list(comparison.baselines)
    head = ["cases", "metric", "n", "chance", *map(_line, names), *labels(comparison), "difference", "McNemar p", "verdict"]
    return head, [_row(comparison, pair, names) for pair in comparison.pairs]


def _row(comparison: Comparison, pair: PairedMetric, names: Sequence[str]) -> list[str]:
    beside = [comparison.baselines[name].get((pair.slice, pair.metric)) for name in names]
    chance = _chance(comparison.a, pair.slice).get(pair.metric)
    shares = [chance, *(rate.value if rate else None for rate in beside)]
    gap = f"{100 * pair.difference:+.0f} ({100 * pair.low:+.0f} to {100 * pair.high:+.0f})"
    p = f"{pair.p:.1e}" if pair.p < 0.001 else f"{pair.p:.3f}"
    cells = [NONE if share is None else f"{100 * share:.0f} %" for share in shares]
    return [_line(pair.slice), TITLES[pair.metric], str(pair.a.n), *cells, percent(pair.a), percent(pair.b), gap, p, pair.verdict]


def labels(comparison: Comparison) -> tuple[str, str]:
    """What the two runs are called: the model and the adapter's folder; told apart where that is the same."""
    a, b = _label(comparison.a), _label(comparison.b)
    return (a, b) if a != b else (f"a: {a}", f"b: {b}")


def _label(meta: Mapping[str, Any]) -> str:
    adapter = Path(str(meta.get("adapter") or "")).name
    return _line(f"{meta.get('model')} + {adapter}" if adapter else str(meta.get("model")))


def comparison_notes(comparison: Comparison) -> list[str]:
    """The verdict over all cases in a sentence, what else differs between the runs, and how to read the figures."""
    a, b = labels(comparison)
    notes = [f"{b} against {a}: {verdict(comparison)}"]
    if comparison.differs:
        told = (f"{name} ({left} and {right})" for name, (left, right) in comparison.differs.items())
        notes.append(f"the runs also differ in {', '.join(told)}")
    notes.append(
        "intervals: 95 %, by cluster; p takes the cases as independent; chance: one of the offered tools, and a coin for abstention"
    )
    return [_line(one) for one in notes]


def verdict(comparison: Comparison) -> str:
    """``over all 400 cases better in tool and full call, undecided in abstention``."""
    pairs = [pair for pair in comparison.pairs if pair.slice == "all"]
    found = []
    for word in ("better", "worse", "undecided"):
        metrics = [TITLES[pair.metric] for pair in pairs if pair.verdict == word]
        if metrics:
            found.append(f"{word} in {' and '.join(filter(None, (', '.join(metrics[:-1]), metrics[-1])))}")
    return f"over all {max((pair.a.n for pair in pairs), default=0)} cases {', '.join(found) or 'nothing to compare'}"


def show_report(report: Report, console: Console | None = None) -> None:
    """The report's table in the terminal."""
    _show(report_table(report), _title(report), report_notes(report), console or stdout())


def show_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """The comparison's table in the terminal."""
    _show(comparison_table(comparison), _line(str(comparison.a.get("suite"))), comparison_notes(comparison), console or stdout())


def _title(report: Report) -> str:
    return _line(f"{report.suite}: {_label(report.meta)}")


def _show(table: Table, title: str, notes: Sequence[str], console: Console) -> None:
    made = _drawn(table, title)
    width = Measurement.get(console, console.options.update(width=1000), made).maximum
    if live(console) and width > console.width:
        for line in (title, *stacked(table)):
            note(console, line, style="")
    else:
        with _room(console, width):
            console.print(made)
    for one in notes:
        note(console, one, style="")


def _drawn(table: Table, title: str) -> RichTable:
    head, rows = table
    made = RichTable(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, name in enumerate(head):
        made.add_column(Text(name), justify="left" if index == 0 or name in ("metric", "verdict") else "right")
    for row in rows:
        made.add_row(*map(Text, row))
    return made


def stacked(table: Table) -> Iterator[str]:
    """The table for a terminal that is too narrow for it: a row is a sentence, and nothing is cut."""
    head, rows = table
    for first, *rest in rows:
        yield f"{first}: {', '.join(f'{name} {cell}' for name, cell in zip(head[1:], rest, strict=True) if cell != NONE)}"


@contextlib.contextmanager
def _room(console: Console, width: int) -> Iterator[None]:
    """Where nobody looks at columns (a pipe, a file) a table is as wide as it likes."""
    before = console.width
    console.width = max(before, width)
    try:
        yield
    finally:
        console.width = before


def _line(text: str) -> str:
    """Inert text on one line."""
    return " ".join(inert(text).split())


def markdown(table: Table, notes: Sequence[str] = ()) -> str:
    """The table as Markdown, and notes under it; what Markdown or HTML would read as its own is escaped."""
    head, rows = table
    lines = [head, ["---"] * len(head), *rows]
    text = "".join(
        "| " + " | ".join(cell if number == 1 else _escaped(cell) for cell in line) + " |\n" for number, line in enumerate(lines)
    )
    return text + "".join(f"\n{_escaped(one)}\n" for one in notes)


def _escaped(text: str) -> str:
    made = "".join(f"\\{letter}" if letter in r"\`*_[]|" else letter for letter in text)
    return made.replace("&", "&amp;").replace("<", "&lt;")


def save_report(report: Report, out: Path) -> None:
    """``table.md`` and ``rates.png`` in the run's folder."""
    write_text(out / "table.md", markdown(report_table(report), report_notes(report)))
    plot.draw_report(report, out / "rates.png", _title(report))


def save_comparison(comparison: Comparison, out: Path) -> None:
    """``comparison.md`` and ``comparison.png``: bars with intervals, a group a slice and metric."""
    sentences = [_line(pair.sentence) for pair in comparison.pairs if "," not in pair.slice]
    write_text(out / "comparison.md", markdown(comparison_table(comparison), [*comparison_notes(comparison), *sentences]))
    plot.draw_comparison(comparison, out / "comparison.png", labels(comparison))
