"""Judgements: each field and reason, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from agenttune import protocols
from agenttune.evaluation.metrics import estimate
from agenttune.evaluation.score import DIFFERENCES, REASONS, score
from agenttune.protocols.base import write
from agenttune.values.case import Case, exactly
from agenttune.values.trajectory import Malformed, Round, Step, ToolCall, ToolSpec, Trajectory

UNITS = {"type": "object", "properties": {"a": {}, "unit": {"default": "km"}}}
ADD = ToolCall(name="add", arguments={"a": 1, "b": "two"})
BROKEN = Malformed(text="?", reason="r")


def case(*accepted: ToolCall, compare: dict[str, str] | None = None) -> Case:
    """A case that offers `add`, `sub` and `units`."""
    tools = (ToolSpec(name="add"), ToolSpec(name="sub"), ToolSpec(name="units", parameters=UNITS))
    trajectory = Trajectory(tools=tools, rounds=(Round(user="1 + 2?"),))
    return Case(
        id="c", sample=write(trajectory, protocols.get("react")), answers=tuple(exactly([one]) for one in accepted), compare=compare or {}
    )


def call(name: str, outcome: str = "ok", **arguments: Any) -> Step:
    """A step that calls."""
    return Step(calls=(ToolCall(name=name, arguments=arguments),), outcome=outcome)


@pytest.mark.parametrize(
    ("step", "valid", "tool", "full", "reason"),
    [
        (call("add", a=1, b="two"), True, True, True, "ok"),
        (call("add", a="1", b="two"), True, True, True, "ok"),
        (call("add", a=2, b="two"), True, True, False, "wrong_value"),
        (call("add", a=1), True, True, False, "missing_argument"),
        (call("add", a=1, c=3), True, True, False, "missing_argument"),
        (call("add", a=1, b="two", c=3), True, True, False, "extra_argument"),
        (call("add", a=2, b="two", c=3), True, True, False, "extra_argument"),
        (call("sub", a=1, b="two"), True, False, False, "wrong_tool"),
        (call("mul", a=1, b="two"), True, False, False, "invented_tool"),
        (call("Add", a=1, b="two"), True, False, False, "invented_tool"),
        (Step(answer="3", outcome="ok"), True, False, False, "answered"),
        (Step(answer=" ", outcome="ok"), False, False, False, "empty"),
        (Step(), False, False, False, "empty"),
        (Step(calls=(BROKEN,), outcome="malformed"), False, False, False, "malformed"),
        (Step(calls=(ADD, BROKEN), outcome="malformed"), False, False, False, "malformed"),
        (call("add", outcome="truncated", a=1, b="two"), False, False, False, "length"),
        (Step(outcome="context"), False, False, False, "context"),
    ],
)
def test_a_case_that_expects_a_call(step: Step, valid: bool, tool: bool, full: bool, reason: str) -> None:
    made = score(case(ADD), step)
    assert (made.valid, made.tool, made.call, made.reason, made.abstained) == (valid, tool, full, reason, None)
    assert made.arguments == (full if tool else None)


@pytest.mark.parametrize(
    ("step", "valid", "abstained", "reason"),
    [
        (Step(answer="I need a number.", outcome="ok"), True, True, "ok"),
        (call("add", a=1), True, False, "called"),
        (call("mul", a=1), True, False, "called"),
        (Step(answer="", outcome="ok"), False, False, "empty"),
        (Step(calls=(BROKEN,), outcome="malformed"), False, False, "malformed"),
        (Step(answer="I need", outcome="truncated"), False, False, "length"),
        (Step(outcome="context"), False, False, "context"),
    ],
)
def test_a_case_that_expects_none(step: Step, valid: bool, abstained: bool, reason: str) -> None:
    made = score(case(), step)
    assert (made.tool, made.arguments, made.call, made.valid, made.abstained, made.reason) == (None, None, None, valid, abstained, reason)


def test_every_reason_is_one_of_the_list() -> None:
    assert len(set(REASONS)) == len(REASONS) == 16
    assert set(DIFFERENCES) <= set(REASONS)


def test_any_accepted_call_counts_and_the_nearest_gives_the_reason() -> None:
    other = ToolCall(name="sub", arguments={"a": 1})
    assert score(case(ADD, other), call("sub", a=1)).call
    same_name = ToolCall(name="add", arguments={"a": 5})
    assert score(case(ADD, same_name), call("add", a=5)).call
    assert score(case(ADD, same_name), call("add", a=6)).reason == "wrong_value"  # against ADD alone an argument is missing


def test_an_argument_is_compared_as_the_case_declares() -> None:
    wanted = ToolCall(name="add", arguments={"a": "970+44"})
    assert score(case(wanted), call("add", a="970 + 44")).reason == "wrong_value"
    assert score(case(wanted, compare={"a": "expression"}), call("add", a="970 + 44")).call


def test_saying_a_default_says_nothing() -> None:
    wanted = ToolCall(name="units", arguments={"a": 1})
    assert score(case(wanted), call("units", a=1, unit="km")).call
    assert score(case(wanted), call("units", a=1, unit="m")).reason == "extra_argument"
    assert score(case(ToolCall(name="units", arguments={"a": 1, "unit": "km"})), call("units", a=1)).call
    assert score(case(ToolCall(name="units", arguments={"a": 1, "unit": "m"})), call("units", a=1)).reason == "missing_argument"


def test_what_cannot_be_read_is_no_restraint() -> None:
    """240 unparsable calls where no call is wanted: not one counts as abstention."""
    scores = [score(case(), Step(calls=(BROKEN,), outcome="malformed")) for _ in range(240)]
    abstained, valid = estimate(scores, "abstained"), estimate(scores, "valid")
    assert abstained is not None and valid is not None
    assert (abstained.value, abstained.n, valid.value) == (0.0, 240, 0.0)
    assert estimate(scores, "tool") is None


def test_a_judgement_keeps_what_was_said() -> None:
    made = score(case(ADD), Step(answer="3", raw="Final Answer: 3", outcome="ok"))
    assert (made.output, made.stop) == ("Final Answer: 3", "ok")
