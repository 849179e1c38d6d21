"""Calls that stand as text in what the assistant says: each wording with its right value, and texts that only look like a call."""

from __future__ import annotations

import json

import pytest

from agenttune import sources
from agenttune.errors import Refusal
from agenttune.sources.base import ReadOptions, note_name
from agenttune.sources.call_text import looks_like_call, read_said
from agenttune.values.trajectory import Json, Observation, Round, Step, ToolCall, ToolSpec, Trajectory

OSLO = ToolCall(name="w", arguments={"c": "Oslo"})
JSON_CALL = '{"name": "w", "arguments": {"c": "Oslo"}}'
HARMONY = (
    "<|channel|>analysis<|message|>Rain?<|end|><|start|>assistant<|channel|>commentary to=functions.w <|constrain|>json<|message|>"
    '{"c": "Oslo"}<|call|>'
)
WORDINGS = {
    "Qwen": f"<tool_call>\n{JSON_CALL}\n</tool_call>",
    "Qwen3-Coder": "<tool_call>\n<function=w>\n<parameter=c>\nOslo\n</parameter>\n</function>\n</tool_call>",
    "Qwen3-Coder in one line": "<tool_call>\n<function=w>\n<parameter=c>Oslo</parameter>\n</function>\n</tool_call>",
    "Llama's own functions": '<function=w>{"c": "Oslo"}</function>',
    "GLM": "<tool_call>w\n<arg_key>c</arg_key>\n<arg_value>Oslo</arg_value>\n</tool_call>",
    "invoke": '<function_calls>\n<invoke name="w">\n<parameter name="c">Oslo</parameter>\n</invoke>\n</function_calls>',
    "Nemotron": f"<TOOLCALL>[{JSON_CALL}]</TOOLCALL>",
    "Nemotron in Python": '<TOOLCALL>[w(c="Oslo")]</TOOLCALL>',
    "Python calls": '[w(c="Oslo")]',
    "Llama": '<|python_tag|>{"name": "w", "parameters": {"c": "Oslo"}}<|eom_id|>',
    "Llama in Python": '<|python_tag|>w(c="Oslo")',
    "Mistral": f"[TOOL_CALLS][{JSON_CALL}]</s>",
    "newer Mistral": '[TOOL_CALLS]w[ARGS]{"c": "Oslo"}',
    "InternLM2": f"<|action_start|><|plugin|>{JSON_CALL}<|action_end|>",
    "glaive": f"<functioncall> {JSON_CALL} <|endoftext|>",
    "glaive with a text of arguments": """<functioncall> {"name": "w", "arguments": '{"c": "Oslo"}'}""",
    "functools": f"functools[{JSON_CALL}]",
    "harmony": HARMONY,
    "one JSON call": JSON_CALL,
    "a JSON list of calls": f"[{JSON_CALL}]",
    "a JSON call in a fence": f"```json\n{JSON_CALL}\n```",
    "OpenAI's own JSON": json.dumps([{"id": "1", "type": "function", "function": {"name": "w", "arguments": '{"c": "Oslo"}'}}]),
}


def read(text: str, *after: Json, tools: Json = None, source: str = "") -> Trajectory:
    record = {"messages": [{"role": "user", "content": "W?"}, {"role": "assistant", "content": text}, *after]}
    name = source or (sources.detect(record) or ("", ""))[0]
    (found,) = sources.get(name).read({**record, "tools": tools} if tools else record, ReadOptions())
    assert isinstance(found, Trajectory)
    return found


@pytest.mark.parametrize("wording", WORDINGS)
def test_a_call_in_any_known_words_is_a_call(wording: str) -> None:
    found = read(WORDINGS[wording], {"role": "tool", "content": "rain"}, {"role": "assistant", "content": "It rains."})
    first, last = found.rounds[0].steps
    assert [(call.name, call.arguments) for call in first.calls if isinstance(call, ToolCall)] == [("w", {"c": "Oslo"})]
    assert (first.answer, [seen.text for seen in first.observations]) == (None, ["rain"])
    assert first.reasoning == ("Rain?" if wording == "harmony" else "")
    assert last == Step(answer="It rains.")


def test_words_around_a_call_are_its_thought() -> None:
    found = read('I look.\n<TOOLCALL>[w(c="Oslo"), v()]</TOOLCALL>\nWait.')
    (step,) = found.rounds[0].steps
    assert (step.thought, step.calls) == ("I look.\n\nWait.", (OSLO, ToolCall(name="v", arguments={})))
    assert [note_name(note) for note in found.notes] == ["call_from_text", "call_from_text", "text_after_call"]


def test_what_stands_in_a_tag_takes_the_type_that_its_tool_declares() -> None:
    properties = {"n": {"type": "integer"}, "s": {"type": "string"}, "b": {"type": "boolean"}, "l": {"type": "array"}}
    tools = [{"name": "f", "parameters": {"type": "object", "properties": properties}}]
    tags = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in (("n", "5"), ("s", "5"), ("b", "True"), ("l", "[1]")))
    (step,) = read(f"<tool_call>\n<function=f>\n{tags}</function>\n</tool_call>", tools=tools).rounds[0].steps
    assert step.calls == (ToolCall(name="f", arguments={"n": 5, "s": "5", "b": True, "l": [1]}),)


def test_a_harmony_answer_is_one() -> None:
    found = read("<|channel|>analysis<|message|>Easy.<|end|><|start|>assistant<|channel|>final<|message|>Yes.<|return|>")
    assert found.rounds[0].steps == (Step(reasoning="Easy.", answer="Yes."),)


def test_an_act_is_a_call_and_what_the_user_then_says_its_result() -> None:
    record = {
        "conversations": [
            {"from": "human", "value": "How many files?"},
            {"from": "gpt", "loss": False, "value": "Think: I count.\n\nAct: bash\n\n```bash\nls | wc -l\n```"},
            {"from": "human", "value": "The output of the OS:\n\n12"},
            {"from": "gpt", "loss": True, "value": "Think: Twelve.\n\nAct: answer(12)"},
        ]
    }
    (found,) = sources.get("sharegpt").read(record, ReadOptions())
    assert isinstance(found, Trajectory)
    call = ToolCall(name="bash", arguments={"input": "ls | wc -l"})
    assert [round_.user for round_ in found.rounds] == ["How many files?"]
    assert found.rounds[0].steps == (
        Step(thought="I count.", calls=(call,), observations=(Observation(text="The output of the OS:\n\n12"),), weight=0.0),
        Step(thought="Twelve.", answer="12"),
    )


DATABASE = "I count.\nAction: Operation\n```sql\nSELECT COUNT(*) FROM t;\n```"
GRAPH = "Thought: I look.\nAction: get_relations(Oslo)"
SHOP = "Thought:\nI buy.\n\nAction: \nclick[buy now]"
HOUSE = '"ACTION: your next action"'
# What the model was told, what it says, its thought, its call, what it says last, and that as thought and answer.
ACTS: dict[str, tuple[str, str, str, Json, str, tuple[str, str]]] = {
    "database": ("Use Action: Operation.", DATABASE, "I count.", ("Operation", {"input": "SELECT COUNT(*) FROM t;"}),
                 'It is done.\nAction: Answer\nFinal Answer: ["12"]', ("It is done.", '["12"]')),
    "graph": ("Thought: …\nAction: …", GRAPH, "I look.", ("get_relations", {"input": "Oslo"}),
              "Thought: That is it.\nFinal Answer: #3", ("That is it.", "#3")),
    "shop": ("Action: \nclick[something]", SHOP, "I buy.", ("click", {"input": "buy now"}), "Bought.", ("", "Bought.")),
    "house": (HOUSE, "THOUGHT: I need it.\n ACTION: go to shelf 1\n", "I need it.", ("act", {"action": "go to shelf 1"}),
              "Done.", ("", "Done.")),
    "house, no thought": (HOUSE, "ACTION: go to shelf 1", "", ("act", {"action": "go to shelf 1"}), "Done.", ("", "Done.")),
}  # fmt: skip


def acting(told: str, *said: str) -> Trajectory:
    talk: list[Json] = [{"from": "human", "value": told}, {"from": "gpt", "loss": False, "value": "Ok."}, {"from": "human", "value": "Go."}]
    for number, one in enumerate(said):
        talk += [{"from": "human", "value": "Observation: it is so."}] * (number > 0) + [{"from": "gpt", "value": one}]
    (found,) = sources.get("sharegpt").read({"conversations": talk}, ReadOptions())
    assert isinstance(found, Trajectory)
    return found


@pytest.mark.parametrize("world", ACTS)
def test_a_line_of_action_is_a_call_where_the_conversation_says_so(world: str) -> None:
    told, said, thought, (name, arguments), last, (why, answer) = ACTS[world]
    found = acting(told, said, last)
    assert [round_.user for round_ in found.rounds] == [told, "Go."]
    seen = (Observation(text="Observation: it is so."),)
    call = ToolCall(name=name, arguments=arguments)
    assert found.rounds[1].steps == (Step(thought=thought, calls=(call,), observations=seen), Step(thought=why, answer=answer))


@pytest.mark.parametrize(
    "said",
    [
        "ACTION: go to shelf 1",  # nobody told it to
        "Thought: I look.\nAction: get_relations(Oslo)",
        "Thought: E is it.\nAnswer: E.\nAction: CLICK\nValue: x",  # Mind2Web's, in no words that are known
    ],
)
def test_a_line_of_action_that_nobody_asked_for_is_told(said: str) -> None:
    (step,) = acting("Be brief.", said).rounds[1].steps
    assert step.calls == ()
    assert looks_like_call(step.answer or "") != ""


SWE = {"role": "assistant", "content": "DISCUSSION\nI list.\n```\nls -F\n```", "thought": "DISCUSSION\nI list.", "action": "ls -F\n"}


def test_an_action_of_swe_agent_is_a_command_and_what_the_user_then_says_its_result() -> None:
    said = {"role": "assistant", "content": "Done.", "agent": "primary"}
    messages = [{"role": "user", "content": "W?"}, {**SWE, "tool_calls": None}, {"role": "user", "content": "a/"}, said]
    (found,) = sources.get("openai").read({"history": messages}, ReadOptions())
    assert isinstance(found, Trajectory)
    call = ToolCall(name="bash", arguments={"command": "ls -F"})
    assert found.rounds == (
        Round(
            user="W?",
            steps=(Step(thought="DISCUSSION\nI list.", calls=(call,), observations=(Observation(text="a/"),)), Step(answer="Done.")),
        ),
    )
    assert found.notes == ("action_as_call", "message_fields_dropped: agent")


@pytest.mark.parametrize("change", [{"thought": None}, {"thought": "another"}, {"content": "I list."}])
def test_an_action_of_another_form_is_refused(change: dict[str, Json]) -> None:
    with pytest.raises(Refusal) as refused:
        list(sources.get("openai").read({"history": [{"role": "user", "content": "W?"}, {**SWE, **change}]}, ReadOptions()))
    assert refused.value.code == "call_as_text"


TEXTS = [
    "Yes.",
    "Action: call the office.",
    "Final Answer: 5",
    "Thought: five. Final Answer: 5",
    "[1, 2]",
    '{"answer": 5}',
    '{"name": "Bob", "age": 3}',
    "Use `<tool_call>` tags for it.",
    "call w(c) when you like",
    "Action is better than words.",
    "[link](http://x)",
    "Thought: use it so\n```bash\nls\n```\nand that is all.",
    "So:\n```bash\nls\n```",
    "",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_a_text(text: str) -> None:
    assert read_said(text, []) is None
    assert looks_like_call(text) == ""


UNKNOWN = [
    "THOUGHT: I list.\n\n```bash\nls\n```",
    "Thought: I list.\nCode:\n```py\nprint(1)\n```<end_code>",
    "Thought: I list.\n<code>\nprint(1)\n</code>",
    "<tool_call>w Oslo</tool_call>",
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>w",
    "Act: look around and see",
    '{"action": "w", "action_input": {"c": "Oslo"}}',
    '[{"tool": "w", "args": {"c": "Oslo"}}]',
    "<|python_tag|>import os",
]


@pytest.mark.parametrize("text", UNKNOWN)
def test_what_looks_like_a_call_in_no_known_words_is_told(text: str) -> None:
    assert read_said(text, []) is None
    assert looks_like_call(text) == text


def test_json_is_a_call_only_of_a_declared_tool() -> None:
    other = {"v": ToolSpec(name="v")}
    for text in (JSON_CALL, '[w(c="Oslo")]'):
        assert read_said(text, [], other) is None
        assert looks_like_call(text) == text
        said = read_said(text, [], {"w": ToolSpec(name="w")})
        assert said is not None
        assert said.calls == [OSLO]


@pytest.mark.parametrize(
    "text", ["<TOOLCALL>[{]</TOOLCALL>", '<tool_call>{"arguments": {}}</tool_call>', "<functioncall> {'name'}", "<|python_tag|>print(1)"]
)
def test_a_marked_call_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(Refusal) as refused:
        read_said(text, [])
    assert refused.value.code == "call"
