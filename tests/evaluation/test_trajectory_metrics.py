"""What a conversation tells beside right and wrong, by hand."""

from __future__ import annotations

import pytest

from agenttune.evaluation.metrics import estimate
from agenttune.evaluation.trajectory_metrics import excess_steps, invented_observations, recovered, repeated_after_error
from agenttune.values.case import Score
from agenttune.values.trajectory import Malformed, Observation, Round, Step, ToolCall, Trajectory

FAILED, DONE = Observation(text="Error: no", error=True), Observation(text="2")


def call(name: str, seen: Observation, **arguments: int) -> Step:
    return Step(calls=(ToolCall(name=name, arguments=arguments),), observations=(seen,), outcome="call")


def talk(*rounds: tuple[Step, ...]) -> Trajectory:
    return Trajectory(rounds=tuple(Round(user="u", steps=steps) for steps in rounds))


ANSWER = Step(answer="2", outcome="final")
UNREADABLE = Step(calls=(Malformed(text="Action: add {", reason="r"),), observations=(FAILED,), outcome="malformed")


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        ((call("add", DONE, n=1), ANSWER), (0, 0)),
        ((call("add", FAILED, n=1), call("add", DONE, n=2), ANSWER), (1, 1)),
        ((call("add", FAILED, n=1), call("sub", DONE, n=2), ANSWER), (0, 1)),  # something else was done
        ((call("add", FAILED, n=1), ANSWER), (0, 1)),
        ((call("add", FAILED, n=1), call("add", FAILED, n=1), call("add", DONE, n=2)), (2, 2)),
        ((UNREADABLE, call("sub", DONE, n=1)), (1, 1)),  # it named nothing that can be read: any call that works is one
    ],
)
def test_errors_are_got_over_by_the_tool_that_failed(steps: tuple[Step, ...], found: tuple[float, float]) -> None:
    assert recovered(talk(steps)) == found


def test_an_error_is_got_over_in_its_own_round_only() -> None:
    assert recovered(talk((call("add", FAILED, n=1), ANSWER), (call("add", DONE, n=1), ANSWER))) == (0, 1)


def test_two_calls_of_one_step_must_both_be_done() -> None:
    two = (ToolCall(name="add", arguments={"n": 1}), ToolCall(name="add", arguments={"n": 2}))
    both = Step(calls=two, observations=(FAILED, FAILED), outcome="call")
    assert recovered(talk((both, call("add", DONE, n=1)))) == (0, 1)
    assert recovered(talk((both, call("add", DONE, n=1), call("add", DONE, n=2)))) == (1, 1)


def test_repeated_calls_after_an_error() -> None:
    again = (call("add", FAILED, n=1), call("add", FAILED, n=1), call("add", DONE, n=2), call("add", DONE, n=2))
    assert repeated_after_error(talk(again)) == (1, 2)  # the third differs; the fourth follows no failure


def test_invented_observations_and_excess_steps() -> None:
    invented = Step(calls=(ToolCall(name="add", arguments={}),), outcome="fabricated_observation")
    assert invented_observations([invented, ANSWER, ANSWER, ANSWER]) == (1, 4)
    assert invented_observations([]) == (0, 0)
    assert (excess_steps(6, 4), excess_steps(3, 4)) == ((2, 4), (-1, 4))


def test_excess_steps_are_no_share() -> None:
    def held(case: str, made: int) -> Score:
        counts = {"excess_steps": excess_steps(made, 2), "success": (1.0, 1.0)}
        return Score(case=case, valid=True, tool=None, arguments=None, call=None, abstained=None, reason="ok", counts=counts)

    found = estimate([held("a", 8), held("b", 6)], "excess_steps")
    assert found is not None
    assert found.value == pytest.approx((6 + 4) / 4)
    assert found.high > 1
