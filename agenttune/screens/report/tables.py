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
from agenttune.evaluation.endpoint import ServerUsage
from agenttune.evaluation.metrics import FEWER, METRICS, TITLES, title
from agenttune.files import write_text
from agenttune.own_json import from_json, parsed
from agenttune.screens.blocks import note
from agenttune.screens.console import live, stdout
from agenttune.screens.inert import inert
from agenttune.screens.report import plot
from agenttune.values.case import Estimate, Report

Table = tuple[list[str], list[list[str]]]  # the head, and rows as long as it
NONE = "–"
HEADLINE = ("call", "abstained", "success")  # in this order, as far as a run has them
COLUMN = 14  # letters of a run's name over a column


def percent(one: Estimate | None, places: int = 0) -> str:
    """``71 % (64–77)``: the value and its 95 % interval."""
    return f"{100 * one.value:.{places}f} % ({100 * one.low:.{places}f}–{100 * one.high:.{places}f})" if one else NONE


def report_table(report: Report) -> Table:
    """A row a slice, a column a metric, also of those that are a suite's own; `calls` counts the cases that expect a certain one."""
    own = sorted({rate.name for name, rates in report.estimates.items() if name != "all" for rate in rates} - set(METRICS))
    metrics = (*METRICS, *own)
    rows = []
    for name, rates in report.estimates.items():
        by_metric = {rate.name: rate for rate in rates}
        counts = [str(by_metric[metric].n) if metric in by_metric else "0" for metric in ("valid", "tool")]
        rows.append([line(name), *counts, *(percent(by_metric.get(metric)) for metric in metrics)])
    return ["cases", "n", "calls", *(title(metric) for metric in metrics)], rows


def report_notes(report: Report) -> list[str]:
    """What stands under the table: why steps were wrong, what chance is right in, and what could not be used."""
    notes = [f"reasons: {_counts(report.meta.get('reasons'))}"]
    if report.meta.get("outcomes"):
        notes.insert(0, f"outcomes: {_counts(report.meta['outcomes'])}")
    if report.meta.get("output_tokens"):
        notes.append(f"tokens of a reply: {_counts(report.meta['output_tokens'])}")
    if report.meta.get("card_ignored"):
        notes.append(f"NOT as the adapter was trained: its card says {_counts(report.meta['card_ignored'])}")
    chance = _chance(report.meta, "all")
    if chance:
        notes.append(f"chance: {', '.join(f'{title(metric)} {100 * value:.0f} %' for metric, value in chance.items())}")
    if report.meta.get("left_out"):
        notes.append(f"left out, because they are no samples or no steps: {_counts(report.meta['left_out'])}")
    return [line(one) for one in notes]


def _counts(counts: Any) -> str:
    return ", ".join(f"{name} {count}" for name, count in (counts or {}).items())


def _chance(meta: Mapping[str, Any], name: str) -> Mapping[str, float]:
    found = (meta.get("chance") or {}).get(name) or {}
    return {metric: float(value) for metric, value in found.items() if metric in TITLES}


def comparison_table(comparison: Comparison) -> Table:
    """A row a slice and metric: chance, baselines, both runs, the paired difference and its verdict."""
    names = list(comparison.baselines)
    head = ["cases", "metric", "n", "chance", *map(line, names), *labels(comparison), "difference", "McNemar p", "verdict"]
    return head, [_row(comparison, pair, names) for pair in comparison.pairs]


def _row(comparison: Comparison, pair: PairedMetric, names: Sequence[str]) -> list[str]:
    beside = [comparison.baselines[name].get((pair.slice, pair.metric)) for name in names]
    chance = _chance(comparison.a, pair.slice).get(pair.metric)
    shares = [chance, *(rate.value if rate else None for rate in beside)]
    corrected = pair.p if pair.p_holm is None else pair.p_holm
    p = f"{corrected:.1e}" if corrected < 0.001 else f"{corrected:.3f}"
    cells = [NONE if share is None else f"{100 * share:.0f} %" for share in shares]
    return [line(pair.slice), title(pair.metric), str(pair.a.n), *cells, percent(pair.a), percent(pair.b), _gap(pair), p, pair.verdict]


def labels(comparison: Comparison) -> tuple[str, str]:
    """What the two runs are called: the model and the adapter's folder; told apart where that is the same."""
    a, b = _label(comparison.a), _label(comparison.b)
    return (a, b) if a != b else (f"a: {a}", f"b: {b}")


def _label(meta: Mapping[str, Any]) -> str:
    adapter = Path(str(meta.get("adapter") or "")).name
    return line(f"{meta.get('model')} + {adapter}" if adapter else str(meta.get("model")))


def comparison_notes(comparison: Comparison) -> list[str]:
    """The verdict over all cases in a sentence, what else differs between the runs, and how to read the figures."""
    a, b = labels(comparison)
    notes = [f"{b} against {a}: {verdict(comparison)}"]
    if comparison.differs:
        told = (f"{name} ({left} and {right})" for name, (left, right) in comparison.differs.items())
        notes.append(f"the runs also differ in {', '.join(told)}")
    whole = [pair for pair in comparison.pairs if pair.slice == "all" and pair.metric in METRICS and pair.detectable < 1]
    least = [f"{title(pair.metric)} {100 * pair.detectable:.0f}" for pair in whole]
    if least:
        notes.append(f"least difference that so many cases show (80 % power), in points: {', '.join(least)}")
    fewer = [title(pair.metric) for pair in comparison.pairs if pair.slice == "all" and pair.metric in FEWER]
    if fewer:
        notes.append(f"the less of these the better: {', '.join(fewer)}")
    notes.append(
        "intervals: 95 %, by cluster; p (McNemar's, sign flips for means) takes the cases as independent and is corrected after Holm; "
        "chance: one of the offered tools, and a coin for abstention"
    )
    return [line(one) for one in notes]


def verdict(comparison: Comparison) -> str:
    """``over all 400 cases better in tool and full call, undecided in abstention``."""
    pairs = [pair for pair in comparison.pairs if pair.slice == "all" and pair.metric in METRICS]
    found = []
    for word in ("better", "worse", "undecided"):
        metrics = [title(pair.metric) for pair in pairs if pair.verdict == word]
        if metrics:
            found.append(f"{word} in {' and '.join(filter(None, (', '.join(metrics[:-1]), metrics[-1])))}")
    return f"over all {max((pair.a.n for pair in pairs), default=0)} cases {', '.join(found) or 'nothing to compare'}"


def show_report(report: Report, console: Console | None = None, *, wide: bool = False) -> None:
    """The headline, a row a metric over all cases, and what it means; `wide` adds every slice. It fits 80 columns."""
    console = console or stdout()
    note(console, headline(report), style="bold")
    show_table(metric_table(report), heading(report), console)
    if wide:
        show_table(report_table(report), "by slice", console)
    for one in report_notes(report):
        note(console, one, style="")


def show_usage(out: Path, console: Console | None = None) -> None:
    """What was asked of the server for this run when it was asked last, and what that cost where a price was given."""
    file = out / "usage.json"
    if not file.is_file():
        return
    used = from_json(parsed(file.read_text(encoding="utf-8"), str(file)), ServerUsage, str(file))
    said = f"asked of the server: {used.requests:,} requests answered, {used.retries:,} tried again"
    said += f"; {used.prompt_tokens:,} tokens read, {used.completion_tokens:,} written"
    note(console or stdout(), said if used.cost is None else f"{said}; cost {used.cost:.4f}", style="")


def headline(report: Report) -> str:
    """``full call 62 % (56–67) of 300, abstention 80 % (71–87) of 100``."""
    found = {one.name: one for one in report.estimates.get("all", ())}
    chosen = [found[name] for name in HEADLINE if name in found] or list(found.values())[:2]
    return line(", ".join(f"{title(one.name)} {percent(one)} of {one.n}" for one in chosen)) or "no case was judged"


def metric_table(report: Report) -> Table:
    """A row a metric over all cases: its value and interval, how many cases it speaks of, and what chance is right in."""
    chance = _chance(report.meta, "all")
    found = sorted(report.estimates.get("all", ()), key=lambda one: _place(one.name))
    rows = [
        [title(one.name), percent(one, 1), str(one.n), f"{100 * chance[one.name]:.0f} %" if one.name in chance else NONE] for one in found
    ]
    return ["metric", "value (95 % interval)", "n", "chance"], rows


def show_comparison(comparison: Comparison, console: Console | None = None, *, wide: bool = False) -> None:
    """The verdict, a row a metric over all cases with both runs side by side, and notes; `wide` is every slice and baseline instead."""
    console = console or stdout()
    notes = comparison_notes(comparison)
    note(console, notes[0], style="bold")
    table = comparison_table(comparison) if wide else paired_table(comparison)
    show_table(table, line(str(comparison.a.get("suite"))), console)
    for one in notes[1:]:
        note(console, one, style="")


def paired_table(comparison: Comparison) -> Table:
    """A row a metric over all cases: both runs, the difference with its interval, and p after Holm's correction."""
    a, b = (name if len(name) <= COLUMN else f"{name[: COLUMN - 1]}…" for name in labels(comparison))
    whole = sorted((pair for pair in comparison.pairs if pair.slice == "all"), key=lambda pair: _place(pair.metric))
    rows = [[title(one.metric), str(one.a.n), percent(one.a), percent(one.b), _gap(one), _p(one)] for one in whole]
    return ["metric", "n", a, b if b != a else "second", "difference", "p"], rows


def _place(metric: str) -> int:
    """The headline's metrics stand first, the others as they come."""
    return HEADLINE.index(metric) if metric in HEADLINE else len(HEADLINE)


def _gap(pair: PairedMetric) -> str:
    return f"{100 * pair.difference:+.0f} ({100 * pair.low:+.0f} to {100 * pair.high:+.0f})"


def _p(pair: PairedMetric) -> str:
    p = pair.p if pair.p_holm is None else pair.p_holm
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def heading(report: Report) -> str:
    """The suite and the model."""
    return line(f"{report.suite}: {_label(report.meta)}")


def show_table(table: Table, name: str, console: Console) -> None:
    """A table under a name; on a terminal too narrow for it, as sentences."""
    made = _drawn(table)
    width = Measurement.get(console, console.options.update(width=1000), made).maximum
    if live(console) and width > console.width:
        for text in (name, *stacked(table)):
            note(console, text, style="")
    else:
        note(console, name, style="italic")
        with _room(console, width):
            console.print(made)


def _drawn(table: Table) -> RichTable:
    head, rows = table
    made = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, column in enumerate(head):
        made.add_column(Text(column), justify="left" if index == 0 or column in ("metric", "verdict") else "right")
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


def line(text: str) -> str:
    """Inert text, all on one line."""
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
    plot.draw_report(report, out / "rates.png", heading(report))


def save_comparison(comparison: Comparison, out: Path) -> None:
    """``comparison.md`` and ``comparison.png``: bars with intervals, a group a slice and metric."""
    sentences = [line(pair.sentence) for pair in comparison.pairs if "," not in pair.slice and pair.metric in METRICS]
    write_text(out / "comparison.md", markdown(comparison_table(comparison), [*comparison_notes(comparison), *sentences]))
    plot.draw_comparison(comparison, out / "comparison.png", labels(comparison))
