"""ReAct text in every form that public data comes in."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenttune import sources
from agenttune.errors import Refusal
from agenttune.protocols import get
from agenttune.protocols.base import write
from agenttune.sources import ms_agent
from agenttune.sources.base import ReadOptions, note_name
from agenttune.sources.react import source as react
from agenttune.sources.react.text import quotes_escaped
from agenttune.sources.react.tools import read_tools
from agenttune.sources.reading import files
from agenttune.sources.reading.records import parse
from agenttune.values.trajectory import Json, Observation, Step, ToolCall, ToolSpec, Trajectory

OPTIONS = ReadOptions(file="x.jsonl", line=2)
TOOLS = [
    {
        "name": "weather",
        "description": "d",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "desciption": "c"}}},
        "required": ["city"],
    },
    {"name": "ask_to_user", "description": "a", "parameters": {"type": "object", "properties": {}}, "required": []},
    {
        "name": "finish",
        "description": "f",
        "parameters": {"type": "object", "properties": {"answer": {"type": "string"}}},
        "required": ["answer"],
    },
]
SYSTEM = f"First I will give you the task.\nYou have access of the following tools:\n{json.dumps(TOOLS)}\n\nLet's Begin!\n"
CALL = 'Thought: look\nAction: weather\nAction Input: {"city": "Rome"}'
FINISH = 'Thought: done\nAction: finish\nAction Input: {"answer": "Sunny."}'
WEATHER = ToolCall(name="weather", arguments={"city": "Rome"})
SEEN = (Observation(text="sun"),)


def talk(*messages: tuple[str, str], **fields: Json) -> dict[str, Json]:
    return {"id": "r1", **fields, "conversations": [{"from": role, "value": text} for role, text in messages]}


def read(record: Json, options: ReadOptions = OPTIONS) -> Trajectory:
    (only,) = react.read(record, options)
    assert isinstance(only, Trajectory)
    return only


def steps(*messages: tuple[str, str]) -> list[tuple[str, tuple[Step, ...]]]:
    return [(round_.user, round_.steps) for round_ in read(talk(*messages)).rounds]


def names(trajectory: Trajectory) -> list[str]:
    return [note_name(note) for note in trajectory.notes]


def test_call_observation_finish() -> None:
    assert steps(("user", "q\nBegin!\n"), ("assistant", CALL), ("function", "sun"), ("assistant", FINISH)) == [
        ("q\nBegin!\n", (Step(thought="look", calls=(WEATHER,), observations=SEEN), Step(thought="done", answer="Sunny.")))
    ]


@pytest.mark.parametrize("role", ["function", "observation", "tool", "ipython"])
def test_every_role_of_a_result(role: str) -> None:
    assert steps(("human", "q"), ("gpt", CALL), (role, "sun"))[0][1] == (Step(thought="look", calls=(WEATHER,), observations=SEEN),)


def test_role_and_content_keys() -> None:
    record = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": CALL}, {"role": "tool", "content": "sun"}]}
    assert read(record).rounds[0].steps[0].calls == (WEATHER,)


def test_the_tool_list_leaves_the_system_text_and_the_rest_stays_verbatim() -> None:
    trajectory = read(talk(("system", SYSTEM), ("user", "q"), ("assistant", FINISH)))
    assert trajectory.system == "First I will give you the task.\nYou have access of the following tools:\n\n\nLet's Begin!\n"
    assert trajectory.tools == (
        ToolSpec(
            name="weather",
            description="d",
            parameters={"type": "object", "properties": {"city": {"type": "string", "description": "c"}}, "required": ["city"]},
        ),
        ToolSpec(name="ask_to_user", description="a"),
    )
    assert sorted(names(trajectory)) == ["finish_tool", "tool_description_spelling", "tool_required_moved"]


def test_systems_by_scenario() -> None:
    record = talk(("user", "q"), ("assistant", FINISH), scenario="A/B")
    with_text = read(record, ReadOptions(systems={"A/B": SYSTEM}))
    assert [tool.name for tool in with_text.tools] == ["weather", "ask_to_user"]
    assert with_text.group == "A/B"
    assert names(read(record)) == ["system_missing"]
    with pytest.raises(Refusal) as refused:
        read(record, ReadOptions(systems={"other": SYSTEM}))
    assert refused.value.code == "system"


def test_what_the_user_says_after_ask_to_user_is_its_observation() -> None:
    ask = 'Thought: \nAction: ask_to_user\nAction Input: {"question": "Where?"}'
    ((user, done),) = steps(
        ("user", "q"), ("assistant", ask), ("user", "In Rome"), ("assistant", CALL), ("function", "sun"), ("assistant", FINISH)
    )
    assert user == "q"
    assert done[0] == Step(
        calls=(ToolCall(name="ask_to_user", arguments={"question": "Where?"}),), observations=(Observation(text="In Rome"),)
    )
    assert len(done) == 3


def test_other_user_turns_open_rounds() -> None:
    rounds = steps(("user", "q1"), ("assistant", FINISH), ("user", "q2"), ("assistant", CALL), ("function", "sun"), ("assistant", FINISH))
    assert [(user, len(done)) for user, done in rounds] == [("q1", 1), ("q2", 2)]


def test_a_gap_keeps_the_call_without_an_observation() -> None:
    trajectory = read(talk(("user", "q"), ("assistant", CALL), ("assistant", CALL), ("function", "sun")))
    assert [len(step.observations) for step in trajectory.rounds[0].steps] == [0, 1]
    assert names(trajectory) == ["gap"]
    sample = write(trajectory, get("react"))
    assert [turn.system for turn in sample.turns] == ["", "", "Observation: sun"]


def test_a_user_turn_after_an_unanswered_call_is_a_gap_too() -> None:
    trajectory = read(talk(("user", "q"), ("assistant", CALL), ("user", "well?")))
    assert ([len(one.steps) for one in trajectory.rounds], names(trajectory)) == ([1, 0], ["gap"])


def test_empty_thought_and_empty_observation() -> None:
    done = steps(("user", "q"), ("assistant", CALL.replace("look", "")), ("function", ""))[0][1]
    assert done == (Step(calls=(WEATHER,), observations=(Observation(text=""),)),)


@pytest.mark.parametrize(
    ("given", "wanted", "note"),
    [
        ('{"city": "Rome"}', {"city": "Rome"}, None),
        ('```json\n{"city": "Rome"}\n```', {"city": "Rome"}, None),
        ("{'city': 'Rome', 'ok': True}", {"city": "Rome", "ok": True}, "python_literal"),
        ('{"city": "Ro\nme"}', {"city": "Ro\nme"}, "json_control_characters"),
        ('{"city": "the "old" town"}', {"city": 'the "old" town'}, "quotes_escaped"),
        ("", {}, "input_missing"),
        ("Rome", {"city": "Rome"}, "input_text"),
        ('"Rome"', {"city": "Rome"}, "input_named"),
        ("[1, 2]", {"city": [1, 2]}, "input_named"),
    ],
)
def test_tolerant_inputs(given: str, wanted: dict[str, Json], note: str | None) -> None:
    trajectory = read(talk(("system", SYSTEM), ("user", "q"), ("assistant", f"Thought: x\nAction: weather\nAction Input: {given}")))
    assert trajectory.rounds[0].steps[0].calls == (ToolCall(name="weather", arguments=wanted),)
    assert note is None or note in names(trajectory)


def test_an_unlisted_tool_with_bare_text_gets_input() -> None:
    trajectory = read(talk(("user", "q"), ("assistant", "Action: search\nAction Input: rome weather")))
    assert trajectory.rounds[0].steps[0].calls == (ToolCall(name="search", arguments={"input": "rome weather"}),)


def test_final_answer_and_unlabelled_answers() -> None:
    assert steps(("user", "q"), ("assistant", "Thought: t\nFinal Answer: a\nb"))[0][1] == (Step(thought="t", answer="a\nb"),)
    trajectory = read(talk(("user", "q"), ("assistant", "just this")))
    assert (trajectory.rounds[0].steps, names(trajectory)) == ((Step(answer="just this"),), ["answer_unlabelled"])


def test_finish_forms() -> None:
    for text, wanted in (('{"final_answer": " a "}', "a"), ('{"x": "a"}', "a"), ('{"answer": 5}', "5"), ('{"answer": null}', "")):
        assert steps(("user", "q"), ("assistant", f"Action: Finish\nAction Input: {text}"))[0][1] == (Step(answer=wanted),)
    trajectory = read(talk(("user", "q"), ("assistant", 'Action: finish\nAction Input: {"answer": "a", "why": "b"}')))
    assert trajectory.notes == ('finish_fields: {"why": "b"}',)


def test_quotes_are_escaped_only_where_one_text_is_the_only_reading() -> None:
    assert quotes_escaped('{"a": "x "y" z"}') == {"a": 'x "y" z'}
    assert quotes_escaped(r'{"a": "x \"y" z\n"}') == {"a": 'x "y" z\n'}
    assert quotes_escaped('{"a": "x", "b": "y"z"}') is None
    assert quotes_escaped('{"a": "x\\"}') is None


# ---- one text for a whole trajectory ----

FIREACT = (
    "Thought: a\nAction: search[best [of] all]\nObservation: found\nThought: b\nAction: finish[Badr Hari]\n"
    "Observation: Episode finished, reward = True\n"
)


def test_fireact_rows() -> None:
    trajectory = read({"instruction": "who?", "input": "", "output": FIREACT})
    call = ToolCall(name="search", arguments={"input": "best [of] all"})
    assert trajectory.rounds[0].user == "who?"
    assert trajectory.rounds[0].steps == (
        Step(thought="a", calls=(call,), observations=(Observation(text="found"),)),
        Step(thought="b", answer="Badr Hari"),
    )
    assert trajectory.notes == ("reward: True",)


def test_fireact_choices_before_the_first_thought_belong_to_the_question() -> None:
    trajectory = read({"instruction": "Question: x", "output": "A. one\nB. two\nThought: so\nAction: finish[B]\n"})
    assert trajectory.rounds[0].user == "Question: x\nA. one\nB. two"
    assert names(trajectory) == ["question_continued"]


def test_fireact_runs() -> None:
    traj = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "Thought: a\nAction: search[x]"},
        {"role": "user", "content": "Observation: found"},
        {"role": "assistant", "content": "Thought: b\nAction: finish[y]"},
        {"role": "user", "content": "Observation: Episode finished, reward = False"},
    ]
    trajectory = read({"id": "7", "traj": traj})
    assert [round_.user for round_ in trajectory.rounds] == ["q"]
    assert [step.observations for step in trajectory.rounds[0].steps] == [(Observation(text="found"),), ()]
    assert trajectory.notes == ("reward: False",)


def test_knowagent_paths_are_part_of_the_thought() -> None:
    output = "ActionPath 1: Start\nThought 1: t\nAction 1: Search[x]\nObservation 1: seen\nActionPath 2: Start->Search[x]\nThought 2: u\nAction 2: Finish[y]\nObservation 2: Answer is CORRECT"  # noqa: E501
    first, second = read({"input": "few shots\nQuestion: q", "output": output}).rounds[0].steps
    assert first == Step(
        thought="ActionPath: Start\nt", calls=(ToolCall(name="Search", arguments={"input": "x"}),), observations=(Observation(text="seen"),)
    )
    assert second == Step(thought="ActionPath: Start->Search[x]\nu", answer="y")


def test_worlds() -> None:
    output = "> Think: first\n> ActionPath: Start\n> go to shelf 1\nOn it,\nyou see.\n> Think: then\nOK.\n> open box 1\n"
    trajectory = read({"input": "task", "output": output})
    assert trajectory.rounds[0].steps == (
        Step(
            thought="first\nActionPath: Start",
            calls=(ToolCall(name="act", arguments={"action": "go to shelf 1"}),),
            observations=(Observation(text="On it,\nyou see."),),
        ),
        Step(thought="then", calls=(ToolCall(name="act", arguments={"action": "open box 1"}),)),
    )
    assert names(trajectory) == ["action_path_in_thought", "think_reply"]


def test_fewshot_tables() -> None:
    table = {
        "think": "Head.\nQuestion: q1\nThought 1: a\nAction 1: Search[x]\nObservation 1: Answer: no\nAction 2: Finish[y]\nQuestion: q2\nAction 1: Finish[z]\n",  # noqa: E501
        "cot": "Claim: c\nThought: a\nAnswer:REFUTES\n",
    }
    found = list(react.read(table, OPTIONS))
    assert [(one.id, one.system, len(one.rounds[0].steps)) for one in found if isinstance(one, Trajectory)] == [
        ("think/1", "Head.", 2),
        ("think/2", "Head.", 1),
        ("cot/1", "", 1),
    ]
    assert isinstance(found[2], Trajectory)
    assert found[2].rounds[0].steps == (Step(thought="a", answer="REFUTES"),)


def test_toolalpaca_runs_and_golden_calls() -> None:
    described = {
        "get": 'Get it\nParameters: {"n": "Required. integer. How many.", "tags": "Array[string]. Tags."}\nOutput: ok',
        "components": "",
    }
    base = {"Name": "Api", "Function_Description": described, "Instructions": ["i1", "i2"]}
    golden = [[{"Action": "get", "Action_Input": '{"n": 1}'}], [{"Action": "get", "Action_Input": '{"n": ${x}}'}]]
    first, second = react.read({**base, "Golden_Answers": golden}, OPTIONS)
    assert isinstance(first, Trajectory)
    assert isinstance(second, Refusal)
    assert (first.id, first.rounds[0].user, first.rounds[0].steps) == (
        "Api/1",
        "i1",
        (Step(calls=(ToolCall(name="get", arguments={"n": 1}),)),),
    )
    assert first.tools[0] == ToolSpec(
        name="get",
        description="Get it\nOutput: ok",
        parameters={
            "type": "object",
            "properties": {
                "n": {"type": "integer", "description": "How many."},
                "tags": {"type": "array", "items": {"type": "string"}, "description": "Tags."},
            },
            "required": ["n"],
        },
    )
    run = {
        "input": "i1",
        "output": "All done.",
        "intermediate_steps": [[["get", '{"n": 1}', 'I look.\nASSISTANT Action: get\nASSISTANT Action Input: {"n": 1}'], "Status 200"]],
    }
    runs = list(
        react.read(
            {
                **base,
                "Golden_Answers": golden,
                "Instances": [run, "This instance is not used.", {**run, "output": "Agent stopped due to iteration limit or time limit."}],
            },
            OPTIONS,
        )
    )
    done, unused, stopped = runs
    assert isinstance(done, Trajectory)
    assert isinstance(unused, Refusal)
    assert isinstance(stopped, Trajectory)
    call = Step(thought="I look.", calls=(ToolCall(name="get", arguments={"n": 1}),), observations=(Observation(text="Status 200"),))
    assert done.rounds[0].steps == (call, Step(answer="All done."))
    assert (stopped.rounds[0].steps, stopped.stop) == ((call,), "max_steps")


# ---- MSAgent's ReAct edition ----


def test_ms_agent_rounds_inside_one_value() -> None:
    system = 'Use these:\n1. find: Call it. . Parameters: [{"name": "key", "description": "k", "required": "True"}]\n\n2. buy: Buy. Parameters: []\n\nUse the following format:\nBegin!'  # noqa: E501
    value = "Action: find\nAction Input: {'key': {'a': True}}\nObservation: [{'sku': '1'}]\nThought: more\nAction: buy\nAction Input: {}\nObservation: ok\nThought: I now know\nFinal Answer: bought"  # noqa: E501
    (trajectory,) = ms_agent.read(talk(("system", system), ("user", "q"), ("assistant", value)), OPTIONS)
    assert trajectory.system == "Use these:\nUse the following format:\nBegin!"
    assert trajectory.tools == (
        ToolSpec(
            name="find",
            description="Call it. .",
            parameters={"type": "object", "properties": {"key": {"description": "k"}}, "required": ["key"]},
        ),
        ToolSpec(name="buy", description="Buy."),
    )
    assert trajectory.rounds[0].steps == (
        Step(calls=(ToolCall(name="find", arguments={"key": {"a": True}}),), observations=(Observation(text="[{'sku': '1'}]"),)),
        Step(thought="more", calls=(ToolCall(name="buy", arguments={}),), observations=(Observation(text="ok"),)),
        Step(thought="I now know", answer="bought"),
    )
    assert names(trajectory) == ["python_literal"]


def test_ms_agent_never_runs_its_inputs(tmp_path: Path) -> None:
    attack = f"{{'a': __import__('pathlib').Path({str(tmp_path / 'ran')!r}).write_text('x')}}"
    for value in (f"Action: find\nAction Input: {attack}\nObservation: x", f"Action: find\nAction Input: {attack}"):
        with pytest.raises(Refusal):
            list(ms_agent.read(talk(("user", "q"), ("assistant", value)), OPTIONS))
    assert not list(tmp_path.iterdir())


# ---- alternatives, weights, finish as a tool ----


def read_one(record: Json) -> Trajectory:
    assert react.detect(record)
    (found,) = react.read(record, OPTIONS)
    assert isinstance(found, Trajectory)
    return found


def test_of_several_accepted_texts_the_first_is_the_step_and_the_others_are_kept() -> None:
    texts = ["Thought:\nAction: w\nAction Input: {}", 'Thought: so\nAction: v\nAction Input: {"a": 1}']
    found = read_one({"conversations": [{"from": "user", "value": "W?"}, {"from": "assistant", "value": texts}]})
    other = Step(thought="so", calls=(ToolCall(name="v", arguments={"a": 1}),))
    assert found.rounds[0].steps == (Step(calls=(ToolCall(name="w", arguments={}),), alternatives=(other,)),)
    assert found.notes == ("alternatives",)
    sample = write(found, get("react"))
    assert [turn.output for turn in sample.turns] == ["Action: w\nAction Input: {}"]
    assert sample.meta["accepted"] == {"0": ['Thought: so\nAction: v\nAction Input: {"a": 1}']}
    single = read_one({"conversations": [{"from": "user", "value": "W?"}, {"from": "assistant", "value": texts[:1]}]})
    assert single.rounds[0].steps == (Step(calls=(ToolCall(name="w", arguments={}),)),)


@pytest.mark.parametrize("value", [["Thought: a\nAction: w\nAction Input: {}", 3], {"text": "x"}, 3, [], [["x"]]])
def test_what_the_assistant_says_is_text(value: Json) -> None:
    with pytest.raises(Refusal) as refused:
        list(react.read({"conversations": [{"from": "user", "value": "W?"}, {"from": "assistant", "value": value}]}, OPTIONS))
    assert refused.value.code == "shape"


@pytest.mark.parametrize(
    ("field", "weight"), [({"loss": False}, 0.0), ({"loss_weight": 0.5}, 0.5), ({"train": True}, 1.0), ({"train_on_turn": False}, 0.0)]
)
def test_a_weight_of_a_message_is_that_of_its_steps(field: Json, weight: float) -> None:
    found = read_one(
        {
            "conversations": [
                {"from": "user", "value": "W?"},
                {"from": "assistant", "value": "Action: w\nAction Input: {}", **field},
                {"from": "function", "value": "r"},
                {"from": "assistant", "value": "Final Answer: x"},
            ]
        }
    )
    assert [step.weight for step in found.rounds[0].steps] == [weight, 1.0]
    assert found.notes == ()


def test_a_tool_that_is_really_called_finish_is_a_tool() -> None:
    tools = [{"name": "finish", "description": "Ends a task."}]
    record = talk(
        ("user", "End it."),
        ("assistant", 'Action: finish\nAction Input: {"answer": "task 3"}'),
        ("function", "ended"),
        ("assistant", "Final Answer: Done."),
    )
    found = read_one({**record, "tools": tools})
    call = ToolCall(name="finish", arguments={"answer": "task 3"})
    assert found.rounds[0].steps == (Step(calls=(call,), observations=(Observation(text="ended"),)), Step(answer="Done."))
    assert [tool.name for tool in found.tools] == ["finish"]
    assert found.notes == ("finish_is_a_tool",)
    given = talk(
        ("user", "End it."),
        ("assistant", 'Action: finish\nAction Input: {"task": 3, "now": true}'),
        ("function", "ended"),
        ("assistant", "Final Answer: Done."),
    )
    assert read_one(given).rounds[0].steps[0].calls == (ToolCall(name="finish", arguments={"task": 3, "now": True}),)


def test_a_label_in_mid_line_is_part_of_the_thought() -> None:
    record = talk(
        ("user", "W?"),
        ("assistant", "Thought: I recall. Thought: hm\nAction: w\nAction Input: {}"),
        ("function", "r"),
        ("assistant", "Thought: so Thought: no\nFinal Answer: x"),
    )
    assert [step.thought for step in read_one(record).rounds[0].steps] == ["I recall. Thought: hm", "so Thought: no"]


def test_messages_that_are_json_text_are_known_and_read() -> None:
    messages = [{"from": "user", "value": "W?"}, {"from": "assistant", "value": "Action: w\nAction Input: {}"}]
    assert read_one({"conversations": json.dumps(messages)}).rounds[0].steps == (Step(calls=(ToolCall(name="w", arguments={}),)),)


# ---- refusals, detection, damage ----


@pytest.mark.parametrize(
    ("record", "code"),
    [
        ([], "shape"),
        ({}, "shape"),
        ({"conversations": []}, "shape"),
        ({"conversations": [{"value": "x"}]}, "shape"),
        (talk(("robot", "x")), "role"),
        (talk(("user", "x"), ("system", "y")), "order"),
        (talk(("user", "x")), "empty"),
        (talk(("user", "x"), ("function", "y")), "orphan"),
        (talk(("user", "x"), ("assistant", "Thought: only")), "step"),
        (talk(("user", "x"), ("assistant", "Thought: t\nAction: a")), "action"),
        (talk(("user", "x"), ("assistant", "Thought: t\nAction Input: {}")), "action"),
        (talk(("user", "x"), ("assistant", "Thought: t\nAction:\nAction Input: {}")), "action"),
        (talk(("user", "x"), ("assistant", 'Action: a\nAction Input: {"x": ')), "arguments"),
        (talk(("user", "x"), ("assistant", 'Action: a\nAction Input: {"x": 1} and more')), "arguments"),
        (talk(("user", "x"), ("assistant", "Action: a\nAction Input: {}"), ("function", "y"), ("function", "z")), "orphan"),
        ({"instruction": "q", "output": "nothing"}, "step"),
        ({"input": "q", "output": "> think: only\n"}, "step"),
    ],
)
def test_refusals(record: Json, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        list(react.read(record, OPTIONS))
    assert refused.value.code == code


def test_a_json_list_that_is_no_tool_list_stays() -> None:
    text = 'Reply like [{"a": 1}] or [{"b": 2}].'
    assert read_tools(text).text == text
    assert read_tools(text).tools == ()


@pytest.mark.parametrize(
    "text",
    [
        "[{" * 50_000,
        "a: " + " " * 300_000,
        "a: Parameters: [" * 5_000,
        "1. a: Parameters: [\n" * 5_000,
        "Thought:" * 50_000,
        "> " * 100_000,
    ],
)
def test_hostile_texts_take_no_time(text: str) -> None:
    read_tools(text)
    for record in (
        talk(("user", "q"), ("assistant", text)),
        {"output": text},
        talk(("user", "q"), ("assistant", "Action: a\nAction Input: " + text)),
    ):
        react.detect(record)
        try:
            list(react.read(record, OPTIONS))
        except Refusal:
            continue


GOOD = [
    talk(("system", SYSTEM), ("user", "q"), ("assistant", CALL), ("function", "sun"), ("assistant", FINISH)),
    {"instruction": "q", "output": FIREACT},
    {"input": "q", "output": "> think: a\n> go to x\nseen\n"},
]
DAMAGE = st.sampled_from(
    ["", "{", "}", "\n", "Action:", "Action Input:", "Observation: x", "Thought:", "[", "]", '"', "'", "\ud800", "\x00", "> ", "[" * 400]
)


@settings(max_examples=int(os.environ.get("AGENTTUNE_DAMAGE", "300")), deadline=None)
@given(st.integers(0, 2), st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 30), DAMAGE), min_size=1, max_size=4))
def test_damaged_records_are_read_or_refused(which: int, cuts: list[tuple[int, int, str]]) -> None:
    value: Any = json.loads(json.dumps(GOOD[which]))
    for at, length, text in cuts:
        if "conversations" in value:
            one = value["conversations"][at % len(value["conversations"])]
            key = "value"
        else:
            one, key = value, "output"
        start = at % (len(one[key]) + 1)
        one[key] = one[key][:start] + text + one[key][start + length :]
    react.detect(value)
    try:
        list(react.read(value, OPTIONS))
    except Refusal:
        return


# ---- real data, counted by another reader ----


def counted(found: Iterable[Trajectory | Refusal]) -> Counter[str]:
    count: Counter[str] = Counter()
    for one in found:
        count["parts"] += 1
        if isinstance(one, Refusal):
            count["refused"] += 1
            continue
        done = [step for round_ in one.rounds for step in round_.steps]
        count["calls"] += sum(len(step.calls) for step in done)
        count["observations"] += sum(len(step.observations) for step in done)
        count["answers"] += sum(step.answer is not None for step in done)
        count["thoughts"] += sum(bool(step.thought) for step in done)
    return count


def all_of(path: Path, systems: dict[str, str] | None = None) -> Iterator[Trajectory | Refusal]:
    for record in files.read(files.expand([str(path)])[0]):
        value = parse(record)
        assert sources.detect(value) == ("react", react.detect(value))
        try:
            yield from react.read(value, ReadOptions(file=record.file, line=record.line, systems=systems or {}))
        except Refusal as problem:
            yield problem


@pytest.mark.parametrize("part", ["train", "dev"])
def test_react_gpt4(data_dir: Path, part: str) -> None:
    path = data_dir / "react-gpt4" / f"{part}.jsonl"
    raw = path.read_text(encoding="utf-8")
    systems = json.loads((data_dir / "react-gpt4" / "systems.json").read_text(encoding="utf-8"))
    found = list(all_of(path, systems))
    said = re.findall(r'"from": "assistant", "value": "Thought: ?(.*?)\\nAction: ?(.*?)\\nAction Input: ', raw)
    replies = len(re.findall(r'"from": "user", "value"', raw)) - raw.count("\n")
    count = counted(found)
    assert count["parts"] == raw.count("\n")
    assert count["refused"] == 0
    assert count["answers"] == sum(name == "finish" for _, name in said)
    assert count["calls"] == sum(name != "finish" for _, name in said)
    assert count["thoughts"] == sum(thought.replace("\\n", "").strip() != "" for thought, _ in said)
    assert count["observations"] == len(re.findall(r'"from": "function"', raw)) + replies
    assert all(write(one, get("react")).turns for one in found if isinstance(one, Trajectory))
    assert all(one.tools and one.group in systems for one in found if isinstance(one, Trajectory))
    shortest = found[0]
    assert isinstance(shortest, Trajectory)
    listed = json.loads(systems[shortest.group][systems[shortest.group].index("[{") : systems[shortest.group].rindex("}]") + 2])
    assert [tool.name for tool in shortest.tools] == [tool["name"] for tool in listed if tool["name"] != "finish"]
    before, after = systems[shortest.group].split(json.dumps(listed, ensure_ascii=False), 1)
    assert shortest.system == before + after


@pytest.mark.parametrize(("name", "refused"), [("hotpotqa", 0), ("multitask_multimethod", 5)])
def test_fireact(data_dir: Path, name: str, refused: int) -> None:
    path = data_dir / "fireact" / f"{name}.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    # A row is refused where an observation follows a thought with no action between.
    bad = [row for row in raw if re.search(r"^Thought:(?:(?!^Action:).)*^Observation:", row["output"], re.MULTILINE | re.DOTALL)]
    good = [row["output"] for row in raw if row not in bad]
    count = counted(all_of(path))
    assert len(bad) == count["refused"] == refused
    assert count["parts"] == len(raw)
    assert count["calls"] == sum(len(re.findall(r"^Action: search\[", text, re.MULTILINE)) for text in good)
    assert count["answers"] == sum(len(re.findall(r"^Action: finish\[", text, re.MULTILINE)) for text in good)
    assert count["observations"] == sum(len(re.findall(r"^Observation: (?!Episode finished)", text, re.MULTILINE)) for text in good)


def test_fireact_evaluated_runs(data_dir: Path) -> None:
    path = data_dir / "fireact" / "traj_hotpotqa_dev_gpt35ft.json"
    found = list(all_of(path))
    raw = json.loads(path.read_text(encoding="utf-8"))
    refused = [index for index, one in enumerate(found) if isinstance(one, Refusal)]
    good = [run["traj"] for index, run in enumerate(raw.values()) if index not in refused]
    said = [text["content"] for traj in good for text in traj if text["role"] == "assistant"]
    count = counted(found)
    assert (count["parts"], count["refused"]) == (465, 2)
    # one finish has a result, "None", after which the model goes on: it is a call
    assert count["calls"] == sum(len(re.findall(r"^Action: (?!finish)\w+\[", text, re.MULTILINE)) for text in said) + 1
    assert count["answers"] == sum(len(re.findall(r"^Action: finish\[", text, re.MULTILINE)) for text in said) - 1


@pytest.mark.parametrize("name", ["HotpotQA", "ALFWorld"])
def test_knowagent(data_dir: Path, name: str) -> None:
    path = data_dir / "knowagent" / f"{name}_data_knowagent.json"
    raw = "".join(row["output"] + "\n" for row in json.loads(path.read_text(encoding="utf-8")))
    count = counted(all_of(path))
    if name == "HotpotQA":
        assert count["calls"] == len(re.findall(r"^Action \d+: (?!Finish)", raw, re.MULTILINE))
        assert count["answers"] == len(re.findall(r"^Action \d+: Finish\[", raw, re.MULTILINE))
        assert count["observations"] == len(re.findall(r"^Observation \d+: (?!Answer is)", raw, re.MULTILINE))
    else:
        assert count["calls"] == len(re.findall(r"^> (?!Think:|ActionPath:)", raw, re.MULTILINE))
        assert count["observations"] == len(re.findall(r"^> (?!Think:|ActionPath:).*\n(?!>|\n)", raw, re.MULTILINE))
    assert count["refused"] == 0


@pytest.mark.parametrize("name", ["alfworld_3prompts", "fever", "prompts_naive"])
def test_fewshot(data_dir: Path, name: str) -> None:
    path = data_dir / "react-fewshot" / f"{name}.json"
    raw = "\n".join(json.loads(path.read_text(encoding="utf-8")).values())
    count = counted(all_of(path))
    assert count["refused"] == 0
    if name == "alfworld_3prompts":
        assert count["parts"] == raw.count("Your task is to:")
        assert count["calls"] == len(re.findall(r"^>(?! ?think:)", raw, re.MULTILINE))
    else:
        assert count["parts"] == len(re.findall(r"^(?:Question|Claim):", raw, re.MULTILINE))
        assert count["calls"] == len(re.findall(r"^Action \d+:(?! ?Finish)", raw, re.MULTILINE))
        assert count["answers"] == len(re.findall(r"^Action \d+: ?Finish|^Answer:", raw, re.MULTILINE))
        assert count["observations"] == len(re.findall(r"^Observation \d+:", raw, re.MULTILINE))


def test_toolalpaca(data_dir: Path) -> None:
    path = data_dir / "toolalpaca" / "eval_simulated.json"
    golden = [calls for api in json.loads(path.read_text(encoding="utf-8")) for calls in api["Golden_Answers"]]
    good = [calls for calls in golden if not any(re.search(r"[:\[]\s*\$\{", call["Action_Input"]) for call in calls)]
    count = counted(all_of(path))
    assert count["parts"] == len(golden)
    assert count["refused"] == len(golden) - len(good)
    assert count["calls"] == sum(len(calls) for calls in good)
    path = data_dir / "toolalpaca" / "octobrist_chatgpt_multi_api_trajectories.json"
    runs = [run for api in json.loads(path.read_text(encoding="utf-8")) for run in api["Instances"]]
    kept = [
        run
        for run in runs
        if isinstance(run, dict) and (run["intermediate_steps"] or not re.match("Agent stopped|Could not parse", run["output"]))
    ]
    count = counted(all_of(path))
    assert (count["parts"], count["parts"] - count["refused"]) == (len(runs), len(kept))
    assert count["calls"] == count["observations"] == sum(len(run["intermediate_steps"]) for run in kept)
    assert count["answers"] == sum(not re.match("Agent stopped|Could not parse", run["output"]) for run in kept)


def test_ms_agent_real_record(data_dir: Path) -> None:
    raw = (data_dir / "msagent" / "ms_agent_react_126374.jsonl").read_text(encoding="utf-8")
    record = json.loads(raw)
    assert sources.detect(record) == ("ms_agent", ms_agent.detect(record))
    (trajectory,) = ms_agent.read(record, OPTIONS)
    count = counted([trajectory])
    said = "\n".join(one["value"] for one in record["conversations"] if one["from"] == "assistant")
    assert count["calls"] == len(re.findall(r"^Action:", said, re.MULTILINE)) == 3
    assert count["observations"] == len(re.findall(r"^Observation:", said, re.MULTILINE)) == 3
    assert count["answers"] == len(re.findall(r"^Final Answer:", said, re.MULTILINE)) == 3
    assert [tool.name for tool in trajectory.tools] == [
        "hm_recipe_recommend",
        "hm_product_marketing",
        "hm_product_info",
        "hm_product_recommend",
    ]
    assert "1. hm_recipe" not in trajectory.system
    assert trajectory.system.endswith("Begin!")
    assert trajectory.rounds[2].steps[0].calls == (
        ToolCall(
            name="hm_product_info",
            arguments={"sku_code_list": ["15956662254"], "sku_name_list": ["小米11 Ultra 5G手机 256GB"], "property_list": [["拍照性能"]]},
        ),
    )
