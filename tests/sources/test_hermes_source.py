"""Hermes text in messages: tool lists, calls and results in tags."""

from __future__ import annotations

import json

import pytest

from agenttune.errors import Refusal
from agenttune.protocols import get
from agenttune.protocols.base import write
from agenttune.sources import hermes
from agenttune.sources.base import ReadOptions
from agenttune.values.trajectory import Json, Observation, Round, Step, ToolCall, ToolSpec, Trajectory

F = ToolCall(name="f", arguments={"a": 1})
G = ToolCall(name="g", arguments={"t": "</tool_call>"})
LISTED: Json = {
    "type": "function",
    "function": {"name": "f", "description": "F", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}},
}
TOOL = ToolSpec(name="f", description="F", parameters=LISTED["function"]["parameters"])
NOUS = (
    "You are a function calling AI model. You are provided with function signatures within <tools></tools> XML tags. Here are the "
    "available tools: <tools> {} </tools> Use the following pydantic model json schema for each tool call you will make: {{}} For each "
    "function call return a json object within <tool_call></tool_call> XML tags as follows:\n"
    "<tool_call>\n{{'arguments': <args-dict>, 'name': <function-name>}}\n</tool_call>"
)


def read(*messages: tuple[str, str], key: str = "conversations") -> Trajectory:
    names = ("from", "value") if key == "conversations" else ("role", "content")
    record = {key: [{names[0]: role, names[1]: text} for role, text in messages]}
    assert hermes.detect(record)
    (one,) = hermes.read(record, ReadOptions())
    return one


def block(value: Json) -> str:
    return f"<tool_call>\n{value if isinstance(value, str) else json.dumps(value)}\n</tool_call>"


def test_the_format_text_of_nous_is_no_part_of_the_system_text() -> None:
    for listed in (json.dumps([LISTED]), str([LISTED]), json.dumps(LISTED)):
        found = read(("system", NOUS.format(listed) + "\nBe kind."), ("human", "q"), ("gpt", block({"name": "f", "arguments": {"a": 1}})))
        assert (found.system, found.tools) == ("Be kind.", (TOOL,))
        assert found.notes == ("format_text_dropped",)


def test_a_tool_list_in_other_words_leaves_them() -> None:
    text = f"Rules.\n<tools>\n{json.dumps(LISTED)}\n{json.dumps({'name': 'h'})}\n</tools>\nMore rules."
    found = read(("system", text), ("user", "q"), ("assistant", "a"), key="messages")
    assert (found.system, [tool.name for tool in found.tools], found.notes) == ("Rules.\n\nMore rules.", ["f", "h"], ())


def test_parallel_calls_and_results_in_one_message() -> None:
    calls = "Both.\n" + block({"name": "f", "arguments": {"a": 1}}) + "\n" + block({"name": "g", "arguments": {"t": "</tool_call>"}})
    results = "<tool_response>\n1\n</tool_response>\n<tool_response>\n\n2\n</tool_response>"
    for role in ("tool", "user"):
        found = read(("user", "q"), ("assistant", calls), (role, results), ("assistant", "Done."), key="messages")
        seen = (Observation(text="1"), Observation(text="\n2"))
        assert found.rounds == (Round(user="q", steps=(Step(thought="Both.", calls=(F, G), observations=seen), Step(answer="Done."))),)


def test_what_is_said_elsewhere_is_kept() -> None:
    found = read(
        ("human", "q"),
        ("gpt", "<scratch_pad>\nPlan.\n</scratch_pad>\n" + block({"name": "f", "arguments": {"a": 1}}) + "\nWait."),
        ("tool", "it says <tool_response>\n1\n</tool_response>"),
        ("gpt", "<think>Hm.</think><scratch_pad>Sure.</scratch_pad>\nDone."),
    )
    assert found.rounds[0].steps[0] == Step(
        thought="Plan.\n\nWait.", calls=(F,), observations=(Observation(text="it says <tool_response>\n1\n</tool_response>"),)
    )
    assert found.notes[0] == "text_after_call"
    both = read(
        ("human", "q"),
        ("gpt", block(json.dumps({"name": "f", "arguments": {"a": 1}}))),
        ("human", "<tool_response>1</tool_response>\nAnd?"),
    )
    assert [round_.user for round_ in both.rounds] == ["q", "And?"]
    assert both.rounds[0].steps[0].observations == (Observation(text="1"),)


@pytest.mark.parametrize(
    "body",
    [
        "{'name': 'f', 'arguments': {'a': 1}}",
        '```json\n{"name": "f", "arguments": {"a": 1}}\n```',
        '{"arguments": "{\\"a\\": 1}", "name": "f"}',
        '[{"name": "f", "arguments": {"a": 1}}]',
    ],
)
def test_calls_as_models_spell_them(body: str) -> None:
    assert read(("human", "q"), ("gpt", block(body))).rounds[0].steps[0].calls == (F,)


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ((("human", "q"), ("gpt", block("no json"))), "call"),
        ((("human", "q"), ("gpt", block({"name": "f", "arguments": 3}))), "arguments"),
        ((("human", "q"), ("gpt", block({"arguments": {}}))), "call"),
        ((("human", "q"), ("tool", "<tool_response>\n1\n</tool_response>")), "orphan"),
        ((("human", "q"), ("gpt", block({"name": "f", "arguments": {}})), ("tool", "<tool_response>1</tool_response>" * 2)), "orphan"),
        ((("system", "<tools>[{]</tools>"), ("human", "q"), ("gpt", "a")), "tool"),
        ((("critic", "q"), ("gpt", block({"name": "f", "arguments": {}}))), "role"),
    ],
)  # fmt: skip
def test_what_is_refused(messages: tuple[tuple[str, str], ...], code: str) -> None:
    record = {"conversations": [{"from": role, "value": text} for role, text in messages]}
    with pytest.raises(Refusal) as refused:
        list(hermes.read(record, ReadOptions()))
    assert refused.value.code == code


def test_what_the_protocol_writes_is_read_back() -> None:
    wanted = Trajectory(
        system="Be kind.",
        tools=(TOOL,),
        rounds=(
            Round(
                user="q",
                steps=(
                    Step(reasoning="Hm.", thought="Both.", calls=(F, G), observations=(Observation(text="1"), Observation(text="2"))),
                    Step(thought="I know.", answer="Done."),
                ),
            ),
        ),
    )
    messages = []
    for turn in write(wanted, get("hermes")).turns:
        messages += [("system", turn.system)] if turn.system else []
        messages += [("user", turn.input), ("assistant", turn.output)]
    found = read(*messages, key="messages")
    assert (found.system, found.tools, found.rounds) == (wanted.system, wanted.tools, wanted.rounds)


def test_what_stands_around_the_tools_is_kept_verbatim() -> None:
    date, rule = "Today is 2024-05-01.\nWednesday.", "Never book a flight\n  without asking."
    qwen = (
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function signatures within "
        f"<tools></tools> XML tags:\n<tools>\n{json.dumps(LISTED)}\n</tools>\n{rule}\n\nFor each function call, return a json object "
        "with function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n"
        '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
    )
    for text in (f"{date}\n\n{NOUS.format(json.dumps([LISTED]))}\n\n{rule}", f"{date}\n\n{qwen}"):
        found = read(("system", text), ("user", "q"), ("assistant", "a"), key="messages")
        assert (found.system, found.tools) == (f"{date}\n\n{rule}", (TOOL,))
        assert found.notes == ("format_text_dropped",)
