"""Anthropic messages: blocks of text, thinking, tool use and tool results."""

from __future__ import annotations

import pytest

from agenttune.errors import Refusal
from agenttune.sources import anthropic
from agenttune.sources.base import ReadOptions
from agenttune.values.trajectory import Json, Observation, Round, Step, ToolCall, ToolSpec, Trajectory

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
ASK = {"role": "user", "content": "Weather?"}
USE = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Berlin"}}
OTHER = {"type": "tool_use", "id": "t2", "name": "now", "input": {}}


def text(value: str) -> Json:
    return {"type": "text", "text": value}


def result(id: str, content: Json, **fields: Json) -> Json:
    return {"type": "tool_result", "tool_use_id": id, "content": content, **fields}


def read(*messages: Json, **fields: Json) -> Trajectory:
    (one,) = anthropic.read({"messages": list(messages), **fields}, ReadOptions())
    return one


def test_thinking_text_parallel_uses_and_results() -> None:
    found = read(
        ASK,
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}, text("Both."), USE, OTHER]},
        {"role": "user", "content": [result("t2", "noon"), result("t1", [text("clear"), text(" sky")])]},
        {"role": "assistant", "content": "Clear."},
        system=[text("S")],
        tools=[{"name": "weather", "description": "W", "input_schema": SCHEMA}],
    )
    calls = (ToolCall(name="weather", arguments={"city": "Berlin"}, id="t1"), ToolCall(name="now", arguments={}, id="t2"))
    seen = (Observation(text="clear sky", call_id="t1"), Observation(text="noon", call_id="t2"))
    assert found.rounds == (
        Round(user="Weather?", steps=(Step(reasoning="Hm.", thought="Both.", calls=calls, observations=seen), Step(answer="Clear."))),
    )
    assert (found.system, found.tools) == ("S", (ToolSpec(name="weather", description="W", parameters=SCHEMA),))
    assert found.notes == ("parts_joined",)


def test_a_failed_result_is_an_error_and_text_beside_it_is_a_question() -> None:
    found = read(
        ASK, {"role": "assistant", "content": [USE]}, {"role": "user", "content": [result("t1", "no", is_error=True), text("And?")]}
    )
    assert found.rounds[0].steps[0].observations == (Observation(text="no", call_id="t1", error=True),)
    assert found.rounds[1] == Round(user="And?")


def test_a_result_without_content_is_an_empty_one() -> None:
    found = read(ASK, {"role": "assistant", "content": [USE]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1"}]})
    assert found.rounds[0].steps[0].observations == (Observation(text="", call_id="t1"),)
    assert len(found.rounds) == 1


def test_what_has_no_place_is_named() -> None:
    blocks = [{"type": "thinking", "thinking": "Hm.", "signature": "x"}, {"type": "redacted_thinking", "data": "y"}, USE, text("after")]
    found = read(ASK, {"role": "assistant", "content": blocks, "stop_reason": "tool_use"}, model="m")
    assert found.rounds[0].steps[0].thought == "after"
    wanted = ["fields_dropped: model", "message_fields_dropped: stop_reason", "redacted_thinking", "text_after_call", "thinking_signature"]
    assert sorted(found.notes) == wanted


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([ASK], "empty"),
        ([{"role": "tool", "content": "x"}], "role"),
        ([ASK, {"role": "user", "content": [result("t1", "x")]}], "orphan"),
        ([ASK, {"role": "assistant", "content": [USE]}, {"role": "user", "content": [result("t9", "x")]}], "orphan"),
        ([ASK, {"role": "assistant", "content": [{**USE, "input": [1]}]}], "arguments"),
        ([ASK, {"role": "assistant", "content": [{**USE, "name": ""}]}], "call"),
        ([ASK, {"role": "assistant", "content": 3}], "shape"),
        ([{"role": "user", "content": [{"type": "image", "source": {}}]}], "media"),
    ],
)
def test_what_is_refused(messages: list[Json], code: str) -> None:
    with pytest.raises(Refusal) as refused:
        read(*messages)
    assert refused.value.code == code
