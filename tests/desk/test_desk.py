"""The embedded suite: it keeps its promises, is the same bytes every time, and its raw records read back as what was run."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agenttune.desk import build, cards, checks, execute, offers, raw, tables, training
from agenttune.desk.recipe import Recipe
from agenttune.files import shipped
from agenttune.protocols.base import write
from agenttune.protocols.react import REACT
from agenttune.sources.base import ReadOptions
from agenttune.sources.msagent import source as msagent
from agenttune.values.sample import tool_from_json
from agenttune.values.trajectory import ToolCall, Trajectory

DESK = shipped("evals") / "desk"


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    build.main(["-o", str(folder), "--requests", "300"])
    return folder


def trajectories(folder: Path) -> list[Trajectory]:
    return [one for row in read_lines(folder / "train.msagent.jsonl") for one in msagent.read(row, ReadOptions())]


def test_the_committed_cases_are_what_the_script_builds(built: Path) -> None:
    for name in ("dev.jsonl", "heldout.jsonl"):
        assert (built / name).read_bytes() == (DESK / name).read_bytes(), f"{name}: build again and commit"


def test_the_same_seed_gives_the_same_records_and_fewer_requests_are_its_beginning(built: Path, tmp_path: Path) -> None:
    build.main(["-o", str(tmp_path), "--requests", "40"])
    small = (tmp_path / "train.msagent.jsonl").read_bytes()
    assert len(small.splitlines()) == 42  # whole tool lists of six
    assert (built / "train.msagent.jsonl").read_bytes().startswith(small)


def test_every_promise_about_the_cards_holds() -> None:
    assert checks.problems() == []


def test_a_broken_promise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    spoiled = [*cards.unseen("heldout"), cards.known()[0]]
    monkeypatch.setattr(checks, "unseen", lambda split: tuple(spoiled))
    found = list(checks.apart("heldout"))
    assert any("share the words" in one for one in found)
    assert any("calculator shares a parameter set" in one for one in found)
    assert any("calculator is a training tool" in one for one in found)


def test_counts_of_tools_patterns_and_cases() -> None:
    assert len(cards.known()) >= 40
    assert len(cards.unseen("heldout")) >= 15
    assert len(cards.unseen("dev")) >= 10
    assert len(checks.all_patterns()) >= 300
    rows = read_lines(DESK / "heldout.jsonl")
    counted = Counter((row["tags"]["half"], row["tags"]["kind"]) for row in rows)
    assert counted == {
        (half, kind): count for half in ("known", "unseen") for kind, count in (("call", 120), ("no_tool", 40), ("missing_argument", 40))
    }
    assert sum(row["tags"]["lang"] == "zh" for row in rows) <= 60
    assert len({row["id"] for row in rows}) == 400


def test_a_case_offers_four_to_eight_tools_and_its_right_calls_fit_them() -> None:
    for row in [*read_lines(DESK / "heldout.jsonl"), *read_lines(DESK / "dev.jsonl")]:
        tools = {tool["name"]: tool_from_json(tool) for tool in row["tools"]}
        assert 4 <= len(tools) == len(row["tools"]) <= 8
        assert bool(row["accepted"]) == (row["tags"]["kind"] == "call")
        for call in row["accepted"]:
            schema = tools[call["name"]].parameters
            assert set(schema.get("required", [])) <= set(call["arguments"]) <= set(schema["properties"])
            assert set(row["compare"]) == set(schema["properties"])


def test_nearly_all_values_stand_in_the_request_word_for_word() -> None:
    rows = [row for row in read_lines(DESK / "heldout.jsonl") if row["accepted"]]
    values = [(str(value), row["user"]) for row in rows for value in row["accepted"][0]["arguments"].values()]
    assert all(value in user for value, user in values)


def test_records_hold_all_shapes_kinds_and_both_languages(built: Path) -> None:
    systems = [row["conversations"][0]["value"] for row in read_lines(built / "train.msagent.jsonl")]
    assert any('"plugin_schema_for_model"' in text for text in systems)  # A
    assert any('"paths"' in text and '"plugin_name"' not in text for text in systems)  # B
    assert any('"type": "number"' in text for text in systems)  # C
    assert any("</s>" in text for text in systems)  # D
    assert any(text.count("}") > text.count("{") for text in systems)  # brackets too many
    runs = trajectories(built)
    calls = Counter(sum(bool(step.calls) for step in run.rounds[0].steps) for run in runs)
    assert set(calls) >= {0, 1, 2}
    assert any("失败" in run.rounds[0].user or "\u4e00" <= run.rounds[0].user[0] <= "\u9fff" for run in runs)
    failed = [run for run in runs if any(seen.text.startswith("Error:") for step in run.rounds[0].steps for seen in step.observations)]
    assert failed
    ends = [run.rounds[0].steps[-1] for run in runs]
    assert all(step.answer or step.observations for step in ends)
    assert 0 < sum(step.answer is None for step in ends) < len(ends)


def test_what_was_run_is_what_the_reader_reads() -> None:
    recipe = Recipe(requests=50)
    runner = execute.Runner(recipe)
    rng = training.random.Random(1)
    lists = training.Maker(recipe).lists()
    shapes = Counter[str]()
    for _ in range(40):
        made = next(lists)
        shapes[made.shape] += 1
        system = raw.system_value(made.system, tuple(offer.spec for offer in made.offers), made.shape, rng)
        for request in made.requests:
            run = runner.run(request, made.offers, made.system)
            (back,) = msagent.read(raw.record(run, system, "x"), ReadOptions())
            assert write(back, REACT).turns == write(run, REACT).turns
            assert back.tools == tuple(_described(tool) for tool in run.tools)
    assert set(shapes) == {"A", "B", "C", "D"}


def _described(tool: Any) -> Any:
    """The reader keeps the empty description of a parameter; the tool list shows none either way."""
    from dataclasses import replace

    properties = {name: {"description": "", **schema} for name, schema in tool.parameters["properties"].items()}
    return replace(tool, parameters={**tool.parameters, "properties": properties})


def test_six_requests_share_one_tool_list_and_ask_for_different_tools(built: Path) -> None:
    runs = trajectories(built)
    for start in range(0, len(runs), 6):
        pack = runs[start : start + 6]
        assert len({run.tools for run in map(_hashable, pack)}) == 1
        first = [step.calls[0] for run in pack for step in run.rounds[0].steps[:1] if step.calls]
        names = [call.name for call in first if isinstance(call, ToolCall)]
        assert len(set(names)) >= len(names) - 1


def _hashable(run: Trajectory) -> Any:
    from types import SimpleNamespace

    return SimpleNamespace(tools=json.dumps([[tool.name, tool.description, dict(tool.parameters)] for tool in run.tools]))


def test_shares_follow_the_recipe(tmp_path: Path) -> None:
    build.main(
        ["-o", str(tmp_path), "--requests", "200", "--set", "single=0", "--set", "multi=0", "--set", "retry=0", "--set", "chinese=0"]
    )
    runs = trajectories(tmp_path)
    assert not any(step.calls for run in runs for step in run.rounds[0].steps)


def test_a_share_of_the_calls_is_answered_and_the_others_end_with_the_observation(tmp_path: Path) -> None:
    def answered(share: float) -> list[bool]:
        build.main(["-o", str(tmp_path), "--requests", "120", "--set", f"answered={share}"])
        steps = [run.rounds[0].steps for run in trajectories(tmp_path)]
        assert all(one[-1].answer is not None or one[-1].observations for one in steps)
        return [one[-1].answer is not None for one in steps if one[0].calls]

    assert all(answered(1)) and not any(answered(0))
    assert 0.2 < sum(answered(0.35)) / len(answered(0.35)) < 0.5


def test_an_unknown_share_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        build.main(["-o", str(tmp_path / "none"), "--set", "singel=1"])
    assert stop.value.code == 2
    assert "singel" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("tool", "arguments", "result"),
    [
        ("calculator", {"expression": "970 + 44"}, {"result": 1014}),
        ("calculator", {"expression": "(8 - 2) / 4"}, {"result": 1.5}),
        ("units", {"value": 3.0, "source": "miles", "target": "kilometres"}, {"result": 4.828, "unit": "kilometres"}),
        ("temperature", {"value": 100.0, "source": "Celsius", "target": "Fahrenheit"}, {"result": 212.0}),
        ("roman", {"number": 1994}, "MCMXCIV"),
        ("base_convert", {"number": 255, "base": 16}, {"result": "ff"}),
        ("date_add", {"date": "28 February 2024", "days": 2}, {"result": "2024-03-01"}),
        ("days_between", {"start": "2024-01-01", "end": "2025-01-01"}, {"result": 366}),
        ("weekday", {"date": "2024年2月29日"}, {"result": "Thursday"}),
        ("age", {"born": "2000-03-11"}, {"result": 24}),
        ("time_shift", {"time": "9:30 pm", "source": "London", "target": "Tokyo"}, {"result": "06:30"}),
        ("prime_check", {"number": 91}, "91 is not prime, it is divisible by 7"),
        ("loan_payment", {"principal": 1200.0, "rate": 0.0, "years": 1}, {"result": 100.0}),
        ("translate", {"word": "bread", "language": "french"}, "pain"),
        ("morse", {"text": "sos"}, "... --- ..."),
        ("list_sort", {"items": "pear, Fig, apple"}, "apple, Fig, pear"),
        ("caesar", {"plain": "xyz a", "steps": 3}, "abc d"),
    ],
)
def test_tools_compute(tool: str, arguments: dict[str, Any], result: Any) -> None:
    assert offers.implementation(tool).perform(arguments) == result


def test_search_finds_the_article() -> None:
    search = offers.implementation("encyclopaedia").perform
    assert search({"query": "the river Nile"}).startswith("Nile: ")
    assert search({"query": "who printed books with movable type"}).startswith("Johannes Gutenberg")
    assert len(tables.rows("encyclopaedia")) >= 120


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("calculator", {"expression": "__import__('os')"}),
        ("calculator", {"expression": "1/0"}),
        ("weather", {"city": "Atlantis"}),
        ("weekday", {"date": "2023-02-29"}),
        ("currency", {"amount": 1.0, "source": "gold", "target": "EUR"}),
        ("encyclopaedia", {"query": "zzzz"}),
        ("roman", {"number": 4000}),
    ],
)
def test_tools_refuse_in_words(tool: str, arguments: dict[str, Any]) -> None:
    from agenttune.agent.toolbox.answers import ToolError

    with pytest.raises(ToolError):
        offers.implementation(tool).perform(arguments)
