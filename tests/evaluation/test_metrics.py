"""Metrics over cases: each by hand."""

from __future__ import annotations

from typing import Any

import pytest

from agenttune.evaluation.metrics import estimate, estimates_by_slice, pass_hat
from agenttune.screens.report.tables import report_table
from agenttune.values.case import Report, Score


def scored(name: str, **fields: Any) -> Score:
    given: dict[str, Any] = {"valid": True, "tool": None, "arguments": None, "call": None, "abstained": None, "reason": "ok"}
    return Score(case=name, **{**given, **fields})


def test_decision_f1_is_macro_and_what_cannot_be_read_is_neither() -> None:
    call = [scored(f"c{at}", tool=True, call=True, outcome=out) for at, out in enumerate(["call_ok", "call_ok", "final", "malformed"])]
    answer = [scored(f"n{at}", abstained=out == "final", outcome=out) for at, out in enumerate(["final", "call_ok", "malformed"])]
    # Calls: 2 right of 3 made and 4 due, 4 / 7. Answers: 1 right of 2 made and 3 due, 2 / 5.
    made = estimate([*call, *answer], "decision_f1")
    assert made is not None
    assert (made.value, made.n) == (pytest.approx((4 / 7 + 2 / 5) / 2), 7)
    assert 0 <= made.low < made.value < made.high <= 1
    assert estimate(call, "decision_f1") is None  # nothing to abstain from


def test_ratios_are_sums_over_sums_and_means_are_means() -> None:
    scores = [
        scored("a", counts={"invented_argument": (1, 1), "argument_f1": (0.5, 1)}),
        scored("b", counts={"invented_argument": (0, 9), "argument_f1": (1.0, 1)}),
        scored("c"),
    ]
    ratio, f1 = estimate(scores, "invented_argument"), estimate(scores, "argument_f1")
    assert ratio is not None and f1 is not None
    assert (ratio.value, ratio.n) == (pytest.approx(0.1), 2)
    assert (f1.value, f1.n) == (0.75, 2)
    assert estimate(scores, "call_f1") is None
    assert estimate([scored("a", counts={"call_recall": (0, 0)})], "call_recall") is None


def test_pass_hat_by_hand() -> None:
    trials = {"t0": [1, 1, 0, 0], "t1": [1, 1, 1, 1], "t2": [0, 0, 0]}
    scores = []
    for task, many in trials.items():
        scores += [
            scored(f"{task}#{at}", counts={"success": (one, 1)}, clusters=(task,), tags={"trial": str(at)}) for at, one in enumerate(many)
        ]
    found = pass_hat(scores)
    assert list(found) == ["pass^1", "pass^2", "pass^3"]  # one task has three trials
    assert found["pass^1"].value == pytest.approx((0.5 + 1 + 0) / 3)
    assert found["pass^2"].value == pytest.approx((1 / 6 + 1 + 0) / 3)
    assert found["pass^3"].value == pytest.approx((0 + 1 + 0) / 3)
    assert found["pass^1"].clusters == 3


def test_a_suites_own_metrics_are_in_the_report() -> None:
    made = estimates_by_slice([scored("a", counts={"bfcl_compat": (1, 1)}), scored("b", counts={"bfcl_compat": (0, 1)})])
    assert {one.name: one.value for one in made["all"]}["bfcl_compat"] == 0.5


def test_each_category_has_its_row_with_the_suites_own_metrics() -> None:
    def one(name: str, category: str, right: int) -> Score:
        return scored(name, tags={"category": category}, counts={"bfcl_compat": (right, 1)})

    scores = [one("a", "simple", 1), one("b", "simple", 0), one("c", "multiple", 1)]
    made = estimates_by_slice(scores)
    assert list(made) == ["all", "multiple", "simple"]
    assert {name: {one.name: one.value for one in found}["bfcl_compat"] for name, found in made.items()} == {
        "all": pytest.approx(2 / 3), "multiple": 1.0, "simple": 0.5,
    }  # fmt: skip
    head, rows = report_table(Report(suite="bfcl", estimates=made))
    assert head[-1] == "bfcl compat" and [row[0] for row in rows] == ["all", "multiple", "simple"]
    assert rows[2][-1].startswith("50 % (")
    assert list(estimates_by_slice(scores[:2])) == ["all"]  # one category alone would only repeat the whole


def test_at_nothing_and_everything_an_interval_keeps_a_width() -> None:
    wrong = [scored(f"c{at}", call=False, outcome="malformed", counts={"argument_f1": (0, 1), "call_recall": (0, 2)}) for at in range(5)]
    wrong += [scored(f"n{at}", abstained=False, outcome="malformed") for at in range(5)]
    for metric, n in (("decision_f1", 10), ("argument_f1", 5), ("call_recall", 5)):
        made = estimate(wrong, metric)
        assert made is not None
        # Wilson at 0 of n: z² / (n + z²).
        assert (made.value, made.low, made.high) == (0.0, 0.0, pytest.approx(3.8415 / (n + 3.8415), abs=1e-4))
    tasks = [scored(f"t{at}", counts={"success": (1, 1)}, clusters=(f"t{at}",), tags={"trial": "0"}) for at in range(4)]
    assert (pass_hat(tasks)["pass^1"].low, pass_hat(tasks)["pass^1"].high) == (pytest.approx(4 / (4 + 3.8415), abs=1e-4), 1.0)
