"""Rates with their intervals as bars, in a PNG file."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agenttune.evaluation.compare import Comparison
from agenttune.evaluation.metrics import METRICS, title
from agenttune.files import replacing
from agenttune.screens.inert import inert
from agenttune.values.case import Estimate, Report

COLOURS = ("#9aa5b1", "#2563eb")  # told apart by lightness too
MARKS = ("_", "x", "+", "1")  # chance, then baselines


def draw_report(report: Report, path: Path, label: str) -> None:
    """A bar for each metric of each slice that is no part of another."""
    shown = [(name, rate) for name, found in report.estimates.items() if "," not in name for rate in found if rate.name in METRICS]
    figure, axes = _axes([f"{name}\n{title(rate.name)}" for name, rate in shown])
    _bars(axes, [rate for _, rate in shown], shift=0.0, width=0.7, colour=COLOURS[1], label=label)
    _write(figure, axes, path)


def draw_comparison(comparison: Comparison, path: Path, labels: tuple[str, str]) -> None:
    """Both runs side by side for each slice that is no part of another, with chance and the baselines as marks."""
    shown = [pair for pair in comparison.pairs if "," not in pair.slice and pair.metric in METRICS]
    figure, axes = _axes([f"{pair.slice}\n{title(pair.metric)}" for pair in shown])
    _bars(axes, [pair.a for pair in shown], shift=-0.2, width=0.38, colour=COLOURS[0], label=labels[0])
    _bars(axes, [pair.b for pair in shown], shift=0.2, width=0.38, colour=COLOURS[1], label=labels[1])
    chance: dict[str, dict[str, float]] = comparison.a.get("chance") or {}
    beside = [("chance", [chance.get(pair.slice, {}).get(pair.metric) for pair in shown])]
    for name, found in comparison.baselines.items():
        beside.append((name, [rate.value if (rate := found.get((pair.slice, pair.metric))) else None for pair in shown]))
    for number, (name, values) in enumerate(beside):
        points = [(index, 100 * value) for index, value in enumerate(values) if value is not None]
        if points:
            x, y = zip(*points, strict=True)
            axes.scatter(x, y, marker=MARKS[number % len(MARKS)], color="black", s=60, zorder=3, label=_plain(name))
    _write(figure, axes, path)


def _axes(names: Sequence[str]) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(6.0, 0.55 * len(names) + 2), 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_xticks(range(len(names)), [_plain(name) for name in names], rotation=60, ha="right", fontsize=8)
    axes.set_ylim(0, 105)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel("%, with 95 % interval")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    return figure, axes


def _bars(axes: Any, shown: Sequence[Estimate], *, shift: float, width: float, colour: str, label: str) -> None:
    below = [max(0.0, 100 * (rate.value - rate.low)) for rate in shown]
    above = [max(0.0, 100 * (rate.high - rate.value)) for rate in shown]
    axes.bar(
        [index + shift for index in range(len(shown))],
        [100 * rate.value for rate in shown],
        width=width,
        color=colour,
        yerr=[below, above],
        capsize=2,
        label=_plain(label),
    )


def _plain(text: str) -> str:
    """Text that matplotlib takes as text: dollar signs hold no formula, and an underscore in front does not hide a label."""
    text = inert(text).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _write(figure: Any, axes: Any, path: Path) -> None:
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.14), ncols=3, frameon=False)
    with replacing(path, "wb") as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a letter the font lacks is drawn as a box
        figure.savefig(file, format="png", dpi=120)
