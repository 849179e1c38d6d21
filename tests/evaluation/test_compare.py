"""Comparisons are paired, and only of the same cases."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agenttune.errors import UserError
from agenttune.evaluation.compare import compare, compare_runs
from agenttune.evaluation.metrics import METRICS
from agenttune.values.case import Case, exactly
from agenttune.values.trajectory import ToolCall

WRONG = "Final Answer: no"
Run = Callable[..., Any]


def test_a_comparison_is_paired(tmp_path: Path, run: Run) -> None:
    run(tmp_path / "a", WRONG)
    run(tmp_path / "b")
    made = compare(tmp_path / "a", tmp_path / "b", baselines=[tmp_path / "a"])
    pairs = {(one.slice, one.metric): one for one in made.pairs}
    tool = pairs["all", "call"]
    assert (tool.a.value, tool.b.value, tool.difference, tool.gained, tool.lost) == (0.0, 1.0, 1.0, 4, 0)
    assert tool.p == pytest.approx(2 / 2**4)
    # By hand: 5 / 6 gained, 1 / 6 lost, 0.667 ± 1.96 √((1 - 0.444) / 6) = 0.667 ± 0.596.
    assert (tool.low, tool.high) == (pytest.approx(0.070, abs=1e-3), 1.0)
    assert tool.sentence == "full call (all, 4 cases): no difference is shown (+100 points, 95 % interval +7 to +100, p = 0.125)"
    restraint = pairs["all", "abstained"]
    assert (restraint.difference, restraint.gained, restraint.lost) == (-1.0, 0, 2)
    same = pairs["all", "valid"]
    assert (same.difference, same.p, same.verdict) == (0.0, 1.0, "undecided")
    assert "no difference is shown" in same.sentence
    assert made.baselines["a"]["all", "call"].value == 0.0
    assert made.differs == {"text": (WRONG, 'Action: add\nAction Input: {"n": 1}')}


def test_the_order_of_the_runs_turns_the_sign(tmp_path: Path, run: Run, cases: Callable[..., list[Case]]) -> None:
    run(tmp_path / "a", WRONG, cases=cases(60))
    run(tmp_path / "b", cases=cases(60))
    there, back = compare(tmp_path / "a", tmp_path / "b"), compare(tmp_path / "b", tmp_path / "a")
    for one, other in zip(there.pairs, back.pairs, strict=True):
        assert (one.difference, one.low, one.high, one.p) == pytest.approx((-other.difference, -other.high, -other.low, other.p))
    (tool,) = [one for one in there.pairs if (one.slice, one.metric) == ("all", "call")]
    assert tool.sentence.startswith("full call (all, 40 cases): the second run is better (+100 points, 95 % interval +")
    assert tool.sentence.endswith("p < 0.001; 40 cases gained, 0 lost)")
    verdicts = {one.metric: one.verdict for one in there.pairs if one.slice == "all" and one.metric in METRICS}
    assert verdicts == {"valid": "undecided", "tool": "better", "call": "better", "abstained": "worse"}


def test_less_of_what_is_wrong_is_better(tmp_path: Path, run: Run, cases: Callable[..., list[Case]]) -> None:
    run(tmp_path / "a", 'Action: made_up\nAction Input: {"n": 1}', cases=cases(60))
    run(tmp_path / "b", cases=cases(60))
    (pair,) = [one for one in compare(tmp_path / "a", tmp_path / "b").pairs if one.metric == "invented_tool"]
    assert (pair.difference, pair.verdict, pair.gained, pair.lost) == (-1.0, "better", 60, 0)
    (back,) = [one for one in compare(tmp_path / "b", tmp_path / "a").pairs if one.metric == "invented_tool"]
    assert (back.difference, back.verdict, back.gained, back.lost) == (1.0, "worse", 0, 60)


def test_runs_over_other_cases_are_refused_with_the_difference(tmp_path: Path, run: Run, cases: Callable[..., list[Case]]) -> None:
    run(tmp_path / "a")
    run(tmp_path / "fewer", cases=cases(5))
    with pytest.raises(UserError, match=r"s with 6 and s with 5; 1 are in .*a alone, 0 are in .*fewer alone"):
        compare(tmp_path / "a", tmp_path / "fewer")
    changed = [replace(cases()[0], answers=(exactly([ToolCall(name="sub", arguments={})]),)), *cases()[1:]]
    run(tmp_path / "changed", cases=changed)
    with pytest.raises(UserError, match="what is asked or accepted in s has changed"):
        compare(tmp_path / "a", tmp_path / "changed")


def test_prompts_that_changed_are_refused_and_other_models_have_other_prompts(tmp_path: Path, run: Run) -> None:
    for name, fingerprint, prompts_hash in (("a", "f", "1"), ("b", "f", "2"), ("c", "g", "2")):
        run(tmp_path / name)
        meta = json.loads((tmp_path / name / "meta.json").read_text())
        more = {"fingerprint": fingerprint, "prompts_hash": prompts_hash, "protocol": "react", "template": "auto"}
        (tmp_path / name / "meta.json").write_text(json.dumps({**meta, **more}))
    with pytest.raises(UserError, match="the prompts have changed"):
        compare(tmp_path / "a", tmp_path / "b")
    assert compare(tmp_path / "a", tmp_path / "c").differs == {}


def test_what_is_no_finished_run_is_a_sentence(tmp_path: Path, run: Run) -> None:
    run(tmp_path / "a")
    with pytest.raises(UserError, match="none is no run of agenttune eval"):
        compare(tmp_path / "a", tmp_path / "none")
    run(tmp_path / "b")
    (tmp_path / "b" / "report.json").unlink()
    with pytest.raises(UserError, match="not finished"):
        compare(tmp_path / "a", tmp_path / "b")


def test_several_runs_are_corrected_as_a_family(tmp_path: Path, run: Run, cases: Callable[..., list[Case]]) -> None:
    run(tmp_path / "a", WRONG, cases=cases(18))
    for name in ("b", "c", "d"):
        run(tmp_path / name, cases=cases(18))
    made = compare_runs(tmp_path / "a", [tmp_path / name for name in "bcd"])
    pairs = [next(pair for pair in one.pairs if (pair.slice, pair.metric) == ("all", "call")) for one in made]
    assert [pair.p for pair in pairs] == pytest.approx([2 / 2**12] * 3)
    assert [pair.p_holm for pair in pairs] == pytest.approx([3 * 2 / 2**12] * 3)
    slices = [pair for pair in made[0].pairs if pair.metric == "call" and pair.slice != "all"]
    assert slices and all(pair.p_holm is not None and pair.p_holm >= 5 * pair.p for pair in slices)  # two halves in each of three runs
    alone = compare(tmp_path / "a", tmp_path / "b")
    assert next(pair.p_holm for pair in alone.pairs if (pair.slice, pair.metric) == ("all", "call")) == pytest.approx(2 / 2**12)


def test_what_so_many_cases_would_show_is_told(tmp_path: Path, run: Run, cases: Callable[..., list[Case]]) -> None:
    run(tmp_path / "a", WRONG, cases=cases(60))
    run(tmp_path / "b", cases=cases(60))
    (pair,) = [one for one in compare(tmp_path / "a", tmp_path / "b").pairs if (one.slice, one.metric) == ("all", "call")]
    # All 40 pairs differ: 40 = (1.96 + 0.84 √(1 − δ²))² / δ², δ = 0.43: 40 · 0.185 = 2.72².
    assert pair.detectable == pytest.approx(0.43, abs=0.001)
    assert pair.bootstrap == (1.0, 1.0)
    (same,) = [one for one in compare(tmp_path / "a", tmp_path / "b").pairs if (one.slice, one.metric) == ("all", "valid")]
    assert same.detectable == 1.0  # no pair differs: nothing says how many would have to
