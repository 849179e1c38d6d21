"""What a person asks for: shares, thresholds, examples, parts of a suite."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from agenttune import protocols
from agenttune.cli import main
from agenttune.errors import UserError
from agenttune.evaluation import suites
from agenttune.evaluation.evaluate import stratified, subset
from agenttune.evaluation.options import EvalOptions, other_than, share, threshold
from agenttune.evaluation.predict import Prompt
from agenttune.evaluation.run import below, run_eval
from agenttune.evaluation.shots import shots
from agenttune.files import shipped
from agenttune.screens.report.tables import report_notes
from agenttune.values.adapter import Card
from agenttune.values.case import Estimate, Report
from agenttune.values.sample import Sample, Turn
from agenttune.values.trajectory import Step, ToolCall


def test_shares_and_thresholds() -> None:
    assert share("10%") == share("0.1") == pytest.approx(0.1)
    assert threshold("tool=0.8") == ("tool", 0.8)
    assert threshold("pass^4=20%") == ("pass^4", pytest.approx(0.2))
    for text in ("tool", "tool=high", "to ol=1"):
        with pytest.raises(UserError, match=r"share|METRIC=SHARE"):
            threshold(text)
    with pytest.raises(UserError, match="--fail-under invented_tool: the less of it the better, so a least value says nothing"):
        threshold("invented_tool=0.1")


@pytest.mark.parametrize(("field", "value"), [("sample", 0.0), ("sample", 1.5), ("shots", -1), ("limit", 0), ("workers", 0)])
def test_what_is_no_number_of_the_kind_is_a_sentence(field: str, value: float, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"--{field} must be"):
        run_eval(EvalOptions(suite="desk:dev", model="chance", out=tmp_path / "run", **{field: value}))  # type: ignore[arg-type]


def test_a_sample_is_of_every_kind_and_the_same_everywhere() -> None:
    cases = suites.read("desk:dev")
    drawn = stratified(cases, 0.1)
    assert drawn == stratified(list(reversed(cases)), 0.1)[::-1]
    whole, part = (Counter(tuple(sorted(case.tags.items())) for case in some) for some in (cases, drawn))
    assert part == {stratum: max(1, round(0.1 * count)) for stratum, count in whole.items()}
    assert {case.id for case in stratified(cases, 0.1)} <= {case.id for case in stratified(cases, 0.3)}
    assert stratified(cases, 1.0) == cases


def test_shots_are_none_of_the_suites_and_in_its_protocol() -> None:
    rows = [json.loads(line) for line in (shipped("evals") / "shots.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {bool(row["calls"]) for row in rows[:3]} == {True, False}
    names = {tool["name"] for row in rows for tool in row["tools"]}
    for name in ("desk", "desk:dev"):
        assert not names & {tool.name for case in suites.read(name) for tool in case.sample.tools}
    for protocol in ("react", "react_zh", "hermes"):
        (first,) = shots(protocol, 1).turns
        (call,) = protocols.get(protocol).parse(first.output).calls
        assert isinstance(call, ToolCall) and call.name == "open_valve"
        assert "soil_moisture" in first.system and first.input == rows[0]["user"]
    with pytest.raises(UserError, match=f"--shots can be at most {len(rows)}"):
        shots("react", 99)


def test_shots_are_a_conversation_before_the_case_with_one_system_text() -> None:
    case = suites.read("desk:dev")[0]
    (made,) = shots("react", 3).cases([case])
    *before, asked = made.sample.turns
    (own,) = case.sample.turns
    assert [bool(turn.system) for turn in made.sample.turns] == [True, False, False, False]
    assert [bool(turn.output) for turn in made.sample.turns] == [True, True, True, False]
    assert "book_berth" in before[2].input and "open_valve" not in before[2].input
    assert asked.input == f"{own.system}\n\n{own.input}"
    assert replace(made, sample=case.sample) == case
    assert shots("react", 0).cases([case]) == [case]


def test_shots_stand_before_every_step_of_a_conversation_too() -> None:
    seen: list[Prompt] = []

    def talk(prompts: Sequence[Prompt]) -> list[Step]:
        seen.extend(prompts)
        return [Step(answer="yes")]

    turns = (Turn(system="S", input="Q", output="A"), Turn(system="Observation: 1"))
    steps = shots("react", 2).talker(talk)([Prompt(key="k", sample=Sample(turns=turns), outputs={0: (7, 8)})])
    assert steps == [Step(answer="yes")] and seen[0].key == "k"
    assert seen[0].sample.turns[2:] == (Turn(input="S\n\nQ", output="A"), turns[1]) and seen[0].outputs == {2: (7, 8)}


def test_shots_are_part_of_what_names_a_run(tmp_path: Path) -> None:
    plain = EvalOptions(suite="desk:dev", model="chance", out=tmp_path / "run", limit=5)
    run_eval(plain)
    with pytest.raises(UserError, match="shots differs"):
        run_eval(EvalOptions(suite="desk:dev", model="chance", out=tmp_path / "run", limit=5, shots=2))


def test_a_threshold_makes_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["eval", "desk:dev", "--model", "overlap", "-o", str(tmp_path / "run"), "--limit", "20"]
    assert main([*given, "--fail-under", "valid=1.0"]) == 0
    assert main([*given, "--fail-under", "valid=1.0", "--fail-under", "call=0.5"]) == 3
    assert "call is 0.000, below 0.5" in capsys.readouterr().err
    assert main([*given, "--fail-under", "cal=0.5"]) == 2
    assert 'no metric "cal" (did you mean "call"?)' in capsys.readouterr().err


def test_exactly_the_threshold_passes() -> None:
    report = Report(suite="s", estimates={"all": (Estimate(name="tool", value=0.8, low=0.7, high=0.9, n=10, clusters=10),)})
    assert below(report, {"tool": 0.8}) == []
    assert below(report, {"tool": 0.81}) == ["tool is 0.800, below 0.81"]


def test_a_suite_of_cases_needs_a_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="desk:dev needs a model: --model NAME"):
        run_eval(EvalOptions(suite="desk:dev", out=tmp_path / "run"))
    assert subset([], 3) == []


@pytest.mark.parametrize(("asked", "other"), [({}, {}), ({"protocol": "react"}, {}), ({"template": "auto"}, {})])
def test_the_cards_own_words_are_no_mismatch(asked: dict[str, str], other: dict[str, str], tmp_path: Path) -> None:
    card = Card(base="b", base_fingerprint="f", protocol="react", template="auto", method="lora")
    assert other_than(card, EvalOptions(suite="s", out=tmp_path, **asked)) == other  # type: ignore[arg-type]
    assert other_than(None, EvalOptions(suite="s", out=tmp_path, protocol="hermes")) == {}


def test_another_protocol_than_the_cards_is_refused_unless_it_is_wanted(tmp_path: Path) -> None:
    card = Card(base="b", base_fingerprint="f", protocol="react", template="auto", method="lora")
    with pytest.raises(UserError, match=r"the adapter was trained with protocol react; .*--ignore-card"):
        other_than(card, EvalOptions(suite="s", out=tmp_path, protocol="hermes"))
    assert other_than(card, EvalOptions(suite="s", out=tmp_path, protocol="hermes", ignore_card=True)) == {"protocol": "react"}
    noted = Report(suite="s", estimates={}, meta={"card_ignored": {"protocol": "react"}})
    assert any("NOT as the adapter was trained: its card says protocol react" in one for one in report_notes(noted))
