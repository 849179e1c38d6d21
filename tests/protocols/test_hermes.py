"""Hermes text: what is written is read back, calls may be parallel, observations stand in the user turn."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agenttune import protocols
from agenttune.errors import Refusal
from agenttune.protocols.base import bare, write
from agenttune.values.trajectory import Malformed, Observation, Round, Step, ToolCall, ToolSpec, Trajectory

HERMES = protocols.get("hermes")
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=12) | st.sampled_from(["</tool_call>", "<tool_call>"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
texts = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["", "I look.", "<tool_call>", "<scratch_pad>\nx\n</scratch_pad>\ny", "<think>\nx\n</think>\n\n", "a\n\nb", " a", "查天气"]
    ),
)
calls = st.builds(ToolCall, name=texts, arguments=st.dictionaries(st.text(max_size=6), values, max_size=3))
steps = st.builds(Step, reasoning=texts, thought=texts, calls=st.lists(calls, min_size=1, max_size=3).map(tuple)) | st.builds(
    Step, reasoning=texts, thought=texts, answer=texts
)


def test_what_is_written_is_read_back_or_refused() -> None:
    counts: Counter[str] = Counter()

    @settings(max_examples=400)
    @given(step=steps)
    @example(step=Step(thought="x", answer="y"))
    def check(step: Step) -> None:
        try:
            text = HERMES.write_step(step)
        except Refusal:
            counts["refused"] += 1
            return
        counts["parallel" if len(step.calls) > 1 else "written"] += 1
        assert bare(HERMES.parse(text)) == bare(step)
        spans = HERMES.spans(text)
        assert "".join(text[span.start : span.end] for span in spans) == text
        assert all(before.end == after.start and before.kind != after.kind for before, after in itertools.pairwise(spans))

    check()
    print(counts)
    assert counts["written"] >= 50
    assert counts["parallel"] >= 20


@settings(max_examples=400)
@given(
    st.lists(
        st.sampled_from(["<tool_call>", "</tool_call>", '{"name": "a", "arguments": {}}', "x", "\n", "{", '"', "<think>\n"]), max_size=9
    )
)
def test_any_text_is_read_and_covered(parts: list[str]) -> None:
    text = "".join(parts)
    step = HERMES.parse(text)
    assert bool(step.calls) != (step.answer is not None)
    assert "".join(text[span.start : span.end] for span in HERMES.spans(text)) == text


def test_calls_are_blocks_of_json() -> None:
    step = Step(thought="Both.", calls=(ToolCall(name="weather", arguments={"city": "北京"}), ToolCall(name="now", arguments={})))
    text = HERMES.write_step(step)
    assert text == (
        'Both.\n<tool_call>\n{"name": "weather", "arguments": {"city": "北京"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    )
    assert [(span.kind, text[span.start : span.end]) for span in HERMES.spans(text)] == [
        ("thought", "Both.\n"),
        ("action", '<tool_call>\n{"name": "weather", "arguments": '),
        ("arguments", '{"city": "北京"}'),
        ("action", '}\n</tool_call>\n<tool_call>\n{"name": "now", "arguments": '),
        ("arguments", "{}"),
        ("action", "}\n</tool_call>"),
    ]


def test_a_thought_before_an_answer_stands_in_a_scratch_pad() -> None:
    text = HERMES.write_step(Step(reasoning="Hm.", thought="I know.", answer="Clear."))
    assert text == "<think>\nHm.\n</think>\n\n<scratch_pad>\nI know.\n</scratch_pad>\nClear."
    assert [span.kind for span in HERMES.spans(text)] == ["thought", "answer"]
    assert HERMES.write_step(Step(answer="Clear.")) == "Clear."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "neither"),
        ("<tool_call>", "not JSON"),
        ("<tool_call>\n[]\n</tool_call>", "not a JSON object"),
        ('<tool_call>\n{"arguments": {}}\n</tool_call>', "no name"),
        ('<tool_call>\n{"name": "a"}\n</tool_call>', "not a JSON object"),
        ('<tool_call>\n{"name": "a", "arguments": [1]}\n</tool_call>', "not a JSON object"),
        ('<tool_call>\n{"name": "a", "arguments": {}}\n</tool_call> and so', "text stands"),
        ('<tool_call>\n{"name": "a", "arguments": {}} and so\n</tool_call>', "text follows"),
        ("<tool_call>\n" + "[" * 100_000, "JSON"),
        ("<tool_call>\n{'name': __import__('os').getcwd(), 'arguments': {}}\n</tool_call>", "JSON"),
    ],
)
def test_what_cannot_be_read_is_malformed(text: str, reason: str) -> None:
    step = HERMES.parse(text)
    assert len(step.calls) == 1
    call = step.calls[0]
    assert isinstance(call, Malformed)
    assert call.text == text
    assert reason in call.reason
    assert HERMES.write_step(Step(calls=(call,))) == text


def test_what_models_also_write_is_read() -> None:
    wanted = (ToolCall(name="a", arguments={"x": 1, "ok": True}),)
    for body in (
        '<tool_call>{"name": "a", "arguments": {"x": 1, "ok": true}}</tool_call>',
        '<tool_call>\n{"name": "a", "arguments": {"x": 1, "ok": true}}',
        '<tool_call>\n{"arguments": "{\\"x\\": 1, \\"ok\\": true}", "name": "a"}\n</tool_call>\n',
        "<tool_call>\n{'name': 'a', 'arguments': {'x': 1, 'ok': True}}\n</tool_call>",
    ):
        assert HERMES.parse(body).calls == wanted, body


def example_trajectory() -> Trajectory:
    """A round with two parallel calls, a trailing unanswered round."""
    both = (ToolCall(name="a", arguments={}, id="1"), ToolCall(name="b", arguments={}, id="2"))
    seen = (Observation(text="A", call_id="1"), Observation(text="B", call_id="2"))
    return Trajectory(
        system="S",
        tools=(ToolSpec(name="a"), ToolSpec(name="b", description="B!")),
        rounds=(Round(user="u1", steps=(Step(calls=both, observations=seen), Step(answer="x"))), Round(user="u2")),
    )


def test_parallel_calls_stay_together_and_observations_are_input() -> None:
    sample = write(example_trajectory(), HERMES, parallel="reject")
    assert [turn.output.count("<tool_call>") for turn in sample.turns] == [2, 0, 0]
    assert [turn.input for turn in sample.turns] == [
        "u1",
        "<tool_response>\nA\n</tool_response>\n<tool_response>\nB\n</tool_response>",
        "u2",
    ]
    assert [bool(turn.system) for turn in sample.turns] == [True, False, False]
    assert "changes" not in sample.meta


def test_the_system_text_is_qwens() -> None:
    lines = HERMES.system_text("Be brief.", example_trajectory().tools).splitlines()
    assert lines[:3] == ["Be brief.", "", "# Tools"]
    start = lines.index("<tools>")
    listed = [json.loads(line) for line in lines[start + 1 : lines.index("</tools>")]]
    assert [one["function"]["name"] for one in listed] == ["a", "b"]
    assert listed[1] == {
        "type": "function",
        "function": {"name": "b", "description": "B!", "parameters": {"type": "object", "properties": {}}},
    }
    assert lines[-3:] == ["<tool_call>", '{"name": <function-name>, "arguments": <args-json-object>}', "</tool_call>"]
    assert HERMES.system_text("Only this.", []) == "Only this."


def test_an_unanswered_observation_before_a_user_turn_is_a_turn_that_nobody_answered() -> None:
    call = ToolCall(name="a", arguments={})
    rounds = (Round(user="u1", steps=(Step(calls=(call,), observations=(Observation(text="late"),)),)), Round(user="u2"))
    sample = write(Trajectory(rounds=rounds), HERMES)
    assert [(turn.system, turn.input, bool(turn.output)) for turn in sample.turns] == [
        ("", "u1", True),
        ("", "<tool_response>\nlate\n</tool_response>", False),
        ("", "u2", False),
    ]


def test_results_are_told_apart_where_their_tags_are_those_of_the_calls() -> None:
    for texts in (["rain"], ["rain", "wind"], ["", "a\n\nb", "<tool_response>"]):
        written = HERMES.observation_text([Observation(text=one) for one in texts])
        assert HERMES.observations(written, len(texts)) == tuple(texts)
    odd = "<tool_response>\na\n</tool_response>\n<tool_response>\nb\n</tool_response>"
    assert HERMES.observations(odd, 1) == (odd,)
    assert HERMES.observations("rain", 1) == ("rain",)
    react = protocols.get("react")
    assert react.observations("Observation: rain\n", 1) == ("rain\n",)
    assert react.observations("rain", 1) == ("rain",)
