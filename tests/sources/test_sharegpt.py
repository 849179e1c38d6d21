"""ShareGPT conversations: thoughts beside calls, parallel calls, typed parts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from agenttune.errors import Refusal
from agenttune.sources import sharegpt
from agenttune.sources.base import ReadOptions, note_name
from agenttune.values.trajectory import Json, Observation, Round, Step, ToolCall, Trajectory

F = ToolCall(name="f", arguments={"a": 1})
G = ToolCall(name="g", arguments={})
ASK = {"from": "human", "value": "q"}


def said(role: str, value: Json) -> Json:
    return {"from": role, "value": value}


def read(*messages: Json, **fields: Json) -> Trajectory:
    (one,) = sharegpt.read({"conversations": list(messages), **fields}, ReadOptions())
    return one


def test_a_thought_before_a_function_call_is_that_calls_thought() -> None:
    call = said("function_call", '{"name": "f", "arguments": {"a": 1}}')
    messages = [said("system", "S"), ASK, said("gpt", "I look."), call, said("observation", "r"), said("gpt", "Done.")]
    found = read(*messages, said("human", "thanks"), said("gpt", "Gladly."), tools="[]")
    assert found.system == "S"
    assert found.rounds == (
        Round(user="q", steps=(Step(thought="I look.", calls=(F,), observations=(Observation(text="r"),)), Step(answer="Done."))),
        Round(user="thanks", steps=(Step(answer="Gladly."),)),
    )
    assert found.notes == ()


def test_a_list_in_a_function_call_is_parallel_calls() -> None:
    both = [{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {}}]
    found = read(ASK, said("function_call", json.dumps(both)), said("observation", "1"), said("observation", "2"))
    assert found.rounds[0].steps == (Step(calls=(F, G), observations=(Observation(text="1"), Observation(text="2"))),)


def test_one_list_of_results_by_name_is_taken_apart() -> None:
    both = said("function_call", '[{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {}}]')
    listed = [{"name": "f", "content": 1}, {"name": "g", "content": "x"}]
    found = read(ASK, both, said("observation", json.dumps(listed)))
    assert [seen.text for seen in found.rounds[0].steps[0].observations] == ['{"name": "f", "content": 1}', '{"name": "g", "content": "x"}']
    assert found.notes == ("results_split",)
    other = read(ASK, both, said("observation", "[1, 2]"))
    assert [seen.text for seen in other.rounds[0].steps[0].observations] == ["1", "2"]
    assert other.notes == ("results_split", "results_by_position")


def test_reasoning_inside_a_function_call() -> None:
    found = read(ASK, said("function_call", '<think>Hm.</think>{"name": "g", "arguments": "{}"}'))
    assert found.rounds[0].steps == (Step(reasoning="Hm.", calls=(G,)),)


def test_other_names_of_roles_and_objects_as_calls() -> None:
    (found,) = sharegpt.read(
        {
            "messages": [
                {"role": "user", "content": "q"},
                {"role": "tool_call", "content": {"name": "f", "parameters": {"a": 1}}},
                {"role": "tool_response", "content": {"x": 1}},
                {"role": "assistant", "content": "a", "loss": False},
            ],
            "system": "S",
        },
        ReadOptions(),
    )
    assert found.rounds[0].steps == (Step(calls=(F,), observations=(Observation(text='{"x": 1}'),)), Step(answer="a", weight=0.0))
    assert found.system == "S"


def test_typed_parts() -> None:
    def part(kind: str, value: str) -> Json:
        return {"type": kind, "value": value}

    found = read(
        {"role": "user", "content": [part("text", "q")]},
        {"role": "assistant", "content": [part("reasoning", "R"), part("text", "T"), part("tool_call", '{"name": "g", "arguments": {}}')]},
        {"role": "tool", "content": [part("text", "r")]},
        {"role": "assistant", "content": [part("text", "a")]},
    )
    assert found.rounds[0].steps == (Step(reasoning="R", thought="T", calls=(G,), observations=(Observation(text="r"),)), Step(answer="a"))


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([], "shape"),
        ([ASK], "empty"),
        ([ASK, said("gpt", "I calculate: {}"), said("observation", "{}")], "orphan"),
        ([ASK, said("function_call", "no call")], "call"),
        ([ASK, said("function_call", "[]")], "call"),
        ([ASK, said("function_call", "3")], "call"),
        ([ASK, said("function_call", '{"name": "f", "arguments": [1]}')], "arguments"),
        ([ASK, said("gpt", ["x"])], "shape"),
        ([ASK, said("moderator", "x")], "role"),
        ([ASK, said("gpt", "a"), said("system", "late")], "order"),
        ([ASK, {"from": "gpt", "value": [{"type": "image", "value": "u"}]}], "media"),
        ([{"from": "human", "value": [{"type": "tool_call", "value": '{"name": "f", "arguments": {}}'}]}], "role"),
    ],
)
def test_what_is_refused(messages: list[Json], code: str) -> None:
    with pytest.raises(Refusal) as refused:
        read(*messages)
    assert refused.value.code == code


def counts(text: str) -> dict[str, int]:
    """Messages by their role, straight from the file's text."""
    return {role: len(re.findall(rf'"from": "{role}"', text)) for role in ("human", "gpt", "function_call", "observation")}


@pytest.mark.parametrize(("name", "refusals"), [("en", 0), ("zh", 2)])
def test_glaive_is_kept_whole(data_dir: Path, name: str, refusals: int) -> None:
    raw = (data_dir / "glaive-demo" / f"glaive_toolcall_{name}_demo.json").read_text(encoding="utf-8")
    wanted = counts(raw)
    steps, users, orphans = [], 0, 0
    for record in json.loads(raw):
        try:
            (one,) = sharegpt.read(record, ReadOptions())
        except Refusal as error:
            assert error.code == "orphan"  # the call stands in the gpt text before it, as prose
            orphans += 1
            wanted = {role: wanted[role] - n for role, n in counts(json.dumps(record, ensure_ascii=False)).items()}
            continue
        users += len(one.rounds)
        steps += [step for round_ in one.rounds for step in round_.steps]
        assert one.notes == ()
    assert orphans == refusals
    assert wanted == {
        "human": users,
        "gpt": sum(step.answer is not None for step in steps) + sum(bool(step.calls and step.thought) for step in steps),
        "function_call": sum(len(step.calls) for step in steps),
        "observation": sum(len(step.observations) for step in steps),
    }
    assert wanted["function_call"] == {"en": 211, "zh": 216}[name]


def test_reasoning_and_parallel_calls_are_kept(data_dir: Path) -> None:
    raw = (data_dir / "glaive-demo" / "reason_tool_use_demo_50.jsonl").read_text(encoding="utf-8")
    found = [one for line in raw.splitlines() for one in sharegpt.read(json.loads(line), ReadOptions())]
    steps = [step for one in found for round_ in one.rounds for step in round_.steps]
    assert len(found) == 50
    assert sum(len(step.calls) for step in steps) == len(re.findall(r'"type": "tool_call"', raw)) == 68
    assert sum(bool(step.reasoning) for step in steps) == len(re.findall(r'"type": "reasoning"', raw)) == 112
    assert sum(step.answer is not None for step in steps) == 59
    # 42 tool messages; five of them hold the results of 2, 3, 2, 2 and 2 calls
    assert len(re.findall(r'"role": "tool"', raw)) == 42
    assert sum(len(step.observations) for step in steps) == 48
    names = [note_name(note) for one in found for note in one.notes]
    assert names.count("results_split") == 5
    # "required" stands outside the parameters there, and "str" is no type of JSON Schema
    spec = next(tool for one in found for tool in one.tools if tool.name == "get_device_asset_by_identifier")
    assert spec.parameters["required"] == ["identifier"]
    assert (spec.parameters["type"], spec.parameters["properties"]["identifier"]["type"]) == ("object", "string")
