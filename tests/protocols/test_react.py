"""ReAct text, English and Chinese: what is written is read back, or refused by name."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenttune import protocols
from agenttune.errors import Refusal, UserError
from agenttune.protocols.arguments import arguments_text
from agenttune.protocols.base import Protocol, bare, write
from agenttune.protocols.react_zh import CALL_PROTOCOL_CN
from agenttune.values.sample import sample_from_json, sample_to_json
from agenttune.values.trajectory import Malformed, Observation, Round, Step, ToolCall, ToolSpec, Trajectory

REACT = protocols.get("react")
NAMES = list(protocols.PROTOCOLS)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
texts = st.one_of(
    st.text(max_size=30), st.sampled_from(["", "I look.", "Action:", "a\nFinal Answer: b", "Thought: x", "查天气", "\n", "<think>"])
)
calls = st.builds(ToolCall, name=texts, arguments=st.dictionaries(st.text(max_size=6), json_values, max_size=3))
steps = st.builds(Step, reasoning=texts, thought=texts, calls=st.tuples(calls)) | st.builds(
    Step, reasoning=texts, thought=texts, answer=texts
)


@given(arguments=st.dictionaries(st.text(max_size=6), json_values, max_size=3) | st.dictionaries(st.text(), st.text(), max_size=3))
def test_arguments_are_written_as_the_standard_library_writes_them(arguments: dict[str, object]) -> None:
    assert arguments_text(arguments) == json.dumps(arguments, ensure_ascii=False)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_read_back_or_refused(name: str) -> None:
    protocol = protocols.get(name)
    counts = {"written": 0, "refused": 0}

    @given(step=steps)
    def check(step: Step) -> None:
        try:
            text = protocol.write_step(step)
        except Refusal:
            counts["refused"] += 1
            return
        counts["written"] += 1
        assert bare(protocol.parse(text)) == bare(step)
        spans = protocol.spans(text)
        assert "".join(text[span.start : span.end] for span in spans) == text

    check()
    print(f"{name}: {counts}")
    assert counts["written"] >= 20


def test_a_call_is_three_lines() -> None:
    step = Step(thought="I need the weather.", calls=(ToolCall(name="weather", arguments={"city": "北京", "days": 2}),))
    text = REACT.write_step(step)
    assert text == 'Thought: I need the weather.\nAction: weather\nAction Input: {"city": "北京", "days": 2}'
    assert [(span.kind, text[span.start : span.end]) for span in REACT.spans(text)] == [
        ("thought", "Thought: I need the weather.\n"),
        ("action", "Action: weather\nAction Input:"),
        ("arguments", ' {"city": "北京", "days": 2}'),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "neither"),
        ("I think it is 4.", "neither"),
        ("Action: calc", "Action Input"),
        ("Action:\nAction Input: {}", "no name"),
        ("Action: calc\nAction Input: 3", "object"),
        ("Action: calc\nAction Input: [1]", "object"),
        ('Action: calc\nAction Input: {"a": 1} and more', "JSON"),
        ('Action: calc\nAction Input: {"a": 1', "JSON"),
        ("Action: calc\nAction Input: " + "[" * 100_000, "JSON"),
        ("Action: calc\nAction Input: {__import__('os').system('echo')}", "JSON"),
    ],
)
def test_what_cannot_be_read_is_malformed(text: str, reason: str) -> None:
    step = REACT.parse(text)
    assert len(step.calls) == 1
    call = step.calls[0]
    assert isinstance(call, Malformed)
    assert call.text == text
    assert reason in call.reason


def test_python_arguments_and_fences_are_data() -> None:
    step = REACT.parse("Action: t\nAction Input: {'text': 'it''s', 'ok': True, 'no': None}")
    assert step.calls == (ToolCall(name="t", arguments={"text": "its", "ok": True, "no": None}),)
    fenced = REACT.parse('Action: t\nAction Input: ```json\n{"a": 1}\n```')
    assert fenced.calls == (ToolCall(name="t", arguments={"a": 1}),)


def test_the_first_marker_decides() -> None:
    assert REACT.parse("Thought: t\nFinal Answer: use\nAction: x\nAction Input: {}").answer == "use\nAction: x\nAction Input: {}"
    assert isinstance(REACT.parse('Action: x\nAction Input: {"a": 1}\nFinal Answer: done').calls[0], Malformed)


def test_not_a_number_is_refused() -> None:
    with pytest.raises(Refusal, match="not JSON"):
        REACT.write_step(Step(calls=(ToolCall(name="t", arguments={"a": float("nan")}),)))


def test_the_tool_list_is_one_line_a_tool() -> None:
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "a city"},
            "unit": {"enum": ["C", "F"]},
            "n": {"type": ["integer", "null"]},
        },
        "required": ["city"],
    }
    text = REACT.system_text(
        "Be brief.", [ToolSpec(name="weather", description="Tells the\nweather.", parameters=schema), ToolSpec(name="now")]
    )
    assert text.startswith("Be brief.\n\nTools:\n")
    assert '- weather: Tells the weather. {"city": text (a city), "unit": C|F?, "n": integer?}\n' in text
    assert "\n- now: {}\n" in text
    assert REACT.system_text("Only this.", []) == "Only this."


def test_the_chinese_text_is_lagents() -> None:
    text = protocols.get("react_zh").system_text("", [ToolSpec(name="查天气", description="天气")])
    lines = text.splitlines()
    assert lines[0] == "你是一个可以调用外部工具的助手，可以使用的工具包括："
    assert json.loads(lines[1]) == {"查天气": "天气"}
    assert 'Action:工具名称，你的工具必须从 [["查天气"]] 选择' in lines
    assert lines[-1] == "开始!"
    fixed = [line for line in CALL_PROTOCOL_CN.splitlines() if "{" not in line]
    assert all(line in lines for line in fixed)


def example() -> Trajectory:
    """Two rounds; the first has a call with its answer, the second a call nobody answered."""
    call = ToolCall(name="add", arguments={"a": 1})
    return Trajectory(
        id="t",
        file="f.jsonl",
        line=3,
        group="g",
        system="S",
        tools=(ToolSpec(name="add"),),
        rounds=(
            Round(user="u1", steps=(Step(thought="x", calls=(call,), observations=(Observation(text="2"),)), Step(answer="two"))),
            Round(user="u2", steps=(Step(calls=(call,), observations=(Observation(text="3"),)),)),
        ),
    )


def test_an_observation_opens_the_next_turn() -> None:
    sample = write(example(), REACT)
    assert [(turn.system[:16], turn.input, turn.output[:12]) for turn in sample.turns] == [
        ("S\n\nTools:\n- add:", "u1", "Thought: x\nA"),
        ("Observation: 2", "", "Final Answer"),
        ("", "u2", "Action: add\n"),
        ("Observation: 3", "", ""),
    ]
    assert sample.meta == {"source": "f.jsonl", "line": 3, "group": "g"}
    assert sample_from_json(json.loads(json.dumps(sample_to_json(sample)))) == sample


def test_parallel_calls_are_split_and_counted_or_refused() -> None:
    a, b = ToolCall(name="a", arguments={}, id="1"), ToolCall(name="b", arguments={}, id="2")
    seen = (Observation(text="B", call_id="2"), Observation(text="A", call_id="1"))
    both = Trajectory(rounds=(Round(user="u", steps=(Step(thought="t", calls=(a, b), observations=seen), Step(answer="x"))),))
    sample = write(both, REACT)
    assert [turn.output.splitlines()[0] for turn in sample.turns] == ["Thought: t", "Action: b", "Final Answer: x"]
    assert [turn.system for turn in sample.turns] == ["", "Observation: A", "Observation: B"]
    assert sample.meta["changes"] == {"parallel_split": 1}
    with pytest.raises(Refusal, match="2 calls at once"):
        write(both, REACT, parallel="reject")


def test_an_observation_before_a_user_turn_is_kept() -> None:
    call = ToolCall(name="a", arguments={})
    rounds = (
        Round(user="u1", steps=(Step(calls=(call,), observations=(Observation(text="late"),)),)),
        Round(user="u2", steps=(Step(answer="x"),)),
    )
    turns = write(Trajectory(rounds=rounds), REACT).turns
    assert (turns[1].system, turns[1].input, turns[1].output) == ("Observation: late", "u2", "Final Answer: x")


def test_an_unknown_protocol_is_a_sentence() -> None:
    with pytest.raises(UserError, match='did you mean "react"'):
        protocols.get("raect")


_PIECES = st.sampled_from(
    ("a", " ", "\n", "\t", ":", "Thought:", "Action:", "Action Input:", "Final Answer:", "{}", '"', "\\", "\u2028", "<think>\n")
)
_WORDS = st.lists(_PIECES, max_size=5).map("".join)


@settings(max_examples=400, deadline=None)
@given(thought=_WORDS, name=_WORDS, value=_WORDS, answers=st.booleans())
@pytest.mark.parametrize("protocol", [protocols.get("react"), protocols.get("react_zh")])
def test_only_steps_that_are_read_back_are_written(protocol: Protocol, thought: str, name: str, value: str, answers: bool) -> None:
    call = ToolCall(name=name, arguments={value: [value, 2**70, 1.5, None]})
    step = Step(thought=thought, answer=value) if answers else Step(thought=thought, calls=(call,))
    try:
        text = protocol.write_step(step)
    except Refusal:
        return
    assert protocol.parse(text) == step
