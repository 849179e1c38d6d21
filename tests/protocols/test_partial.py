"""What is certain of a step while its text comes: it only grows, and at the end it is what `parse` reads."""

from __future__ import annotations

import json

import pytest

from agenttune import protocols
from agenttune.protocols.base import PartialStep
from agenttune.values.trajectory import Step, ToolCall

STEPS = [
    Step(thought="I add.\nTwice, Action by action.", calls=(ToolCall(name="add", arguments={"a": [1, {"b": "x } \n y"}], "c": "A: “q”"}),)),
    Step(calls=(ToolCall(name="now", arguments={}),)),
    Step(thought="It is known.", answer="Four.\n\nActions speak: Final answers too.  2 < 3"),
    Step(answer="Ja"),
    Step(reasoning="long\n\nwork", thought="So.", calls=(ToolCall(name="say", arguments={"text": "<tool_call> 你好"}),)),
    Step(reasoning="long\nwork", answer="42"),
]


@pytest.mark.parametrize("name", ["react", "react_zh", "hermes"])
@pytest.mark.parametrize("number", range(len(STEPS)))
def test_it_only_grows_and_ends_as_what_is_parsed(name: str, number: int) -> None:
    protocol, step = protocols.get(name), STEPS[number]
    text = protocol.write_step(step)
    before = PartialStep()
    for end in range(len(text) + 1):
        now = protocol.partial(text[:end])
        for field in ("thought", "arguments", "answer"):
            assert getattr(now, field).startswith(getattr(before, field)), (end, field)
        assert before.name in ("", now.name)
        before = now
    said = before.answer if protocol.thought_channel == "content" and step.calls else before.thought
    assert said == step.thought
    assert (before.answer if not step.calls else None) == step.answer
    if step.calls:
        call = step.calls[0]
        assert isinstance(call, ToolCall)
        assert (before.name, json.loads(before.arguments)) == (call.name, call.arguments)


def test_a_line_that_may_become_a_marker_is_held_back() -> None:
    react = protocols.get("react")
    assert react.partial("Thought: I see.\nAct") == PartialStep(thought="I see.")
    assert react.partial("Thought: I see.\nActs") == PartialStep(thought="I see.\nActs")
    assert react.partial("Tho") == PartialStep()
    hermes = protocols.get("hermes")
    assert hermes.partial("See: <tool_ca") == PartialStep(answer="See:")
    assert hermes.partial("See: <tool_cart") == PartialStep(answer="See: <tool_cart")
