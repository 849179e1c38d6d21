"""Calls against calls: types by the schema, several calls by maximum matching, F1; every figure by hand."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttune import protocols
from agenttune.evaluation.call_matching import argument_f1, best_matching, difference
from agenttune.evaluation.score import OUTCOMES, outcome_of, score
from agenttune.protocols.base import write
from agenttune.values.case import Case, ExpectedCall, Score, exactly
from agenttune.values.trajectory import Malformed, Round, Step, ToolCall, ToolSpec, Trajectory

TYPED = ToolSpec(
    name="find",
    parameters={
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "count": {"type": "integer"},
            "price": {"type": "number"},
            "exact": {"type": "boolean"},
            "list": {"type": "array", "items": {"type": "string"}},
            "unit": {"type": "string", "default": "km"},
            "limit": {"type": ["integer", "null"]},
            "free": {},
        },
        "required": ["text"],
    },
)


def call(name: str = "find", **arguments: Any) -> ToolCall:
    return ToolCall(name=name, arguments=arguments)


def case(*answers: tuple[ExpectedCall, ...], ordered: bool = False, tools: tuple[ToolSpec, ...] = (TYPED, ToolSpec(name="add"))) -> Case:
    sample = write(Trajectory(tools=tools, rounds=(Round(user="u"),)), protocols.get("hermes"))
    return Case(id="c", sample=sample, answers=answers, ordered=ordered)


def judged(made: Case, *calls: ToolCall) -> Score:
    return score(made, Step(calls=calls, outcome="ok"))


@pytest.mark.parametrize(
    ("name", "seen", "wanted", "found"),
    [
        ("text", 1234, "01234", "wrong_type"),
        ("text", 1.1, "1.10", "wrong_type"),
        ("text", 1234, "1234", "wrong_type"),
        ("text", "1234", "01234", "wrong_value"),
        ("text", "01234", "01234", "ok"),
        ("text", True, "true", "wrong_type"),
        ("text", "5", 5, "ok"),  # the answer breaks the schema: then it leaves the choice open
        ("count", "3", 3, "wrong_type"),
        ("count", 3.0, 3, "ok"),
        ("count", 3.5, 3, "wrong_type"),
        ("count", True, 1, "wrong_type"),
        ("price", 2, 2.0, "ok"),
        ("price", "2", 2.0, "wrong_type"),
        ("exact", "true", True, "wrong_type"),
        ("exact", False, True, "wrong_value"),
        ("list", ["1", 2], ["1", "2"], "wrong_value"),
        ("list", "a", ["a"], "wrong_type"),
        ("free", "3", 3, "ok"),  # no type: the choice is open
        ("free", 1.10, "1.1", "ok"),
    ],
)
def test_types_are_the_schemas(name: str, seen: Any, wanted: Any, found: str) -> None:
    expected = ExpectedCall(name="find", arguments={name: (wanted,)})
    assert difference(call(**{name: seen}), expected, {}, TYPED) == found


def test_optional_arguments_defaults_and_null_say_nothing() -> None:
    wanted = ExpectedCall(name="find", arguments={"text": ("a",), "count": (1, 2)}, optional=frozenset({"count"}))
    assert difference(call(text="a"), wanted, {}, TYPED) == "ok"
    assert difference(call(text="a", count=2), wanted, {}, TYPED) == "ok"
    assert difference(call(text="a", count=3), wanted, {}, TYPED) == "wrong_value"
    assert difference(call(text="a", unit="km"), wanted, {}, TYPED) == "ok"
    assert difference(call(text="a", unit="km"), wanted, {}, TYPED, strict=True) == "extra_argument"
    assert difference(call(text="a", limit=None), wanted, {}, TYPED) == "ok"
    assert difference(call(text="a", free=None), wanted, {}, TYPED) == "extra_argument"  # no null in its schema
    assert difference(call(count=1), wanted, {}, TYPED) == "missing_argument"
    null = ExpectedCall(name="find", arguments={"text": ("a",), "limit": (None,)})
    assert difference(call(text="a"), null, {}, TYPED) == "ok"
    assert difference(call(text="a"), null, {}, TYPED, strict=True) == "missing_argument"


A, B = call("add", n=1), call("add", n=2)


@pytest.mark.parametrize(
    ("calls", "reason"),
    [
        ((A, B), "ok"),
        ((B, A), "ok"),  # order only where the suite says so
        ((A,), "missing_call"),
        ((A, A), "wrong_value"),
        ((A, call("add", n=3)), "wrong_value"),
        ((A, B, B), "extra_call"),
        ((A, B, call("find", text="a")), "extra_call"),
        ((A, B, call("made_up")), "invented_tool"),
        ((A, call("find", text="a")), "wrong_tool"),
        ((A, call("add")), "missing_argument"),
    ],
)
def test_several_calls_are_matched_one_to_one(calls: tuple[ToolCall, ...], reason: str) -> None:
    made = judged(case(exactly([A, B])), *calls)
    assert (made.reason, made.call) == (reason, reason == "ok")
    assert made.tool is (reason in ("ok", "wrong_value", "missing_argument"))


def test_order_counts_where_the_suite_says_so() -> None:
    find = call("find", text="a")
    ordered = case(exactly([A, find]), ordered=True)
    assert judged(ordered, A, find).reason == "ok"
    assert judged(ordered, find, A).reason == "wrong_order"
    assert judged(case(exactly([A, B]), ordered=True), B, A).reason == "wrong_value"
    assert judged(case(exactly([A, find])), find, A).reason == "ok"


def test_a_greedy_matching_would_be_wrong() -> None:
    """The first call fits both answers and the second only one: taken in turn, the first would take the second's."""
    either, one = ExpectedCall(name="add", arguments={"n": (1, 2)}), ExpectedCall(name="add", arguments={"n": (1,)})
    assert judged(case((either, one)), A, B).reason == "ok"
    assert judged(case((either, one)), B, A).reason == "ok"


def test_one_answer_of_several_is_enough_and_answers_are_not_mixed() -> None:
    several = case(exactly([A]), exactly([B, call("find", text="a")]))
    assert judged(several, A).call
    assert judged(several, call("find", text="a"), B).call
    assert judged(several, A, call("find", text="a")).reason == "wrong_value"  # nearest to the second, whose names it has


def test_precision_recall_and_f1_are_one_to_one() -> None:
    four = judged(case(exactly([A])), A, A, A, A).counts  # four copies of a right call: one is right, three are extra
    assert (four["call_recall"], four["call_precision"], four["call_f1"]) == ((1, 1), (1, 4), (pytest.approx(2 / 5), 1))
    half = judged(case(exactly([A, B])), A, call("add", n=3)).counts
    assert (half["call_recall"], half["call_precision"], half["call_f1"]) == ((1, 2), (1, 2), (0.5, 1))
    assert half["argument_f1"] == (pytest.approx((1 + 0.5) / 2), 1)
    nothing = score(case(exactly([A])), Step(answer="no", outcome="ok")).counts
    assert nothing["call_recall"] == (0, 1)
    assert nothing["argument_f1"] == (0, 1)
    assert "call_precision" not in nothing


@pytest.mark.parametrize(
    ("made", "wanted", "f1"),
    [
        (call("f", a=1, b=2), call("f", a=1, b=2), 1.0),
        (call("f", a=1, b=3), call("f", a=1, b=2), 0.75),  # recall and precision (1 + 0.5) / 2
        (call("f", a=1), call("f", a=1, b=2), 2 / 3),  # recall 1 / 2, precision 1
        (call("f", a=1, b=2, c=3, d=4), call("f", a=1, b=2), 2 / 3),  # recall 1, precision 1 / 2
        (call("g", a=1), call("f", a=1), 0.0),
        (call("f"), call("f"), 1.0),
        (call("f", a=1), call("f"), 0.0),
        (call("f"), call("f", a=1), 0.0),
    ],
)
def test_argument_f1(made: ToolCall, wanted: ToolCall, f1: float) -> None:
    assert argument_f1(made, exactly([wanted])[0], {}) == pytest.approx(f1)


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=n, max_size=n), max_size=4)))
def test_the_best_matching_is_the_best_of_all(weights: list[list[float]]) -> None:
    rows, columns = len(weights), len(weights[0]) if weights else 0
    wide = weights if rows <= columns else [list(column) for column in zip(*weights, strict=True)]
    every = (sum(row[at] for row, at in zip(wide, chosen, strict=True)) for chosen in permutations(range(max(rows, columns)), len(wide)))
    assert best_matching(weights) == pytest.approx(max(every, default=0.0))


def test_outcomes_are_apart_from_right_and_wrong() -> None:
    broken = Malformed(text="?", reason="r")
    steps = {
        "call_ok": Step(calls=(A,), outcome="ok"),
        "final": Step(answer="3", outcome="ok"),
        "malformed": Step(calls=(A, broken), outcome="malformed"),
        "empty": Step(answer=" ", outcome="ok"),
        "truncated": Step(calls=(A,), outcome="truncated"),
        "infra_error": Step(outcome="infra_error"),
    }
    assert tuple(steps) == OUTCOMES
    for name, step in steps.items():
        assert outcome_of(step) == name
        assert score(case(exactly([A])), step).outcome == name
    assert score(case(exactly([A])), steps["truncated"]).call is False  # it would have been right
    assert [score(case(), step).abstained for step in steps.values()] == [False, True, False, False, False, False]


def test_invented_tools_and_arguments_are_counted_apart() -> None:
    found = judged(case(exactly([A])), call("find", text=1, odd=2, count="x"), call("nobody", a=1)).counts
    assert found["invented_tool"] == (1, 2)
    assert found["invented_argument"] == (1, 3)  # `odd`, of the three that went to a tool that exists
    assert found["wrong_type_argument"] == (2, 3)


def test_strict_and_repaired_stand_apart() -> None:
    react = protocols.get("react")
    sample = write(Trajectory(tools=(TYPED,), rounds=(Round(user="u"),)), react)
    made = Case(id="c", sample=sample, answers=(exactly([call(text="a", count=3)]),))

    def say(text: str) -> Score:
        step = react.parse(text)
        bad = any(isinstance(one, Malformed) for one in step.calls)
        return score(made, Step(calls=step.calls, answer=step.answer, raw=text, outcome="malformed" if bad else "ok"))

    clean = say('Action: find\nAction Input: {"text": "a", "count": 3}')
    assert (clean.call, clean.counts["call_strict"], clean.counts["call_repaired"]) == (True, (1, 1), (1, 1))
    for text in ('{"text": "a", "count": 3} // three', '{"text": "a", "count": 3}\nThat is it.', '{text: "a", count: "3"}'):
        found = say(f"Action: find\nAction Input: {text}")
        assert (found.outcome, found.call, found.counts["call_repaired"]) == ("malformed", False, (1, 1))
    typed = say('Action: find\nAction Input: {"text": "a", "count": "3"}')
    assert (typed.reason, typed.call, typed.counts["call_repaired"]) == ("wrong_type", False, (1, 1))
    default = say('Action: find\nAction Input: {"text": "a", "count": 3, "unit": "km"}')
    assert (default.call, default.counts["call_strict"]) == (True, (0, 1))
    assert say("find the text a").counts["call_repaired"] == (0, 1)
