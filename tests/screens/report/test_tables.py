"""Rates and comparisons as a person reads them: every figure is there at any width, and no text does anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agenttune.evaluation.compare import Comparison, PairedMetric
from agenttune.evaluation.metrics import DETAILS, METRICS
from agenttune.screens.report.tables import (
    comparison_notes,
    comparison_table,
    labels,
    markdown,
    percent,
    report_notes,
    report_table,
    save_comparison,
    save_report,
    show_comparison,
    show_report,
    verdict,
)
from agenttune.values.case import Estimate, Report

EVIL = "\x1b[31m[red]x|y\u202e"


def estimate(name: str, value: float, n: int = 100) -> Estimate:
    """A rate whose interval is ten points each way."""
    return Estimate(name=name, value=value, low=max(0.0, value - 0.1), high=min(1.0, value + 0.1), n=n, clusters=10)


def report(**meta: Any) -> Report:
    """Two slices, one with no case that expects a call."""
    estimates = {
        "all": (estimate("valid", 0.98), estimate("tool", 0.71, 60)),
        "known, no_tool": (estimate("valid", 1.0, 40), estimate("abstained", 0.5, 40)),
    }
    return Report(suite="desk", estimates=estimates, meta={"model": "m", "reasons": {"ok": 90, "wrong_tool": 10}, **meta})


def pair(name: str, metric: str, a: float, b: float, low: float, high: float, p: float = 0.5) -> PairedMetric:
    """A pair of 100 cases."""
    return PairedMetric(
        slice=name, metric=metric, a=estimate(metric, a), b=estimate(metric, b), difference=b - a, low=low, high=high, p=p, gained=9, lost=1
    )


def comparison(**fields: Any) -> Comparison:
    """Base against adapter, beside chance and a baseline."""
    pairs = (  # low, high, p
        pair("all", "tool", 0.0, 0.8, 0.7, 0.9, 1e-9),
        pair("all", "call", 0.1, 0.2, 0.05, 0.15, 0.02),
        pair("all", "abstained", 0.5, 0.4, -0.3, 0.1),
        pair("known, near", "tool", 0.9, 0.8, -0.19, -0.01, 0.03),
    )
    given: dict[str, Any] = {
        "a": {"model": "base", "suite": "desk", "max_new_tokens": 96, "chance": {"all": {"tool": 0.17, "abstained": 0.5}}},
        "b": {"model": "base", "adapter": "runs/demo/adapter", "suite": "desk", "max_new_tokens": 48},
        "pairs": pairs,
        "baselines": {"overlap": {("all", "tool"): estimate("tool", 0.47)}},
    }
    return Comparison(**{**given, **fields})


def test_a_share_with_its_interval() -> None:
    assert percent(estimate("tool", 0.71)) == "71 % (61–81)"
    assert percent(None) == "–"


def test_a_report_has_a_row_a_slice() -> None:
    head, rows = report_table(report())
    assert head == ["cases", "n", "calls", "well-formed", "tool", "full call", "abstention"]
    assert rows == [
        ["all", "100", "60", "98 % (88–100)", "71 % (61–81)", "–", "–"],
        ["known, no_tool", "40", "0", "100 % (90–100)", "–", "–", "50 % (40–60)"],
    ]


def test_what_stands_under_a_report() -> None:
    assert report_notes(report()) == ["reasons: ok 90, wrong_tool 10"]
    notes = report_notes(report(chance={"all": {"tool": 0.17, "abstained": 0.5}}, left_out={"json": 2}))
    assert notes[1:] == ["chance: tool 17 %, abstention 50 %", "left out, because they are no samples or no steps: json 2"]


def test_a_comparison_has_a_row_a_pair() -> None:
    head, rows = comparison_table(comparison())
    assert head == ["cases", "metric", "n", "chance", "overlap", "base", "base + adapter", "difference", "McNemar p", "verdict"]
    assert rows[0] == ["all", "tool", "100", "17 %", "47 %", "0 % (0–10)", "80 % (70–90)", "+80 (+70 to +90)", "1.0e-09", "better"]
    assert rows[1][3:5] == ["–", "–"]
    assert [row[-1] for row in rows] == ["better", "better", "undecided", "worse"]


def test_the_verdict_is_a_sentence() -> None:
    assert verdict(comparison()) == "over all 100 cases better in tool and full call, undecided in abstention"
    notes = comparison_notes(comparison())
    assert notes[0].startswith("base + adapter against base: over all 100 cases better in")
    assert notes[1] == "the runs also differ in max_new_tokens (96 and 48)"


def test_two_runs_of_one_name_are_told_apart() -> None:
    assert labels(comparison(b={"model": "base"})) == ("a: base", "b: base")


@pytest.mark.parametrize(("width", "terminal"), [(200, True), (80, True), (40, True), (20, True), (80, False)])
def test_no_figure_is_lost_at_any_width(screen: Any, width: int, terminal: bool) -> None:
    made = screen(width=width, terminal=terminal)
    show_report(report(), made.console, wide=True)
    show_comparison(comparison(), made.console, wide=True)
    words = made.text.split()
    for table in (report_table(report()), comparison_table(comparison())):
        for row in table[1]:
            for cell in row:
                assert cell == "–" or all(any(part in word for word in words) for part in cell.split()), cell
    if terminal:
        assert max(map(len, made.lines)) <= width
    assert made.console.width == width


def test_a_pipe_gets_whole_rows(screen: Any) -> None:
    made = screen(width=80)
    show_comparison(comparison(), made.console, wide=True)
    (row,) = [line for line in made.lines if "+80 (+70 to +90)" in line]
    assert " ".join(row.split()) == "all tool 100 17 % 47 % 0 % (0–10) 80 % (70–90) +80 (+70 to +90) 1.0e-09 better"


def test_what_a_run_prints_begins_with_the_headline_and_fits_80_columns(screen: Any) -> None:
    made = screen(width=80, terminal=True)
    whole = {"all": tuple(estimate(name, 1.0, 100000) for name in (*METRICS, *DETAILS, "pass^1"))}
    show_report(Report(suite="bfcl:simple_python", estimates=whole, meta={"model": "m", "chance": {"all": {"tool": 0.17}}}), made.console)
    assert made.lines[0] == "full call 100 % (90–100) of 100000, abstention 100 % (90–100) of 100000, success"
    assert max(map(len, made.lines)) <= 80
    assert [line.split("  ")[0].strip() for line in made.lines if "100.0 %" in line][:3] == ["full call", "abstention", "success"]
    (tool,) = [line for line in made.lines if line.startswith(" tool  ")]
    assert tool.split() == ["tool", "100.0", "%", "(90.0–100.0)", "100000", "17", "%"]


def test_a_comparison_has_both_runs_side_by_side_in_80_columns(screen: Any) -> None:
    made = screen(width=80, terminal=True)
    show_comparison(comparison(), made.console)
    (row,) = [line for line in made.lines if "+80 (+70 to +90)" in line]
    assert " ".join(row.split()) == "tool 100 0 % (0–10) 80 % (70–90) +80 (+70 to +90) <0.001"
    assert max(map(len, made.lines)) <= 80
    assert "known, near" not in made.text
    assert made.lines[0].startswith("base + adapter against base: over all 100 cases better in")


def test_text_is_inert_wherever_it_stands(screen: Any, tmp_path: Path) -> None:
    evil = Report(
        suite=EVIL, estimates={EVIL: (estimate("valid", 1.0),)}, meta={"model": EVIL, "reasons": {EVIL: 1}, "left_out": {EVIL: 1}}
    )
    pairs = (pair(EVIL, "tool", 0.0, 1.0, 0.5, 1.0),)
    both = comparison(a={"model": EVIL, "suite": EVIL}, b={"model": "$x_$", "suite": EVIL}, pairs=pairs, baselines={f"_{EVIL}": {}})
    for width in (30, 200):
        made = screen(width=width, terminal=True)
        show_report(evil, made.console)
        show_comparison(both, made.console)
        assert "\x1b" not in made.text and "\u202e" not in made.text
        assert "[red]" in made.text
    save_report(evil, tmp_path)
    save_comparison(both, tmp_path)
    for name in ("table.md", "comparison.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "\x1b" not in text
        assert "\\[red\\]x\\|y" in text
    for name in ("rates.png", "comparison.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_markdown_keeps_its_columns() -> None:
    text = markdown((["a", "b"], [["x|y", "<b> & *c*"]]), ["p < 1"])
    assert text == "| a | b |\n| --- | --- |\n| x\\|y | &lt;b> &amp; \\*c\\* |\n\np &lt; 1\n"


def test_tables_and_plots_land_in_the_folder(tmp_path: Path) -> None:
    save_report(report(), tmp_path / "run")
    assert "| all | 100 | 60 | 98 % (88–100) |" in (tmp_path / "run" / "table.md").read_text(encoding="utf-8")
    save_comparison(comparison(), tmp_path)
    text = (tmp_path / "comparison.md").read_text(encoding="utf-8")
    assert (
        "full call (all, 100 cases): the second run is better (+10 points, 95 % interval +5 to +15, p = 0.020; 9 cases gained, 1 lost)"
        in text
    )
    assert "known, near, 100" not in text  # sentences are of the whole slices; the table has all
    sizes = [int.from_bytes((tmp_path / name).read_bytes()[16:20], "big") for name in ("run/rates.png", "comparison.png")]
    assert all(600 <= size <= 4000 for size in sizes)
    assert not list(tmp_path.rglob("*.part"))


def test_an_empty_comparison_and_older_runs_can_be_shown(screen: Any, tmp_path: Path) -> None:
    empty = comparison(pairs=(), a={"model": "m", "suite": "s"}, b={"model": "m"})
    made = screen(width=80, terminal=True)
    show_comparison(empty, made.console)
    assert "nothing to compare" in made.text
    save_comparison(empty, tmp_path)
    assert json.dumps(report_notes(Report(suite="s", estimates={}, meta={}))) == '["reasons:"]'
