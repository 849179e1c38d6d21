"""MSAgent-Bench: every shape that others drop or bend, each with what must be kept."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agenttune.errors import Refusal
from agenttune.protocols import get
from agenttune.protocols.base import write
from agenttune.sources.base import ReadOptions, note_name
from agenttune.sources.msagent import source as msagent
from agenttune.sources.msagent.system import read_system
from agenttune.values.trajectory import Json, Observation, Step, ToolCall, ToolSpec, Trajectory

OPTIONS = ReadOptions(file="x.jsonl", line=3)


def record(*assistant: str, system: str | None = "你是助手。", users: list[str] | None = None) -> dict[str, Json]:
    """A record of user/assistant pairs."""
    asked = users or [f"q{number}" for number in range(1, len(assistant) + 1)]
    messages = [] if system is None else [{"from": "system", "value": system}]
    for user, answer in zip(asked, assistant, strict=True):
        messages += [{"from": "user", "value": user}, {"from": "assistant", "value": answer}]
    return {"id": "MS_Agent_Bench_1", "conversations": messages}


def read(value: Json) -> Trajectory:
    (only,) = msagent.read(value, OPTIONS)
    return only


def steps(*assistant: str, system: str | None = "你是助手。") -> list[tuple[Step, ...]]:
    return [round_.steps for round_ in read(record(*assistant, system=system)).rounds]


def names(trajectory: Trajectory) -> list[str]:
    return [note_name(note) for note in trajectory.notes]


def think(call: Json, fence: str = "```JSON\n{}\n```") -> str:
    text = call if isinstance(call, str) else json.dumps(call, ensure_ascii=False)
    return f"<|startofthink|>{fence.replace('{}', text)}<|endofthink|>"


def execute(text: str, fence: str = "```JSON\n{}\n```") -> str:
    return f"<|startofexec|>{fence.replace('{}', text)}<|endofexec|>"


A = {"api_name": "a", "parameters": {"text": "x"}}
B = {"api_name": "b", "parameters": {"n": "2"}}
CALL_A = ToolCall(name="a", arguments={"text": "x"})
CALL_B = ToolCall(name="b", arguments={"n": "2"})


def seen(*texts: str) -> tuple[Observation, ...]:
    return tuple(Observation(text=text) for text in texts)


# ---- the assistant's value ----


def test_call_result_and_closing_prose() -> None:
    assert steps(think(A) + "\n\n" + execute('{"r": 1}') + "\n答案。") == [
        (Step(calls=(CALL_A,), observations=seen('{"r": 1}')), Step(answer="答案。"))
    ]


def test_two_pairs_in_one_value() -> None:
    value = "先查。" + think(A) + execute("1") + "再算。" + think(B) + execute("2") + "完成。"
    assert steps(value) == [
        (
            Step(thought="先查。", calls=(CALL_A,), observations=seen("1")),
            Step(thought="再算。", calls=(CALL_B,), observations=seen("2")),
            Step(answer="完成。"),
        )
    ]


def test_five_pairs_without_prose() -> None:
    value = "\n\n".join(think(A) + "\n\n" + execute(str(number)) for number in range(5))
    assert steps(value) == [tuple(Step(calls=(CALL_A,), observations=seen(str(number))) for number in range(5))]


def test_two_thinks_without_exec_are_parallel_calls_nobody_answered() -> None:
    assert steps(think(A) + "\n" + think(B)) == [(Step(calls=(CALL_A, CALL_B)),)]


def test_two_thinks_with_prose_between_are_two_steps() -> None:
    assert steps("p" + think(A) + "q" + think(B) + execute("2")) == [
        (Step(thought="p", calls=(CALL_A,)), Step(thought="q", calls=(CALL_B,), observations=seen("2")))
    ]


def test_two_thinks_two_execs_are_answered_in_order() -> None:
    assert steps(think(A) + think(B) + execute("1") + execute("2") + "done") == [
        (Step(calls=(CALL_A, CALL_B), observations=seen("1", "2")), Step(answer="done"))
    ]


def test_two_thinks_one_exec_answers_the_nearer_call() -> None:
    assert steps("p" + think(A) + think(B) + execute("2")) == [
        (Step(thought="p", calls=(CALL_A,)), Step(calls=(CALL_B,), observations=seen("2")))
    ]


def test_one_think_two_execs_are_one_observation_by_name() -> None:
    trajectory = read(record(think(A) + execute("1") + execute("2")))
    assert trajectory.rounds[0].steps == (Step(calls=(CALL_A,), observations=seen("1\n2")),)
    assert names(trajectory) == ["result_joined"]


def test_a_list_of_calls_in_one_think() -> None:
    assert steps(think([A, B]) + execute("1") + execute("2")) == [(Step(calls=(CALL_A, CALL_B), observations=seen("1", "2")),)]


@pytest.mark.parametrize(
    "fence",
    [
        "```JSON\n{}\n```",
        "```json\n{}\n```",
        "```Json {}```",
        "```\n{}\n```",
        "```{}```",
        "````json5\n{}\n````",
        "{}",
        "\n{}\n",
        "json\n{}",
        "```JSON\n{}",
    ],
)
def test_any_fence_around_a_call(fence: str) -> None:
    assert steps(think(A, fence) + execute("1")) == [(Step(calls=(CALL_A,), observations=seen("1")),)]


@pytest.mark.parametrize(
    "text",
    [
        "Traceback (most recent call last):\n  File \"x.py\", line 1\nKeyError: 'a'",
        "{'results': ['预报', True, None]}",
        "['single', 'quoted']",
        "done",
        "",
        '{"cut": [1, 2',
        "```",
        "Final Answer: no\nAction: none",
        "<|im_end|>",
    ],
)
def test_an_observation_is_kept_as_text(text: str) -> None:
    for fence in ("```JSON\n{}\n```", "{}"):
        if text == "```" and fence == "{}":
            continue
        assert steps(think(A) + execute(text, fence) + "好。") == [(Step(calls=(CALL_A,), observations=seen(text)), Step(answer="好。"))]


def test_a_fence_word_is_not_eaten_from_an_observation() -> None:
    assert steps(think(A) + execute("done", "```{}```")) == [(Step(calls=(CALL_A,), observations=seen("done")),)]


def test_no_prose_after_exec_keeps_the_observation() -> None:
    sample = write(read(record(think(A) + execute('{"r": 1}'))), get("react"))
    assert [(turn.system, turn.output) for turn in sample.turns][-1] == ('Observation: {"r": 1}', "")
    assert len(sample.turns) == 2


def test_closing_prose_that_itself_says_final_answer() -> None:
    value = "结论\nFinal Answer: 42\n完"
    trajectory = read(record(think(A) + execute("1") + value))
    assert trajectory.rounds[0].steps[-1] == Step(answer=value)
    assert write(trajectory, get("react")).turns[-1].output == "Final Answer: " + value


def test_closing_prose_in_the_words_of_the_react_edition_is_a_thought_and_an_answer() -> None:
    trajectory = read(record(think(A) + execute("1") + "Thought: 够了\n因为是 1。\nFinal Answer: 42\n完"))
    assert trajectory.rounds[0].steps[-1] == Step(thought="够了\n因为是 1。", answer="42\n完")
    assert "answer_marked" in trajectory.notes
    alone = read(record("Thought: No tool.\nFinal Answer: I cannot."))
    assert alone.rounds[0].steps == (Step(thought="No tool.", answer="I cannot."),)
    assert write(alone, get("react")).turns[-1].output == "Thought: No tool.\nFinal Answer: I cannot."


def test_prose_with_protocol_words_before_a_call_is_refused_by_the_protocol_and_not_bent() -> None:
    trajectory = read(record("我想\nAction: 走\n" + think(A) + execute("1") + "完"))
    assert trajectory.rounds[0].steps[0].thought == "我想\nAction: 走"
    with pytest.raises(Refusal) as refused:
        write(trajectory, get("react"))
    assert refused.value.code == "unwritable"


def test_prose_between_a_call_and_its_result_joins_the_thought() -> None:
    trajectory = read(record("p" + think(A) + "等等" + execute("1") + "好"))
    assert trajectory.rounds[0].steps[0] == Step(thought="p\n等等", calls=(CALL_A,), observations=seen("1"))
    assert names(trajectory) == ["prose_after_call"]


def test_prose_after_a_call_that_nobody_answered_is_the_answer() -> None:
    assert steps(think(A) + "没有结果。") == [(Step(calls=(CALL_A,)), Step(answer="没有结果。"))]


def test_a_result_in_the_next_assistant_message_belongs_to_the_call() -> None:
    value = record(think(A))
    value["conversations"].append({"from": "assistant", "value": execute("1") + "好"})
    assert read(value).rounds[0].steps == (Step(calls=(CALL_A,), observations=seen("1")), Step(answer="好"))


def test_single_quoted_call_is_data() -> None:
    trajectory = read(record(think("{'api_name': 'a', 'parameters': {'text': 'x', 'ok': True, 'none': None}}") + execute("1")))
    assert trajectory.rounds[0].steps[0].calls == (ToolCall(name="a", arguments={"text": "x", "ok": True, "none": None}),)
    assert names(trajectory) == ["python_literal"]


def test_raw_line_breaks_inside_a_json_text() -> None:
    trajectory = read(record(think('{"api_name": "a", "parameters": {"text": "x\ny"}}')))
    assert trajectory.rounds[0].steps[0].calls == (ToolCall(name="a", arguments={"text": "x\ny"}),)
    assert names(trajectory) == ["json_control_characters"]


def test_a_call_without_parameters() -> None:
    trajectory = read(record(think({"api_name": "a"})))
    assert trajectory.rounds[0].steps[0].calls == (ToolCall(name="a", arguments={}),)
    assert names(trajectory) == ["parameters_missing"]


def test_parameters_that_are_a_json_text() -> None:
    trajectory = read(record(think({"api_name": "a", "parameters": '{"text": "x"}'})))
    assert trajectory.rounds[0].steps[0].calls == (CALL_A,)
    assert names(trajectory) == ["parameters_text"]


def test_parameters_that_are_a_bare_text_go_to_the_one_parameter() -> None:
    system = '1. {"name": "a", "description": "d", "parameters": [{"name": "text", "description": "t"}]}'
    assert steps(think({"api_name": "a", "parameters": "上海"}), system=system)[0][0].calls == (
        ToolCall(name="a", arguments={"text": "上海"}),
    )


def test_url_of_a_call_is_a_counted_change() -> None:
    trajectory = read(record(think({**A, "url": "http://1.2.3.4:5/"}) + execute("1") + think({**B, "method": "post"})))
    assert trajectory.notes == ("call_url: 1 http://1.2.3.4:5/", "call_extra: 2 method=post")


def test_json_inside_a_string_argument_stays_a_string() -> None:
    call = {"api_name": "ie", "parameters": {"schema": '{"人物": null}', "n": 3, "deep": {"l": [1, {"b": False}]}}}
    assert steps(think(call))[0][0].calls == (ToolCall(name="ie", arguments=call["parameters"]),)  # type: ignore[arg-type]


def test_arguments_are_written_as_json_and_not_as_python() -> None:
    call = {"api_name": "a", "parameters": {"词": "引'号", "ok": True, "none": None, "l": [1.5, "\n"]}}
    sample = write(read(record(think(call) + execute("{'r': True}") + "好")), get("react"))
    assert sample.turns[0].output == 'Action: a\nAction Input: {"词": "引\'号", "ok": true, "none": null, "l": [1.5, "\\n"]}'
    assert sample.turns[1].system == "Observation: {'r': True}"


def test_unclosed_markers() -> None:
    value = '<|startofthink|>{"api_name": "a", "parameters": {"text": "x"}}<|startofexec|>1<|endofexec|>好'
    trajectory = read(record(value))
    assert trajectory.rounds[0].steps == (Step(calls=(CALL_A,), observations=seen("1")), Step(answer="好"))
    assert names(trajectory) == ["think_unclosed"]


def test_a_record_without_a_call() -> None:
    assert steps("就是答案。\n") == [(Step(answer="就是答案。"),)]


# ---- several rounds, and dirt around them ----


def test_rounds_keep_their_own_steps() -> None:
    trajectory = read(record(think(A) + execute("1") + "一", "二", think(B)))
    assert [round_.user for round_ in trajectory.rounds] == ["q1", "q2", "q3"]
    assert [len(round_.steps) for round_ in trajectory.rounds] == [2, 1, 1]


def test_no_system_message() -> None:
    trajectory = read(record("答", system=None))
    assert (trajectory.system, trajectory.tools) == ("", ())


def test_conversations_as_a_python_literal_and_as_json_text() -> None:
    plain = record("先" + think(A) + execute('it\'s "so"') + "好")
    for text, note in ((str(plain["conversations"]), "python_literal"), (json.dumps(plain["conversations"]), "conversations_text")):
        trajectory = read({**plain, "conversations": text})
        assert trajectory.rounds == read(plain).rounds
        assert names(trajectory) == [note]


def test_user_text_is_verbatim() -> None:
    assert read(record("a", users=["  问题\n\n "])).rounds[0].user == "  问题\n\n "


def test_trailing_user_is_an_open_round() -> None:
    value = record("a")
    value["conversations"].append({"from": "user", "value": "还在？"})
    assert read(value).rounds[-1].user == "还在？"
    assert read(value).rounds[-1].steps == ()


def test_assistant_before_any_user() -> None:
    value = {
        "id": 7,
        "conversations": [{"from": "assistant", "value": "你好"}, {"from": "user", "value": "q"}, {"from": "assistant", "value": "a"}],
    }
    trajectory = read(value)
    assert (trajectory.id, names(trajectory)) == ("7", ["assistant_first"])
    assert [(round_.user, round_.steps) for round_ in trajectory.rounds] == [("", (Step(answer="你好"),)), ("q", (Step(answer="a"),))]


def test_empty_assistant_value_is_counted() -> None:
    trajectory = read(record("  ", "a"))
    assert names(trajectory) == ["empty_assistant"]
    assert [round_.steps for round_ in trajectory.rounds] == [(), (Step(answer="a"),)]


def test_place_and_group() -> None:
    trajectory = read(record("a", system='1. {"name": "z", "description": "d"}'))
    assert (trajectory.file, trajectory.line, trajectory.group[:6]) == ("x.jsonl", 3, "tools:")
    assert trajectory.group == read(record("b", system='1. {"name": "z", "description": "other"}')).group


# ---- the system value ----

PATHS = [
    {
        "name": "z",
        "model_id": "/m",
        "method": "post",
        "description": "d",
        "parameters": [{"name": "t", "description": "文", "required": "True"}, {"name": "u", "required": "False"}],
    }
]
INNER = {"name": "z", "description": "d", "url": "http://h/", "paths": PATHS}
SHAPE_A = {"plugin_name": "z", "plugin_owner": "ModelScopeGPT", "plugin_type": "default", "plugin_schema_for_model": INNER}
SHAPE_C = {
    "name": "z",
    "description": "d",
    "parameters": [{"name": "t", "description": "文", "required": "True"}, {"name": "u", "required": "False"}],
}
Z = ToolSpec(
    name="z", description="d", parameters={"type": "object", "properties": {"t": {"description": "文"}, "u": {}}, "required": ["t"]}
)


def dumped(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


@pytest.mark.parametrize(("shape", "notes"), [(SHAPE_A, ("plugin_details",)), (INNER, ("plugin_details",)), (SHAPE_C, ())])
def test_shapes_a_b_c(shape: dict[str, Json], notes: tuple[str, ...]) -> None:
    found = read_system(f"你是助手。1. {dumped(shape)}\n\n2. {dumped({'name': 'y', 'description': 'e'})}\n\n")
    assert found.text == "你是助手。"
    assert found.tools == (Z, ToolSpec(name="y", description="e"))
    assert found.notes == notes


def test_repeated_plugins_are_one_tool() -> None:
    other = {**SHAPE_A, "plugin_schema_for_model": {**INNER, "url": "http://other/"}}
    found = read_system(f"我。1. {dumped(SHAPE_A)}\n\n2. {dumped(other)}\n\n3. {dumped(SHAPE_C)}")
    assert (found.text, found.tools) == ("我。", (Z,))
    assert found.notes == ("plugin_details", "plugin_details", "plugin_merged", "plugin_merged")


@pytest.mark.parametrize("spare", ["]}", "]}]}", "}", "]"])
def test_brackets_too_many(spare: str) -> None:
    found = read_system(f"我。\n1. {dumped(SHAPE_C)}{spare}\n\n2. {dumped({'name': 'y', 'description': 'e'})}{spare}")
    assert (found.text, found.tools) == ("我。", (Z, ToolSpec(name="y", description="e")))
    assert found.notes == ("plugin_brackets", "plugin_brackets")


@pytest.mark.parametrize("cut", [1, 2])
def test_brackets_too_few(cut: int) -> None:
    found = read_system(f"我。\n1. {dumped(SHAPE_C)[:-cut]}\n\n2. {dumped(SHAPE_C).replace('z', 'w')}")
    assert found.tools == (Z, ToolSpec(name="w", description="d", parameters=Z.parameters))
    assert (found.text, found.notes) == ("我。", ("plugin_brackets",))


def test_a_closing_bracket_of_the_wrong_kind() -> None:
    found = read_system("1. " + dumped(SHAPE_C)[:-2] + "}]")
    assert (found.text, found.tools, found.notes) == ("", (Z,), ("plugin_brackets",))


def test_single_quoted_plugins() -> None:
    found = read_system(f"我。1. {SHAPE_C}\n\n2. {SHAPE_C}")
    assert (found.text, found.tools, found.notes) == ("我。", (Z,), ("plugin_literal", "plugin_literal", "plugin_merged"))


def test_a_plugin_that_cannot_be_read_stays_in_the_text() -> None:
    broken = '1. {"name": "z", "description": "d" "x" 12'
    found = read_system("我。" + broken)
    assert (found.text, found.tools, found.notes) == ("我。" + broken, (), ("plugin_unread",))


def test_dialogue_inside_the_system_text_is_cut_out_by_name() -> None:
    dialogue = '<|user|>:旧问题 {"name": "old", "description": "x"}\n\n<|assistant|>:旧回答\n\n</s>'
    found = read_system(f"<|system|>:我。1. {dumped(SHAPE_C)}\n\n{dialogue}")
    assert (found.text, found.tools) == ("我。", (Z,))
    assert found.notes == (f"system_dialogue: {len(dialogue)} characters",)


def test_other_json_in_the_identity_text_stays() -> None:
    text = '调用时使用 {"api_name": "", "url": "", "parameters": {}}，放在 <|startofthink|> 之间。'
    found = read_system(f"{text}1. {dumped(SHAPE_C)}")
    assert (found.text, found.tools) == (text, (Z,))


def test_text_after_the_list_and_numbers_in_the_text_stay() -> None:
    found = read_system(f"版本 2.\n工具：\n1. {dumped(SHAPE_C)}\n\n请用中文，见 3.\n")
    assert found.text == "版本 2.\n工具：\n请用中文，见 3."


def test_plain_system_text_is_verbatim() -> None:
    assert read_system("  你是 {助手}。\n\n") == read_system("  你是 {助手}。\n\n")
    assert read_system("  你是 {助手}。\n\n").text == "  你是 {助手}。\n\n"


def test_parameter_forms_and_types() -> None:
    forms: list[Json] = [
        [{"name": "n", "type": "int", "required": True}, {"name": "s", "type": "时间"}],
        {"n": {"type": "integer"}, "s": "说明"},
        {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
        ["n"],
    ]
    schemas = [read_system(dumped({"name": "z", "description": "d", "parameters": form})).tools[0].parameters for form in forms]
    assert schemas == [
        {"type": "object", "properties": {"n": {"type": "integer"}, "s": {"format": "时间"}}, "required": ["n"]},
        {"type": "object", "properties": {"n": {"type": "integer"}, "s": {"description": "说明"}}},
        {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
        {"type": "object", "properties": {"n": {}}},
    ]


def test_several_paths_of_a_plugin_are_one_tool() -> None:
    two = {"name": "z", "description": "d", "paths": [*PATHS, {"description": "more", "parameters": [{"name": "v"}]}]}
    (tool,) = read_system(dumped(two)).tools
    assert (tool.description, list(tool.parameters["properties"])) == ("d\nmore", ["t", "u", "v"])


# ---- what is refused, and why ----


def message(role: str, value: Json = "v") -> dict[str, Json]:
    return {"from": role, "value": value}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ([], "shape"),
        ("text", "shape"),
        ({}, "shape"),
        ({"conversations": []}, "shape"),
        ({"conversations": {"from": "user"}}, "shape"),
        ({"conversations": "not a list"}, "shape"),
        ({"conversations": "__import__('os').system('x')"}, "shape"),
        ({"conversations": [message("user"), "text"]}, "shape"),
        ({"conversations": [{"value": "x"}]}, "shape"),
        ({"conversations": [message("robot")]}, "role"),
        ({"conversations": [message("user"), message("system")]}, "order"),
        ({"conversations": [message("system")]}, "empty"),
        ({"conversations": [message("user")]}, "empty"),
        ({"conversations": [message("user"), message("assistant", " ")]}, "empty"),
        (record(execute("1")), "orphan"),
        (record("a", execute("1")), "orphan"),
        (record("a<|endofthink|>"), "markers"),
        (record("<|startofthink|>{}<|endofexec|>"), "markers"),
        (record(think("no json")), "call"),
        (record(think('{"api_name": "a", "parameters": {')), "call"),
        (record(think({"parameters": {}})), "call"),
        (record(think({"api_name": 5, "parameters": {}})), "call"),
        (record(think([1])), "call"),
        (record(think({"api_name": "a", "parameters": [1]})), "arguments"),
        (record(think({"api_name": "a", "parameters": "free text"})), "arguments"),
        (record(think('{"api_name": "a", "parameters": {"x": NaN}}')), "call"),
        (record(think('{"api_name": "a", "parameters": {"x": 1}, "parameters": {"y": 1}}')), "call"),
        (record(think("{'api_name': 'a', 'parameters': {'x': 1, 'x': None}}")), "call"),
        (record("a", system='{"a":' * 2000), "depth"),
    ],
)
def test_refusals(value: Json, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        read(value)
    assert refused.value.code == code


def test_code_in_the_data_is_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    attack = f"__import__('pathlib').Path({str(mark)!r}).write_text('x')"
    for place in (
        {"conversations": attack},
        {"conversations": f"[{{'from': 'user', 'value': {attack}}}]"},
        record(think(attack)),
        record(think(f"{{'api_name': 'a', 'parameters': {attack}}}")),
        record(think({"api_name": "a", "parameters": attack})),
    ):
        with pytest.raises(Refusal):
            read(place)
    read(record(think(A) + execute(attack), system=f"1. {{'name': 'z', 'description': {attack}}}"))
    assert not mark.exists()


# ---- detection, damage, real records ----


def test_detection() -> None:
    assert msagent.detect(record(think(A)))
    assert msagent.detect(record("plain"))
    assert msagent.detect({"id": "x", "conversations": [message("system", dumped(SHAPE_A)), message("user")]})
    assert not msagent.detect({"id": "x", "conversations": [message("user"), message("assistant")]})
    for value in (None, [], "x", 5, {"conversations": None}, {"id": []}):
        assert not msagent.detect(value)


GOOD = [
    record(
        "先查。" + think(A) + execute('{"r": [1]}') + "再算。" + think(B) + execute("Traceback") + "完成。",
        system="我。1. " + dumped(SHAPE_A),
    ),
    record(think({**A, "url": "u"}) + execute("1"), "答", think(B), system="1. " + dumped(SHAPE_C) + "]}\n\n2. " + dumped(INNER)),
]
DAMAGE = st.sampled_from(
    [
        "",
        "{",
        "}",
        "[",
        "]",
        '"',
        "'",
        "\\",
        "```",
        "\n",
        "<|startofthink|>",
        "<|endofthink|>",
        "<|startofexec|>",
        "<|endofexec|>",
        "</s>",
        "<|user|>:",
        "1. {",
        ",",
        "\ud800",
        "\x00",
        "NaN",
        "None",
        "（" * 50,
        "{'a':" * 40,
        "[" * 300,
    ]
)


@settings(max_examples=int(os.environ.get("AGENTTUNE_DAMAGE", "300")), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 1), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 40), DAMAGE), min_size=1, max_size=4), st.booleans())
def test_damaged_records_are_read_or_refused(which: int, cuts: list[tuple[int, int, str]], literal: bool) -> None:
    """Whatever is cut out of or put into a message, `read` gives a trajectory or a `Refusal`, and keeps its counts right."""
    value: Any = json.loads(json.dumps(GOOD[which]))
    for at, length, text in cuts:
        one = value["conversations"][at % len(value["conversations"])]
        start = at % (len(one["value"]) + 1)
        one["value"] = one["value"][:start] + text + one["value"][start + length :]
    said = [one["value"] for one in value["conversations"] if one["from"] == "assistant"]
    if literal:
        value["conversations"] = str(value["conversations"])
    try:
        trajectory = read(value)
    except Refusal:
        return
    calls = sum(len(step.calls) for round_ in trajectory.rounds for step in round_.steps)
    results = sum(len(step.observations) for round_ in trajectory.rounds for step in round_.steps)
    assert calls == sum(text.count("<|startofthink|>") for text in said)
    assert results + names(trajectory).count("result_joined") == sum(text.count("<|startofexec|>") for text in said)


WRONG = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["system", "user", "assistant", think(A)]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "conversations", "from", "value", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(WRONG)
def test_wrong_types_are_refused(value: Json) -> None:
    msagent.detect(value)
    try:
        list(msagent.read(value, OPTIONS))
    except Refusal:
        return


@pytest.mark.parametrize(
    "text",
    [
        "{" * 200_000,
        '{"name": ' * 20_000,
        '1. {"name": "a", "description": "b", ' * 5_000,
        " " * 300_000 + "<",
        "\n" * 300_000 + "x",
        "`" * 200_000,
        "```" + " " * 300_000 + "x",
        '{"a":{"a":' * 400 + "1" + "}}" * 400,
        '"\\"' * 50_000,
    ],
)
def test_hostile_texts_take_no_time(text: str) -> None:
    for value in (record("a", system=text), record(think(text)), record(think(A) + execute(text)), record(text), {"conversations": text}):
        try:
            read(value)
        except Refusal:
            continue


def test_real_records(data_dir: Path) -> None:
    raw = (data_dir / "msagent" / "ms_agent_bench_20.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in raw.splitlines() if line.strip()]
    read_rows = [read(row) for row in rows]
    said = [step for trajectory in read_rows for round_ in trajectory.rounds for step in round_.steps]
    assert len(re.findall(r"startofthink\|>", raw)) == sum(len(step.calls) for step in said) == 1
    assert len(re.findall(r"startofexec\|>", raw)) == sum(len(step.observations) for step in said) == 1
    assert len(re.findall(r"endofexec\|>\\n[^\"]", raw)) == sum(step.answer is not None for step in said) == 1
    head = json.loads((data_dir / "msagent" / "dev0_raw_system_head.json").read_text(encoding="utf-8"))["system_head"]
    parts = read_system(head)
    assert parts.text == head[: head.index("1. {")]
    assert [tool.name for tool in parts.tools] == ["modelscope_text-address"]
    assert parts.tools[0].parameters == {
        "type": "object",
        "properties": {"text": {"description": "用户输入的地址信息"}},
        "required": ["text"],
    }


def test_a_weight_of_a_message_is_that_of_its_steps_and_other_fields_are_named() -> None:
    def talk(*weights: Json) -> Json:
        said = [{"from": "assistant", "value": f"a{number}", "loss": weight, "score": 3} for number, weight in enumerate(weights)]
        return {"conversations": [{"from": "user", "value": "q"}, *said], "split": "train"}

    (found,) = msagent.read(talk(False), ReadOptions())
    assert [(step.answer, step.weight) for step in found.rounds[0].steps] == [("a0", 0.0)]
    assert found.notes == ("message_fields_dropped: score", "fields_dropped: split")
    with pytest.raises(Refusal) as refused:
        list(msagent.read(talk(False, True), ReadOptions()))
    assert refused.value.code == "weight"
