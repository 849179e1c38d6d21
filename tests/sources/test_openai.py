"""OpenAI chat messages and tau-bench runs: every call, result and text is kept, or the record is refused."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from agenttune import sources
from agenttune.errors import Refusal
from agenttune.sources import openai
from agenttune.sources.base import ReadOptions, note_name
from agenttune.sources.reading import files
from agenttune.sources.reading.records import parse
from agenttune.values.trajectory import Json, Observation, Round, Step, ToolCall, ToolSpec, Trajectory

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
BERLIN = ToolCall(name="weather", arguments={"city": "Berlin"}, id="c1")
NOW = ToolCall(name="now", arguments={}, id="c2")


def call(name: str, arguments: Json, id: str = "") -> Json:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def read(*messages: Json, **fields: Json) -> Trajectory:
    (one,) = openai.read({"messages": list(messages), **fields}, ReadOptions(file="f.jsonl", line=7))
    return one


def names(trajectory: Trajectory) -> list[str]:
    return [note_name(note) for note in trajectory.notes]


USER = {"role": "user", "content": "Weather?"}
CALLS = {"role": "assistant", "content": "Both.", "tool_calls": [call("weather", '{"city": "Berlin"}', "c1"), call("now", {}, "c2")]}


def test_parallel_calls_are_one_step_and_results_are_paired_by_id() -> None:
    found = read(
        {"role": "system", "content": "S"},
        USER,
        CALLS,
        {"role": "tool", "tool_call_id": "c2", "content": "noon"},
        {"role": "tool", "tool_call_id": "c1", "name": "weather", "content": '{"sky": "clear"}'},
        {"role": "assistant", "content": "Clear at noon."},
        id="x",
        tools=[{"type": "function", "function": {"name": "weather", "description": "W", "parameters": CITY}}],
    )
    seen = (Observation(text='{"sky": "clear"}', call_id="c1"), Observation(text="noon", call_id="c2"))
    assert found.rounds == (
        Round(user="Weather?", steps=(Step(thought="Both.", calls=(BERLIN, NOW), observations=seen), Step(answer="Clear at noon."))),
    )
    assert (found.id, found.system, found.file, found.line, found.notes) == ("x", "S", "f.jsonl", 7, ())
    assert found.tools == (ToolSpec(name="weather", description="W", parameters=CITY),)
    assert found.group.startswith("tools:")


def test_only_the_second_of_two_calls_answered_keeps_its_pair() -> None:
    found = read(USER, CALLS, {"role": "tool", "tool_call_id": "c2", "content": "noon"})
    assert found.rounds[0].steps[0].observations == (Observation(text="noon", call_id="c2"),)
    no_ids = {"role": "assistant", "tool_calls": [call("weather", CITY), call("now", {})]}
    step = read(USER, no_ids, {"role": "tool", "name": "now", "content": "noon"}).rounds[0].steps[0]
    assert [one.id for one in step.calls if isinstance(one, ToolCall)] == ["call_1", "call_2"]
    assert step.observations == (Observation(text="noon", call_id="call_2"),)


def test_two_calls_with_one_id_are_answered_in_order() -> None:
    twice = {"role": "assistant", "tool_calls": [call("a", {}, "x"), call("b", {}, "x")]}
    results = [{"role": "tool", "tool_call_id": "x", "content": "A"}, {"role": "tool", "tool_call_id": "x", "content": "B"}]
    found = read(USER, twice, *results)
    assert [seen.text for seen in found.rounds[0].steps[0].observations] == ["A", "B"]
    assert names(found) == ["call_ids_dropped", "results_by_position"]


def test_trailing_result_and_open_question_are_kept() -> None:
    found = read(USER, CALLS, {"role": "tool", "tool_call_id": "c1", "content": "r"}, {"role": "user", "content": "And?"})
    assert found.rounds[0].steps[0].observations == (Observation(text="r", call_id="c1"),)
    assert found.rounds[1] == Round(user="And?")


def test_older_function_calls_are_paired_by_name() -> None:
    found = read(
        USER,
        {"role": "assistant", "content": None, "function_call": {"name": "now", "arguments": "{}"}},
        {"role": "function", "name": "now", "content": "noon"},
        {"role": "assistant", "content": "Noon."},
        functions=[{"name": "now", "parameters": {}}],
    )
    assert found.rounds[0].steps[0] == Step(calls=(ToolCall(name="now", arguments={}),), observations=(Observation(text="noon"),))
    assert found.tools == (ToolSpec(name="now"),)
    with pytest.raises(Refusal, match="was not called"):
        read(
            USER,
            {"role": "assistant", "function_call": {"name": "now", "arguments": "{}"}},
            {"role": "function", "name": "then", "content": ""},
        )


def test_reasoning_comes_from_its_field_or_from_think_tags() -> None:
    assert read(USER, {"role": "assistant", "content": "A", "reasoning_content": "R"}).rounds[0].steps == (Step(reasoning="R", answer="A"),)
    tagged = read(USER, {"role": "assistant", "content": "<think>\nR\n</think>\n\nA"})
    assert tagged.rounds[0].steps == (Step(reasoning="R", answer="A"),)
    assert names(tagged) == ["think_tags"]
    late = read(USER, {"role": "assistant", "content": "A <think>R</think>"})
    assert late.rounds[0].steps == (Step(answer="A <think>R</think>"),)


def test_texts_in_a_row_are_joined_and_a_text_before_a_call_is_its_thought() -> None:
    said = [{"role": "assistant", "content": "One."}, {"role": "assistant", "content": "Two."}]
    assert read(USER, *said).rounds[0].steps == (Step(answer="One.\n\nTwo."),)
    assert names(read(USER, *said)) == ["answers_joined"]
    found = read(USER, said[0], {"role": "assistant", "content": None, "tool_calls": [call("now", "{}")]})
    assert found.rounds[0].steps == (Step(thought="One.", calls=(ToolCall(name="now", arguments={}),)),)
    assert found.notes == ()


@pytest.mark.parametrize(
    ("arguments", "wanted", "note"),
    [
        ('{"a": "x\\ny"}', {"a": "x\ny"}, []),
        ({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}, []),
        ('"{\\"a\\": 1}"', {"a": 1}, ["arguments_encoded_twice"]),
        ("{'a': True}", {"a": True}, ["python_literal"]),
        ("", {}, ["arguments_missing"]),
        (None, {}, ["arguments_missing"]),
        ("null", {}, ["arguments_missing"]),
        ('```json\n{"a": 1}\n```', {"a": 1}, []),
        ('{"a": "raw\nbreak"}', {"a": "raw\nbreak"}, ["json_control_characters"]),
    ],
)
def test_arguments_are_read_once(arguments: Json, wanted: Json, note: list[str]) -> None:
    found = read(USER, {"role": "assistant", "tool_calls": [call("f", arguments)]})
    assert found.rounds[0].steps[0].calls == (ToolCall(name="f", arguments=wanted),)
    assert names(found) == note


def test_content_in_parts_is_text() -> None:
    parts = [{"type": "text", "text": "a "}, {"type": "text", "text": "b"}]
    found = read({"role": "user", "content": parts}, {"role": "assistant", "content": [{"type": "text", "text": "c"}]})
    assert (found.rounds[0].user, found.rounds[0].steps[0].answer) == ("a b", "c")
    assert names(found) == ["parts_joined"]
    structured = read(USER, CALLS, {"role": "tool", "tool_call_id": "c1", "content": {"sky": "klar"}})
    assert structured.rounds[0].steps[0].observations[0].text == '{"sky": "klar"}'
    assert names(structured) == ["content_as_json"]


def test_a_weight_of_a_message_is_the_weight_of_its_step() -> None:
    found = read(USER, {"role": "assistant", "content": "no", "weight": 0}, {"role": "assistant", "content": "yes", "loss": True})
    assert [(step.answer, step.weight) for step in found.rounds[0].steps] == [("no", 0.0), ("yes", 1.0)]


def test_what_has_no_place_is_named() -> None:
    found = read({**USER, "name": "Ann"}, {"role": "assistant", "content": " A\n", "audio": {"id": 1}, "refusal": None}, model="m", score=3)
    assert found.rounds[0].steps[0].answer == "A"
    assert sorted(found.notes) == [
        "fields_dropped: model, score",
        "message_fields_dropped: audio",
        "message_fields_dropped: name",
        "trimmed",
    ]
    refused = read(USER, {"role": "assistant", "content": None, "refusal": "I cannot."})
    assert (refused.rounds[0].steps[0].answer, names(refused)) == ("I cannot.", ["refusal_as_answer"])


def test_a_call_with_more_than_a_name_and_arguments_is_named() -> None:
    found = read(
        USER, {"role": "assistant", "tool_calls": [{**call("f", "{}"), "index": 0, "function": {"name": "f", "arguments": "{}", "x": 1}}]}
    )
    assert found.notes == ("call_extra: x",)
    columns = {"id": None, "type": "function", "function": {"name": "f", "arguments": "{}", "x": None}}
    assert read(USER, {"role": "assistant", "content": None, "name": None, "tool_calls": [columns]}).notes == ()


def test_user_and_result_texts_are_verbatim() -> None:
    found = read({"role": "user", "content": "  q\n\n"}, CALLS, {"role": "tool", "tool_call_id": "c1", "content": "\n Action: x \n"})
    assert found.rounds[0].user == "  q\n\n"
    assert found.rounds[0].steps[0].observations[0].text == "\n Action: x \n"


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([], "shape"),
        ("no list", "shape"),
        ([1], "shape"),
        ([{"role": "robot", "content": "x"}], "role"),
        ([USER], "empty"),
        ([USER, {"role": "tool", "tool_call_id": "c1", "content": "r"}], "orphan"),
        ([USER, CALLS, {"role": "tool", "tool_call_id": "c9", "content": "r"}], "orphan"),
        ([USER, CALLS, {"role": "assistant", "content": "x"}, {"role": "tool", "tool_call_id": "c1", "content": "r"}], "orphan"),
        ([USER, {"role": "assistant", "content": "a"}, {"role": "system", "content": "late"}], "order"),
        ([USER, {"role": "assistant", "tool_calls": [call("f", "[1]")]}], "arguments"),
        ([USER, {"role": "assistant", "tool_calls": [call("f", '{"a": ')]}], "arguments"),
        ([USER, {"role": "assistant", "tool_calls": [call("f", "[" * 100_000)]}], "arguments"),
        ([USER, {"role": "assistant", "tool_calls": [call("", {})]}], "call"),
        ([USER, {"role": "assistant", "tool_calls": {"id": 1}}], "call"),
        ([USER, {"role": "assistant", "tool_calls": [{"type": "custom", "custom": {"name": "f", "input": "x"}}]}], "call"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}], "media"),
        ([USER, {"role": "assistant", "content": "a", "weight": -1}], "weight"),
    ],
)
def test_what_is_refused(messages: Json, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        list(openai.read({"messages": messages}, ReadOptions()))
    assert refused.value.code == code


def test_a_transcript_without_its_calls_is_refused() -> None:
    (found,) = openai.read({"messages_display": "user: Hi.\nThere.\nassistant: Hello!\nuser: Bye"}, ReadOptions())
    assert found.rounds == (Round(user="Hi.\nThere.", steps=(Step(answer="Hello!"),)), Round(user="Bye"))
    with pytest.raises(Refusal, match="not the calls"):
        list(openai.read({"messages_display": "user: Hi\nassistant: None\ntool: {}\nassistant: ok"}, ReadOptions()))


def test_tool_lists_in_every_spelling() -> None:
    wanted = ToolSpec(name="weather", description="W", parameters=CITY)
    loose = {
        "name": "weather",
        "description": "W",
        "parameters": {"type": "dict", "properties": {"city": {"type": "str"}}},
        "required": ["city"],
    }
    for tools in (
        [{"name": "weather", "description": "W", "parameters": CITY}],
        json.dumps([{"type": "function", "function": {"name": "weather", "description": "W", "parameters": CITY}}]),
        [json.dumps({"name": "weather", "description": "W", "input_schema": CITY})],
        str([{"name": "weather", "description": "W", "parameters": CITY}]),
        [loose],
    ):
        assert read(USER, {"role": "assistant", "content": "a"}, tools=tools).tools == (wanted,), tools
    assert sorted(read(USER, {"role": "assistant", "content": "a"}, tools=[loose]).notes) == ["required_moved", "schema_types"]
    with pytest.raises(Refusal, match="no name"):
        read(USER, {"role": "assistant", "content": "a"}, tools=[{"description": "W"}])


def test_every_tau_bench_run_is_kept_whole(data_dir: Path) -> None:
    raw = gzip.decompress((data_dir / "tau-bench" / "gpt-4o-airline.json.gz").read_bytes()).decode("utf-8")
    found = [one for record in json.loads(raw) for one in openai.read(record, ReadOptions())]
    steps = [step for one in found for round_ in one.rounds for step in round_.steps]
    counted = {
        "records": len(re.findall(r'"traj":\s*\[', raw)),
        "users": len(re.findall(r'"role":\s*"user"', raw)),
        "calls": len(re.findall(r'"type":\s*"function"', raw)),
        "observations": len(re.findall(r'"role":\s*"tool"', raw)),
        "answers": len(re.findall(r'"role":\s*"assistant"\s*\}', raw)),
        "thoughts": len(re.findall(r'"content":\s*"(?:[^"\\]|\\.)+",\s*"role":\s*"assistant",\s*"tool_calls"', raw)),
    }
    assert counted == {
        "records": len(found),
        "users": sum(len(one.rounds) for one in found),
        "calls": sum(len(step.calls) for step in steps),
        "observations": sum(len(step.observations) for step in steps),
        "answers": sum(step.answer is not None for step in steps),
        "thoughts": sum(bool(step.calls and step.thought) for step in steps),
    }
    assert (len(found), counted["calls"]) == (200, 1164)
    assert len({one.group for one in found}) == 50
    assert len({one.id for one in found}) == 200


def test_tau_bench_transcripts_are_refused_where_calls_are_missing(data_dir: Path) -> None:
    kept = refused = 0
    for path in sorted((data_dir / "tau-bench").glob("*-few_shot.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            lost = "\\ntool: " in line or "assistant: None" in line
            try:
                list(openai.read(json.loads(line), ReadOptions()))
                kept += 1
                assert not lost
            except Refusal as error:
                refused += 1
                assert lost
                assert error.code == "calls_missing"
    assert (kept, refused) == (1, 87)


def test_agent_is_another_word_for_assistant(data_dir: Path) -> None:
    name = data_dir / "react-fewshot" / "agentbench_alfworld_multiturn_react.json"
    raw = json.loads(name.read_text(encoding="utf-8"))
    records = list(files.read(files.expand([str(name)])[0]))
    assert [parse(one)["id"] for one in records] == list(raw)
    for record in records:
        value = parse(record)
        assert (sources.detect(value) or ("", ""))[0] == "openai"
        (found,) = openai.read(value, ReadOptions())
        said = [one for one in value["messages"] if one["role"] == "agent"]
        steps = [step for round_ in found.rounds for step in round_.steps]
        calls = [json.loads(call["function"]["arguments"]) for one in said for call in one["tool_calls"] or []]
        assert len(calls) > 3
        assert [call.arguments for step in steps for call in step.calls if isinstance(call, ToolCall)] == calls
        results = [one["content"] for one in value["messages"] if one["role"] == "tool"]
        assert [seen.text for step in steps for seen in step.observations] == results
