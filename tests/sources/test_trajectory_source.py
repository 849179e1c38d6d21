"""Our own JSON form: nothing is lost, and nothing else is taken for it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenttune.errors import Refusal
from agenttune.sources import trajectory as source
from agenttune.sources.base import ReadOptions
from agenttune.values.trajectory import Malformed, Observation, Round, Step, ToolCall, ToolSpec, Trajectory
from agenttune.values.trajectory_json import trajectory_from_json, trajectory_to_json

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
number = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
value = st.recursive(st.none() | st.booleans() | number | text, lambda x: st.lists(x, max_size=3) | st.dictionaries(text, x, max_size=3))
arguments = st.dictionaries(text, value, max_size=3)
calls = st.builds(ToolCall, name=text, arguments=arguments, id=text) | st.builds(Malformed, text=text, reason=text)
observations = st.builds(Observation, text=text, call_id=text, error=st.booleans(), provenance=st.sampled_from(["tool", "user", "web"]))
steps = st.builds(
    Step,
    reasoning=text,
    thought=text,
    calls=st.lists(calls, max_size=3).map(tuple),
    observations=st.lists(observations, max_size=3).map(tuple),
    answer=st.none() | text,
    weight=st.floats(0, 10),
    token_ids=st.lists(st.integers(0, 1 << 40), max_size=4).map(tuple),
    raw=text,
    outcome=text,
)
trajectories = st.builds(
    Trajectory,
    id=text,
    file=text.filter(bool),
    line=st.integers(0, 1 << 40),
    group=text,
    system=text,
    tools=st.lists(st.builds(ToolSpec, name=text, description=text, parameters=arguments), max_size=3).map(tuple),
    rounds=st.lists(st.builds(Round, user=text, steps=st.lists(steps, max_size=3).map(tuple)), max_size=3).map(tuple),
    stop=text,
    notes=st.lists(text, max_size=3).map(tuple),
)


@settings(max_examples=150, deadline=None)
@given(trajectories)
def test_what_is_written_is_read_back(wanted: Trajectory) -> None:
    line = json.dumps(source.write(wanted), ensure_ascii=False, allow_nan=False)
    assert list(source.read(json.loads(line), ReadOptions(file="other", line=9))) == [wanted]


def test_the_form_on_disk() -> None:
    wanted = Trajectory(
        id="t",
        rounds=(
            Round(user="hi", steps=(Step(thought="hm", calls=(ToolCall(name="a", arguments={"x": 1}), Malformed(text="?", reason="r"))),)),
        ),
    )
    assert trajectory_to_json(wanted) == {
        "id": "t",
        "rounds": [
            {"user": "hi", "steps": [{"thought": "hm", "calls": [{"name": "a", "arguments": {"x": 1}}, {"text": "?", "reason": "r"}]}]}
        ],
    }


def test_a_session_without_a_place_gets_one() -> None:
    (read,) = source.read({"rounds": [{"user": "x", "steps": []}]}, ReadOptions(file="chat.jsonl", line=4))
    assert (read.file, read.line) == ("chat.jsonl", 4)


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        {"rounds": {}},
        {"rounds": [5]},
        {"rounds": [], "extra": 1},
        {"rounds": [], "line": True},
        {"rounds": [], "line": "3"},
        {"rounds": [], "notes": [1]},
        {"rounds": [], "tools": [{"name": "a", "parameters": []}]},
        {"rounds": [{"user": 1}]},
        {"rounds": [{"user": "", "steps": [{"answer": 1}]}]},
        {"rounds": [{"user": "", "steps": [{"weight": True}]}]},
        {"rounds": [{"user": "", "steps": [{"weight": float("nan")}]}]},
        {"rounds": [{"user": "", "steps": [{"token_ids": [1.5]}]}]},
        {"rounds": [{"user": "", "steps": [{"calls": [{"name": "a", "arguments": "x"}]}]}]},
        {"rounds": [{"user": "", "steps": [{"calls": [{"name": "a", "argument": {}}]}]}]},
        {"rounds": [{"user": "", "steps": [{"observations": [{"error": 1}]}]}]},
    ],
)
def test_anything_else_is_refused(record: object) -> None:
    with pytest.raises(Refusal) as refused:
        trajectory_from_json(record)
    assert refused.value.code == "trajectory"


def test_detection() -> None:
    assert source.detect({"rounds": [{"user": "x", "steps": []}]})
    for record in (None, [], {}, {"rounds": []}, {"rounds": "x"}, {"rounds": [{"user": "x"}]}, {"rounds": [1]}):
        assert source.detect(record) is None
