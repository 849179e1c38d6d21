"""API-Bank: dialogues with API turns, and rows that ask for one step."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from agenttune.errors import Refusal
from agenttune.sources import apibank
from agenttune.sources.base import ReadOptions, note_name
from agenttune.values.trajectory import Json, Observation, Round, Step, ToolCall, ToolSpec, Trajectory

ADD = ToolCall(name="Add", arguments={"a": 1})


def user(text: str) -> Json:
    return {"role": "User", "text": text}


def ai(text: str) -> Json:
    return {"role": "AI", "text": text}


def api(output: Json = 3, exception: Json = None, **fields: Json) -> Json:
    result = {"api_name": "Add", "input": {"a": 1}, "output": output, "exception": exception}
    return {"role": "API", "api_name": "Add", "param_dict": {"a": 1}, "result": result, **fields}


def read(record: Json) -> Trajectory:
    (one,) = apibank.read(record, ReadOptions())
    return one


def dialogue(*turns: Json) -> Trajectory:
    return read({"file": "f.jsonl", "turns": list(turns)})


def test_what_the_ai_says_before_an_api_turn_is_its_thought() -> None:
    found = dialogue(user("q"), ai("Sure."), api(), api({"x": "北京"}), ai("It is 3."), user("thanks"), ai("Gladly."))
    assert found.rounds == (
        Round(
            user="q",
            steps=(
                Step(thought="Sure.", calls=(ADD,), observations=(Observation(text="3"),)),
                Step(calls=(ADD,), observations=(Observation(text='{"x": "北京"}'),)),
                Step(answer="It is 3."),
            ),
        ),
        Round(user="thanks", steps=(Step(answer="Gladly."),)),
    )
    assert (found.id, found.notes) == ("f.jsonl", ())


def test_a_failure_of_an_api_is_an_error() -> None:
    found = dialogue(user("q"), api(None, "no such user"))
    assert found.rounds[0].steps[0].observations == (Observation(text="no such user", error=True),)


def test_the_level_of_a_dialogue_is_dropped_by_its_name() -> None:
    assert read({"file": "f.jsonl", "level": "level-1", "turns": [user("q"), ai("a")]}).notes == ("fields_dropped: level",)


def test_a_result_that_speaks_of_another_call_is_named() -> None:
    differs = api(result={"api_name": "Add", "input": {"a": 2}, "output": "ok", "exception": None})
    assert dialogue(user("q"), differs).notes == ("result_input_differs",)
    assert dialogue(user("q"), api(result="plain")).rounds[0].steps[0].observations == (Observation(text="plain"),)
    unanswered = {"role": "API", "api_name": "Add", "param_dict": {"a": 1}}
    assert dialogue(user("q"), unanswered).rounds[0].steps == (Step(calls=(ADD,)),)


HEAD = "\nGenerate an API request in the format of [ApiName(key1='value1')] based on\nAPI-Request: [ApiName(key1='value1')]\n"
TOOL = '{"apiCode": "Add", "description": "Adds.", "parameters": {"a": {"type": "int", "description": "one"}}, "response": {"r": {}}}'


def row(dialogue: str, output: str, instruction: str = HEAD) -> Json:
    return {"instruction": instruction, "input": f"{TOOL}\n{dialogue}\nGenerate API Request: ", "output": output}


def test_only_the_output_of_a_row_is_trained() -> None:
    found = read(row("User: two\nlines TIME: 1\nAPI-Request: [Add(a=1)]->{'r': 'it''s'}", "API-Request: [Add(a=1)]"))
    assert found.rounds == (
        Round(
            user="two\nlines TIME: 1",
            steps=(Step(calls=(ADD,), observations=(Observation(text="{'r': 'it''s'}"),), weight=0.0), Step(calls=(ADD,))),
        ),
    )
    schema = {"type": "object", "properties": {"a": {"type": "integer", "description": "one"}}}
    assert found.tools == (ToolSpec(name="Add", description="Adds.", parameters=schema),)
    assert found.system == ""
    assert "format_text_dropped" in found.notes
    answer = read(row("User: two\nlines TIME: 1", "AI: Done.\n"))
    assert answer.rounds[0].steps == (Step(answer="Done."),)
    assert answer.group == found.group != read(row("User: other", "AI: x")).group
    assert read(row("User: q", "AI: x", "Be kind.\n")).system == "Be kind.\n"


@pytest.mark.parametrize(
    ("text", "wanted", "note"),
    [
        ("[Add(a='x', b=[1, {'c': None}], d=-2.5)]", {"a": "x", "b": [1, {"c": None}], "d": -2.5}, False),
        ('[Add(a="say [hi(1)] now")]', {"a": "say [hi(1)] now"}, False),
        ("[Add(a='x)]->y')]", {"a": "x)]->y"}, False),
        ("[Add()]", {}, False),
        ("[Add(a=New York, b=2)]", {"a": "New York", "b": 2}, True),
        ("[Add(a='O'Brien', b='x')]", {"a": "O'Brien", "b": "x"}, True),
        ("Add(a=New York)", {"a": "New York"}, True),
    ],
)
def test_arguments_are_literals_or_text(text: str, wanted: Json, note: bool) -> None:
    found = read(row("User: q", "API-Request: " + text))
    assert found.rounds[0].steps[0].calls == (ToolCall(name="Add", arguments=wanted),)
    assert ("arguments_unquoted" in found.notes) == note


def test_code_in_arguments_is_text_and_never_runs(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    found = read(row("User: q", f"API-Request: [Add(a=__import__('pathlib').Path('{mark}').touch())]"))
    (call,) = found.rounds[0].steps[0].calls
    assert isinstance(call, ToolCall)
    assert call.arguments == {"a": f"__import__('pathlib').Path('{mark}').touch()"}
    assert not mark.exists()


@pytest.mark.parametrize(
    ("record", "code"),
    [
        ({"turns": []}, "empty"),
        ({"turns": [{"role": "Robot"}]}, "role"),
        ({"turns": [{"role": "User"}]}, "role"),
        ({"turns": [user("q"), {"role": "API", "api_name": 3, "param_dict": {}}]}, "call"),
        ({"turns": [user("q")]}, "empty"),
        (row("no line", "AI: x"), "shape"),
        (row("User: q\nAPI-Request: nothing", "AI: x"), "call"),
        (row("User: q\nAPI-Request: [Add(1)]", "AI: x"), "call"),
        (row("User: q\nAPI-Request: [Add(a=1)] and so", "AI: x"), "call"),
        (row("User: q\nAPI-Request: [Add(" + "(" * 5000 + ")]", "AI: x"), "call"),
        ({"instruction": HEAD, "input": "{broken\nUser: q", "output": "AI: x"}, "json"),
        ({"instruction": HEAD, "input": 3, "output": "AI: x"}, "shape"),
    ],
)
def test_what_is_refused(record: Json, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        read(record)
    assert refused.value.code == code


def test_every_dialogue_is_kept_whole(data_dir: Path) -> None:
    lines = (data_dir / "api-bank" / "dialogues_lv1_lv2.jsonl").read_text(encoding="utf-8").splitlines()
    found, counted, empty = [], dict.fromkeys(("users", "calls", "answers", "thoughts"), 0), 0
    for line in lines:
        roles = "".join({"User": "U", "AI": "a", "API": "C"}[one] for one in re.findall(r'"role": "(User|AI|API)"', line))
        if not roles:
            with pytest.raises(Refusal):
                read(json.loads(line))
            empty += 1
            continue
        counted["users"] += roles.count("U")
        counted["calls"] += roles.count("C")
        counted["thoughts"] += len(re.findall(r"a+(?=C)", roles))
        counted["answers"] += len(re.findall(r"a+(?![aC])", roles))
        found.append(read(json.loads(line)))
    steps = [step for one in found for round_ in one.rounds for step in round_.steps]
    assert (len(found), empty, counted["calls"], counted["users"]) == (263, 1, 508, 864)
    assert counted == {
        "users": sum(len(one.rounds) - (one.rounds[0].user == "") for one in found),
        "calls": sum(len(step.calls) for step in steps),
        "answers": sum(step.answer is not None for step in steps),
        "thoughts": sum(bool(step.calls and step.thought) for step in steps),
    }
    assert sum(len(step.observations) for step in steps) == 508


def test_every_row_of_level_3_is_kept_whole(data_dir: Path) -> None:
    rows = json.loads((data_dir / "api-bank" / "lv3-train.json").read_text(encoding="utf-8"))
    found = [read(one) for one in rows]
    steps = [step for one in found for round_ in one.rounds for step in round_.steps]
    said = [one["input"] + one["output"] for one in rows]
    assert len(found) == len(rows) == 1245
    assert sum(len(step.calls) for step in steps) == sum(len(re.findall(r"API-Request: ", text)) for text in said) == 2743
    assert (
        sum(len(step.observations) for step in steps)
        == sum(len(re.findall(r"^API-Request: .*->", text, re.MULTILINE)) for text in said)
        == 1836
    )
    assert (
        sum(step.answer is not None for step in steps)
        == sum(len(re.findall(r"^AI: ", one[key], re.MULTILINE)) for one in rows for key in ("input", "output"))
        == 339
    )
    assert sum(step.weight > 0 for step in steps) == 1245
    assert sum("arguments_unquoted" in map(note_name, one.notes) for one in found) == 233


def test_what_stands_in_the_instruction_is_kept() -> None:
    described = {"apiCode": "Weather", "description": "W", "parameters": {"city": {"type": "str", "description": "where"}}}
    call = "[ApiName(key1='value1', key2='value2', ...)]"
    lines = (
        f"Generate an API request in the format of {call} based on the user's utterance and available API requests.",
        "The current time is 2023-05-01 10:00.",
        "Input: \nUser: User's utterence\n",
        f"Expected output:\nAPI-Request: {call}\n",
        f"API descriptions:\n{json.dumps(described)}\n",
    )
    asked = "User: Rain in Oslo?\nGenerate API Request:"
    record = {"instruction": "\n".join(lines), "input": asked, "output": "API-Request: [Weather(city='Oslo')]"}
    assert apibank.detect(record)
    (found,) = apibank.read(record, ReadOptions())
    assert found.system == "The current time is 2023-05-01 10:00."
    assert [(tool.name, list(tool.parameters["properties"])) for tool in found.tools] == [("Weather", ["city"])]
    assert found.rounds == (Round(user="Rain in Oslo?", steps=(Step(calls=(ToolCall(name="Weather", arguments={"city": "Oslo"}),)),)),)
    assert found.notes == ("format_text_dropped", "schema_types")


def test_nothing_of_the_sets_own_instructions_is_left(data_dir: Path) -> None:
    rows = json.loads((data_dir / "api-bank" / "lv3-train.json").read_text(encoding="utf-8"))
    assert {one.system for row in rows for one in apibank.read(row, ReadOptions())} == {""}
