"""Judgements: each field and reason, by hand."""

from __future__ import annotations

import pytest

from agenttune import protocols
from agenttune.evaluation.score import equal, score
from agenttune.protocols.base import write
from agenttune.values.case import Case
from agenttune.values.trajectory import Malformed, Round, Step, ToolCall, ToolSpec, Trajectory


def case(*accepted: ToolCall, compare: dict[str, str] | None = None) -> Case:
    """A case that offers `add` and `sub`."""
    trajectory = Trajectory(tools=(ToolSpec(name="add"), ToolSpec(name="sub")), rounds=(Round(user="1 + 2?"),))
    return Case(id="c", sample=write(trajectory, protocols.get("react")), accepted=accepted, compare=compare or {})


ADD = ToolCall(name="add", arguments={"a": 1, "b": "two"})


def call(name: str, **arguments: object) -> Step:
    """A step that calls."""
    return Step(calls=(ToolCall(name=name, arguments=arguments),), outcome="ok")


@pytest.mark.parametrize(
    ("step", "valid", "tool", "full", "reason"),
    [
        (call("add", a=1, b="two"), True, True, True, "ok"),
        (call("add", a="1", b="two"), True, True, True, "ok"),
        (call("add", a=2, b="two"), True, True, False, "wrong_value"),
        (call("add", a=1), True, True, False, "missing_argument"),
        (call("add", a=1, b="two", c=3), True, True, False, "extra_argument"),
        (call("sub", a=1, b="two"), True, False, False, "wrong_tool"),
        (call("mul", a=1, b="two"), True, False, False, "invented_tool"),
        (Step(answer="3", outcome="ok"), True, False, False, "answered"),
        (Step(calls=(Malformed(text="?", reason="r"),), outcome="malformed"), False, False, False, "malformed"),
        (Step(calls=(ToolCall(name="add", arguments=ADD.arguments),), outcome="length"), False, False, False, "length"),
    ],
)
def test_a_case_that_expects_a_call(step: Step, valid: bool, tool: bool, full: bool, reason: str) -> None:
    made = score(case(ADD), step)
    assert (made.valid, made.tool, made.call, made.reason, made.abstained) == (valid, tool, full, reason, None)
    assert made.arguments == (full if tool else None)


@pytest.mark.parametrize(
    ("step", "abstained", "reason"),
    [
        (Step(answer="I need a number.", outcome="ok"), True, "ok"),
        (call("add", a=1), False, "called"),
        (Step(calls=(Malformed(text="?", reason="r"),), outcome="malformed"), False, "malformed"),
    ],
)
def test_a_case_that_expects_none(step: Step, abstained: bool, reason: str) -> None:
    made = score(case(), step)
    assert (made.tool, made.call, made.abstained, made.reason) == (None, None, abstained, reason)


def test_any_accepted_call_counts() -> None:
    other = ToolCall(name="sub", arguments={"a": 1})
    assert score(case(ADD, other), call("sub", a=1)).call
    same_name = ToolCall(name="add", arguments={"a": 5})
    assert score(case(ADD, same_name), call("add", a=5)).call


@pytest.mark.parametrize(
    ("seen", "wanted", "how", "same"),
    [
        ("970 + 44", "970+44", "expression", True),
        ("44+970", "970+44", "expression", True),
        ("2^3", "8", "expression", True),
        ("970 - 44", "970+44", "expression", False),
        ("__import__('os')", "970+44", "expression", False),
        ("9**9**9**9", "1", "expression", False),
        ("x + 1", "x+1", "expression", True),
        ("New  york", "new York", "text", True),
        ("New York", "new York", "exact", False),
        (3, 3.0, "exact", True),
        ("3", 3, "exact", True),
        ("3 km", 3, "exact", False),
        (True, 1, "exact", False),
        (True, "true", "exact", False),
        (["a", "b"], ["a", "b"], "exact", True),
        ({"a": 1}, {"a": 1}, "exact", True),
        ("0.10", 0.1, "number", True),
        ("2024-05-01", "2024-05-01T00:00", "date", True),
        ("2024-05-01", "2024-05-02", "date", False),
        ("a, b", "b,a", "set", True),
        ("a, b", ["A", "B"], "set", True),
        ("a", "a, b", "set", False),
        (None, None, "exact", True),
        (None, "", "exact", False),
        ("nan", "nan", "number", True),
        ("nan", "inf", "number", False),
    ],
)
def test_values_are_compared_as_declared(seen: object, wanted: object, how: str, same: bool) -> None:
    assert equal(seen, wanted, how) is same
