"""XTuner's own conversion of MSAgent records, byte for byte; where it loses something, that is named or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agenttune.errors import Refusal
from agenttune.sources.msagent.xtuner import convert
from agenttune.values.trajectory import Json
from tests.sources.xtuner_golden import golden_pair

THINK = '<|startofthink|>```JSON\n{"api_name": "a", "url": "u", "parameters": {"t": "x", "ok": true, "no": null}}\n```<|endofthink|>'
EXEC = '<|startofexec|>```JSON\n{"r": "it\'s"}\n```<|endofexec|>'
ACTION = "Action:a\nAction Input:{'t': 'x', 'ok': True, 'no': None}\n"


def record(*values: str, system: str = "S") -> Json:
    messages = [{"from": "system", "value": system}]
    for number, value in enumerate(values):
        messages += [{"from": "user", "value": f"q{number}"}, {"from": "assistant", "value": value}]
    return {"id": "x", "conversations": messages}


def outputs(value: str) -> tuple[list[tuple[str, str]], list[str]]:
    found = convert(record(value))
    return [(turn["system"] if "input" not in turn else turn["input"], turn["output"]) for turn in found.conversation], found.notes


def test_the_golden_record_of_the_data_set(data_dir: Path) -> None:
    raw, golden = golden_pair(data_dir)
    for form in (raw, {**raw, "conversations": repr(raw["conversations"])}):
        assert convert(form).conversation[:3] == golden


def test_the_real_training_record_gives_two_turns(data_dir: Path) -> None:
    raw = json.loads((data_dir / "msagent" / "ms_agent_bench_20.jsonl").read_text(encoding="utf-8"))
    found = convert(raw)
    assert [sorted(turn) for turn in found.conversation] == [["input", "output", "system"], ["output", "system"]]
    assert found.conversation[0]["output"].startswith("Action:modelscope_text-ie\nAction Input:{'text': '近日，美国政府")
    assert found.conversation[1]["system"] == "Response:{'人物': [], '地理位置': ['中国', '美国'], '组织机构': []}\n"
    assert found.notes == []


@pytest.mark.parametrize(
    ("value", "turns", "notes"),
    [
        (
            f"先。{THINK}\n\n{EXEC}\n好。",
            [("q0\n", f"Thought:先。\n{ACTION}\n\n\n"), ("Response:{'r': \"it's\"}\n", "Final Answer:好。\n")],
            [],
        ),
        ("答案", [("q0\n", "Final Answer:答案\n")], []),
        (f"{THINK}{THINK}", [("q0\n", f"{ACTION}{ACTION}\n")], []),
        (f"{THINK}{EXEC}好\n", [("q0\n", f"{ACTION}\n"), ("Response:{'r': \"it's\"}\n", "Final Answer:好\n\n")], []),
        (f"{THINK}{EXEC}", [("q0\n", f"{ACTION}\n")], ["xtuner_lost_observation"]),
        (f"{THINK}<|startofexec|>Traceback<|endofexec|>好", [("q0\n", f"{ACTION}\n")], ["xtuner_lost_observation", "xtuner_lost_answer"]),
        (f"{THINK}{EXEC}Final Answer: 好", [("q0\n", f"{ACTION}\n")], ["xtuner_lost_observation", "xtuner_lost_answer"]),
    ],
)
def test_shapes_by_hand(value: str, turns: list[tuple[str, str]], notes: list[str]) -> None:
    assert outputs(value) == (turns, notes)


def test_tools_are_a_python_dict_and_the_last_of_a_name_wins() -> None:
    path = '"paths": [{"parameters": [{"name": "t", "description": "文\'s"}]}]'
    inner = '{"plugin_schema_for_model": {"name": "b", "description": "e"}}'
    system = f'1. {{"name": "a", "description": "d", {path}}}\n2. {inner} {{"name": "a", "description": 3}}'
    lines = convert(record("x", system=system)).conversation[0]["system"].splitlines()
    assert lines[0] == "你是一个可以调用外部工具的助手，可以使用的工具包括："
    assert lines[1] == "{'a': 3, 'b': 'e'}"
    assert "Action:工具名称，你的工具必须从 [['a', 'b']] 选择" in lines
    described = convert(record("x", system=f'{{"name": "a", "description": "d", {path}}}')).conversation[0]["system"].splitlines()
    assert described[1] == "{'a': 'd\\n输入参数: {\\'t\\': \"文\\'s\"}'}"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (record(f"{THINK}{EXEC}{THINK}{EXEC}"), "xtuner_two_results"),
        (record("<|startofthink|>{'api_name': 'a', 'parameters': {}}<|endofthink|>"), "xtuner_json"),
        (record(THINK.replace("JSON", "json")), "xtuner_json"),
        (record('<|startofthink|>{"api_name": "a"}<|endofthink|>'), "xtuner_call"),
        ({"conversations": [{"from": "user", "value": "q"}]}, "xtuner_empty"),
        ({"conversations": [{"from": "user", "value": "q"}, {"from": "user", "value": "q"}]}, "xtuner_empty"),
        ({"conversations": 3}, "shape"),
        ({"conversations": [{"from": "user"}, {"from": "assistant"}]}, "shape"),
        ({"conversations": "__import__('os').getcwd()"}, "literal"),
        (record("a", system='{"name": [1], "description": ""}'), "tool"),
        (record("a", system='{"a":' * 100_000), "depth"),
        (record("a", system='{"a":' * 400 + '"' + "x" * 50_000 + '"'), "size"),
    ],
)
def test_what_xtuner_loses_whole_is_refused(raw: Json, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        convert(raw)
    assert refused.value.code == code


def test_what_xtuner_passes_over_is_named() -> None:
    raw = record("a")
    raw["conversations"] += [{"from": "tool", "value": "x"}, {"from": "user", "value": "more"}]
    assert convert(raw).notes == ["xtuner_ignored_role", "xtuner_lost_tail"]
