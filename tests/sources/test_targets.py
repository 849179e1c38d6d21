"""Targets: what a format can hold comes back exactly, what it cannot hold is refused or named."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agenttune.errors import Refusal, UserError
from agenttune.protocols import get as protocol
from agenttune.protocols.base import write as sample_of
from agenttune.sources import get, get_target
from agenttune.sources.base import ReadOptions
from agenttune.values.trajectory import Json, Malformed, Observation, Round, Step, ToolCall, ToolSpec, Trajectory

TARGETS = ("openai", "sharegpt", "msagent", "trajectory")
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "a city"}, "n": {"type": "integer"}},
    "required": ["city"],
}
NESTED = {"type": "object", "properties": {"who": {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}}}
A = ToolCall(name="a", arguments={"city": "北京", "n": 2, "deep": [1, None, {"t": 'it\'s "so"'}]})
B = ToolCall(name="b", arguments={})
TOOLS = (ToolSpec(name="a", description="Tells.", parameters=CITY), ToolSpec(name="b"), ToolSpec(name="c", parameters=NESTED))


def seen(*texts: str) -> tuple[Observation, ...]:
    return tuple(Observation(text=text) for text in texts)


def plain() -> Trajectory:
    """What every target can hold."""
    return Trajectory(
        id="t1",
        system="Be brief.\nAlways.",
        tools=TOOLS,
        rounds=(
            Round(
                user=" Weather?\n",
                steps=(Step(thought="I look.", calls=(A,), observations=seen('{"sky": "clear"}')), Step(answer="Clear.")),
            ),
            Round(user="Both", steps=(Step(thought="So.", calls=(A, B), observations=seen("1", "Traceback:\n  x")), Step(calls=(B,)))),
            Round(user="", steps=(Step(answer="line\n\nline"),)),
            Round(user="open"),
        ),
    )


def back(record: Json, name: str) -> Trajectory:
    record = json.loads(json.dumps(record, ensure_ascii=False))
    (one,) = get(name).read(record, ReadOptions())
    assert isinstance(one, Trajectory)
    return one


def without_ids(trajectory: Trajectory) -> tuple[Round, ...]:
    def bare(step: Step) -> Step:
        calls = tuple(replace(call, id="") if isinstance(call, ToolCall) else call for call in step.calls)
        return replace(step, calls=calls, observations=tuple(replace(one, call_id="") for one in step.observations))

    return tuple(replace(one, steps=tuple(bare(step) for step in one.steps)) for one in trajectory.rounds)


def without_flags(trajectory: Trajectory) -> tuple[Round, ...]:
    def plain_of(step: Step) -> Step:
        return replace(step, observations=tuple(replace(one, error=False) for one in step.observations))

    return tuple(replace(one, steps=tuple(plain_of(step) for step in one.steps)) for one in without_ids(trajectory))


@pytest.mark.parametrize("name", TARGETS)
def test_what_every_target_can_hold_comes_back(name: str) -> None:
    found = back(get_target(name).write(plain()), name)
    assert without_ids(found) == plain().rounds
    assert (found.id, found.system, found.tools) == ("t1", plain().system, TOOLS)
    assert get(name).detect(get_target(name).write(plain()))


def test_openai_records_look_as_others_write_them() -> None:
    record = get_target("openai").write(plain())
    function = {"name": "a", "arguments": json.dumps(dict(A.arguments), ensure_ascii=False)}
    assert record["messages"][:5] == [
        {"role": "system", "content": "Be brief.\nAlways."},
        {"role": "user", "content": " Weather?\n"},
        {"role": "assistant", "content": "I look.", "tool_calls": [{"id": "call_1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "call_1", "content": '{"sky": "clear"}'},
        {"role": "assistant", "content": "Clear."},
    ]  # fmt: skip
    assert record["tools"][0] == {"type": "function", "function": {"name": "a", "description": "Tells.", "parameters": CITY}}
    ids = [call["id"] for message in record["messages"] for call in message.get("tool_calls", ())]
    assert len(set(ids)) == len(ids) == 4


def test_openai_keeps_call_ids_reasoning_and_weights_and_the_unanswered_call() -> None:
    calls = (replace(A, id="x"), replace(B, id="call_1"), B)
    step = Step(reasoning="Hm.", calls=calls, observations=(Observation(text="b", call_id="call_1"),), weight=0.0)
    wanted = Trajectory(rounds=(Round(user="q", steps=(step, Step(reasoning="So.", answer="a", weight=0.5))),))
    found = back(get_target("openai").write(wanted), "openai")
    read, answer = found.rounds[0].steps
    assert [call.id for call in read.calls if isinstance(call, ToolCall)][:2] == ["x", "call_1"]
    assert (read.observations, read.reasoning, read.weight) == (step.observations, "Hm.", 0.0)
    assert answer == Step(reasoning="So.", answer="a", weight=0.5)


def test_sharegpt_records_look_as_others_write_them() -> None:
    record = get_target("sharegpt").write(plain())
    assert [message["from"] for message in record["conversations"]] == [
        "system", "human", "gpt", "function_call", "observation", "gpt", "human", "gpt", "function_call", "observation", "observation",
        "function_call", "human", "gpt", "human",
    ]  # fmt: skip
    assert json.loads(record["conversations"][8]["value"]) == [
        {"name": "a", "arguments": dict(A.arguments)},
        {"name": "b", "arguments": {}},
    ]
    assert json.loads(record["tools"])[1] == {"name": "b", "description": "", "parameters": {"type": "object", "properties": {}}}


def test_msagent_records_look_as_the_data_set_does() -> None:
    record = get_target("msagent").write(plain())
    system, user, assistant = (message["value"] for message in record["conversations"][:3])
    assert system.startswith("Be brief.\nAlways.\n\n1. {")
    assert '"parameters": [{"type": "string", "description": "a city", "name": "city", "required": "True"}' in system
    assert user == " Weather?\n"
    arguments = json.dumps({"api_name": "a", "parameters": dict(A.arguments)}, ensure_ascii=False)
    assert assistant == (
        f"I look.<|startofthink|>```JSON\n{arguments}\n```<|endofthink|>\n"
        '\n<|startofexec|>```JSON\n{"sky": "clear"}\n```<|endofexec|>\nClear.'
    )


LATER = Observation(text="b", call_id="2")
THOUGHT = Trajectory(rounds=(Round(user="q", steps=(Step(thought="I know.", answer="a"),)),))


def test_a_thought_before_an_answer_is_a_named_change() -> None:
    for name in ("openai", "sharegpt"):
        record = get_target(name).write(THOUGHT)
        assert record["changes"] == ["thought_as_reasoning"]
        found = back(record, name)
        assert found.rounds[0].steps == (Step(reasoning="I know.", answer="a"),)
        assert "thought_as_reasoning" in found.notes
    assert back(get_target("trajectory").write(THOUGHT), "trajectory") == THOUGHT


def test_a_thought_before_an_answer_is_written_in_msagent_s_own_words() -> None:
    record = get_target("msagent").write(THOUGHT)
    assert record["conversations"][-1] == {"from": "assistant", "value": "Thought: I know.\nFinal Answer: a"}
    assert "changes" not in record
    assert back(record, "msagent").rounds[0].steps == THOUGHT.rounds[0].steps


def one(step: Step, **fields: Any) -> Trajectory:
    return Trajectory(rounds=(Round(user="q", steps=(step,)),), **fields)


@pytest.mark.parametrize(
    ("name", "trajectory", "code"),
    [
        ("openai", one(Step(reasoning="r", thought="t", answer="a")), "thought"),
        ("openai", one(Step(calls=(Malformed(text="x", reason="y"),))), "malformed"),
        ("openai", one(Step()), "empty"),
        ("openai", one(Step(answer=" a ")), "inexact"),
        ("openai", one(Step(calls=(A,), observations=seen("1", "2"))), "orphan"),
        ("openai", Trajectory(rounds=(Round(user="q", steps=(Step(answer="a"), Step(answer="b"))),)), "inexact"),
        ("openai", one(Step(answer="a"), tools=(ToolSpec(name="a"), ToolSpec(name="a"))), "inexact"),
        ("openai", Trajectory(rounds=(Round(user="q"),)), "inexact"),
        ("sharegpt", one(Step(calls=(replace(A, id="1"), replace(B, id="2")), observations=(LATER,))), "inexact"),
        ("sharegpt", one(Step(answer="<think>x</think>y")), "inexact"),
        ("msagent", one(Step(reasoning="r", answer="a")), "reasoning"),
        ("msagent", one(Step(answer="a", weight=0.0)), "weight"),
        ("msagent", one(Step(calls=(A,), observations=seen("x <|endofexec|> y"))), "inexact"),
        ("msagent", one(Step(calls=(A,), observations=seen("padded\n"))), "inexact"),
        ("msagent", one(Step(answer="a"), system="1. {\"name\": \"z\", \"description\": \"d\"}"), "inexact"),
        ("msagent", one(Step(calls=(ToolCall(name="a", arguments={"t": "<|startofthink|>"}),))), "inexact"),
    ],
)  # fmt: skip
def test_what_a_target_cannot_hold_is_refused(name: str, trajectory: Trajectory, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        get_target(name).write(trajectory)
    assert refused.value.code == code


def test_a_source_that_is_no_target_is_a_sentence() -> None:
    for name in ("toolbench", "apibank", "hermes", "xlam", "anthropic", "alpaca", "oasst", "react"):
        with pytest.raises(UserError, match="read but not written"):
            get_target(name)


HARD = [
    "",
    "a",
    "a\nb",
    " pad",
    "北京",
    "<think>x</think>",
    "<tool_call>",
    "<|endofexec|>",
    "```",
    "1. {",
    "Final Answer: x",
    "\x00",
    "{}",
    "[1]",
]


def conversations(
    words: st.SearchStrategy[str], reasoning: st.SearchStrategy[str], weights: list[float], mixed: bool
) -> st.SearchStrategy[Trajectory]:
    values = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | words, lambda inner: st.lists(inner, max_size=2), max_leaves=3)
    arguments = st.dictionaries(words, values, max_size=2)
    calls = st.builds(ToolCall, name=st.sampled_from(["a", "b", "c"]), arguments=arguments, id=st.sampled_from(["", "", "1", "2"]))
    called = st.builds(
        Step,
        reasoning=reasoning,
        thought=words,
        calls=st.lists(calls, min_size=1, max_size=3).map(tuple),
        observations=st.lists(st.builds(Observation, text=words), max_size=2 if mixed else 1).map(tuple),
        weight=st.sampled_from(weights),
    )
    answered = st.builds(Step, reasoning=reasoning, thought=st.just("") | words, answer=words)
    ordered = st.tuples(st.lists(called, max_size=2), st.lists(answered, min_size=1, max_size=1)).map(lambda pair: (*pair[0], *pair[1]))
    rounds = st.builds(Round, user=words, steps=st.lists(called | answered, max_size=3).map(tuple) if mixed else ordered)
    tools = st.lists(st.builds(ToolSpec, name=st.sampled_from(["a", "b"]), parameters=st.sampled_from([CITY, NESTED])), max_size=2)
    return st.builds(Trajectory, system=words, tools=tools.map(tuple), rounds=st.lists(rounds, max_size=3).map(tuple))


hard = conversations(st.text(max_size=8) | st.sampled_from(HARD), st.just("") | st.sampled_from(HARD), [1.0, 1.0, 0.0], mixed=True)
easy = conversations(st.sampled_from(["a", "b c", "北京", "line\nline"]), st.just(""), [1.0], mixed=False)
trajectories = hard | easy


@pytest.mark.parametrize("name", TARGETS)
def test_any_trajectory_comes_back_or_is_refused(name: str) -> None:
    counts: Counter[str] = Counter()

    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(trajectories)
    def check(trajectory: Trajectory) -> None:
        try:
            record = get_target(name).write(trajectory)
        except Refusal as error:
            counts[error.code] += 1
            return
        changed = isinstance(record, dict) and "changes" in record
        counts["changed" if changed else "written"] += 1
        found = back(record, name)
        assert found.tools == trajectory.tools
        assert changed or found.system == trajectory.system
        assert changed or without_ids(found) == without_ids(trajectory)

    check()
    print(name, dict(counts))
    assert counts["written"] >= 5


def trajectories_in(path: Path, name: str) -> Iterator[Trajectory]:
    text = path.read_text(encoding="utf-8")
    for record in json.loads(text) if text.startswith("[") else map(json.loads, text.splitlines()):
        try:
            yield from (one for one in get(name).read(record, ReadOptions()) if isinstance(one, Trajectory))
        except Refusal:
            continue


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("glaive-demo/glaive_toolcall_zh_demo.json", "sharegpt"),
        ("glaive-demo/reason_tool_use_demo_50.jsonl", "sharegpt"),
        ("toolbench/dfs_answers.jsonl", "toolbench"),
        ("api-bank/dialogues_lv1_lv2.jsonl", "apibank"),
        ("msagent/ms_agent_bench_20.jsonl", "msagent"),
    ],
)
def test_real_conversations_go_into_every_target(data_dir: Path, file: str, source: str) -> None:
    counts: Counter[str] = Counter()
    for trajectory in trajectories_in(data_dir / file, source):
        for name in TARGETS:
            try:
                record = get_target(name).write(trajectory)
            except Refusal as error:
                counts[f"{name} {error.code}"] += 1
                continue
            counts[name] += 1
            if "changes" not in record:
                assert without_flags(back(record, name)) == without_flags(trajectory)
    print(file, dict(counts))
    total = counts["trajectory"]
    assert total >= 1
    assert counts["openai"] == total
    assert counts["sharegpt"] >= 0.95 * total


@pytest.mark.parametrize(
    ("file", "source"), [("glaive-demo/reason_tool_use_demo_50.jsonl", "sharegpt"), ("toolbench/dfs_answers.jsonl", "toolbench")]
)
def test_real_conversations_go_into_every_protocol(data_dir: Path, file: str, source: str) -> None:
    counts: Counter[str] = Counter()
    for trajectory in trajectories_in(data_dir / file, source):
        for name in ("react", "react_zh", "hermes"):
            try:
                sample_of(trajectory, protocol(name))
                counts[name] += 1
            except Refusal as error:
                counts[f"{name} {error.code}"] += 1
    print(file, dict(counts))
    assert counts["hermes"] >= 0.95 * sum(count for name, count in counts.items() if name.startswith("hermes"))
