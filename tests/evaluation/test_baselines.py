"""What needs no model, judged like a model."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agenttune import protocols
from agenttune.evaluation import baselines
from agenttune.evaluation.evaluate import score_cases
from agenttune.evaluation.metrics import estimate
from agenttune.protocols.base import write
from agenttune.values.case import Case, exactly
from agenttune.values.sample import Turn
from agenttune.values.trajectory import Round, ToolCall, ToolSpec, Trajectory

WEATHER = ToolSpec(name="get_weather", description="Tells the weather of a city")
STOCKS = ToolSpec(name="stockPrice", description="Price of a share")


def case(name: str, user: str, *accepted: str, tools: tuple[ToolSpec, ...] = (STOCKS, WEATHER)) -> Case:
    """A case that accepts calls without arguments."""
    sample = write(Trajectory(tools=tools, rounds=(Round(user=user),)), protocols.get("react"))
    return Case(id=name, sample=sample, answers=tuple(exactly([ToolCall(name=one, arguments={})]) for one in accepted))


def test_the_overlap_picker() -> None:
    asked = [case("a", "How is the weather in this city?", "get_weather"), case("b", "Xyz!", "stockPrice"), case("c", "of", "stockPrice")]
    found = baselines.overlap(asked)
    assert found[0].calls == (ToolCall(name="get_weather", arguments={}),)
    assert not found[1].calls and found[1].answer
    assert found[2].calls == (ToolCall(name="stockPrice", arguments={}),)  # both lists say "of": the first
    assert [one.reason for one in score_cases(asked, baselines.overlap)] == ["ok", "answered", "ok"]


def test_the_overlap_picker_reads_the_last_request() -> None:
    made = case("a", "weather", "get_weather")
    later = Turn(system="Observation: a share price")
    turns = (Turn(system=made.sample.turns[0].system, input="weather", output="…"), later)
    sample = type(made.sample)(protocol="react", tools=(STOCKS, WEATHER), turns=turns)
    assert baselines.overlap([Case(id="a", sample=sample)])[0].calls == (ToolCall(name="get_weather", arguments={}),)


def test_words() -> None:
    assert baselines.words("getStock_price 天气 A-b") == {"get", "stock", "price", "天", "气", "a", "b"}


def test_what_chance_expects_by_hand() -> None:
    four = tuple(ToolSpec(name=name) for name in "abcd")
    made = [case("1", "u", "stockPrice"), case("2", "u", "a", tools=four), case("3", "u", "a", "b", tools=four), case("4", "u")]
    assert baselines.expected(made) == {"tool": pytest.approx((1 / 2 + 1 / 4 + 2 / 4) / 3), "abstained": 0.5}
    assert baselines.expected(made[3:]) == {"abstained": 0.5}
    assert baselines.expected([case("5", "u", "a", tools=())]) == {"tool": 0.0}
    assert baselines.expected([]) == {}


def test_chance_draws_what_it_expects() -> None:
    four = tuple(ToolSpec(name=name) for name in "abcd")
    made = [case(f"call {number}", "u", "c", tools=four) for number in range(2000)]
    made += [case(f"none {number}", "u", tools=four) for number in range(2000)]
    scores = score_cases(made, baselines.chance)
    tool, abstained = estimate(scores, "tool"), estimate(scores, "abstained")
    assert tool is not None and abstained is not None
    assert tool.value == pytest.approx(0.25, abs=0.03)  # three standard errors
    assert abstained.value == pytest.approx(0.5, abs=0.035)
    assert scores == score_cases(made, baselines.chance)


def test_chance_by_slice(cases: Callable[..., list[Case]]) -> None:
    found = baselines.expected_by_slice(cases(12))
    assert found["all"] == {"tool": 0.5, "abstained": 0.5}
    assert set(found) == {"all", "known", "unseen"}


def test_without_tools_nothing_is_called() -> None:
    assert baselines.chance([case("a", "u", tools=())])[0].answer
    assert baselines.overlap([case("a", "u", tools=())])[0].answer
