"""Runs: every case judged once and kept, resumed after a kill, never mixed with another run; comparisons are paired."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from agenttune import protocols, templates
from agenttune.errors import UserError
from agenttune.evaluation import baselines, suites
from agenttune.evaluation.compare import compare
from agenttune.evaluation.evaluate import by_model, evaluate, part
from agenttune.evaluation.run_files import finished
from agenttune.models.scripted import ScriptedModel
from agenttune.protocols.base import write
from agenttune.screens.report import comparison_table, markdown, report_table, save_comparison
from agenttune.values.case import Case
from agenttune.values.sample import sample_to_json
from agenttune.values.tokens import Limits
from agenttune.values.trajectory import Observation, Round, Step, ToolCall, ToolSpec, Trajectory

RIGHT = 'Action: add\nAction Input: {"n": 1}'


def cases(count: int = 6) -> list[Case]:
    """Cases that expect a call, every third none."""
    found = []
    for number in range(count):
        trajectory = Trajectory(id=f"c{number}", tools=(ToolSpec(name="add"), ToolSpec(name="sub")), rounds=(Round(user=f"add {number}"),))
        accepted = () if number % 3 == 2 else (ToolCall(name="add", arguments={"n": 1}),)
        tags = {"half": "known" if number % 2 else "unseen", "lang": "en", "difficulty": "near"}
        sample = write(trajectory, protocols.get("react"))
        found.append(Case(id=f"c{number}", sample=sample, accepted=accepted, clusters=("add", f"p{number}"), tags=tags))
    return found


def fixed(text: str) -> object:
    """A predictor that always says `text`."""
    step = protocols.get("react").parse(text)
    return lambda batch: [step for _ in batch]


def run(out: Path, text: str = RIGHT, made: Sequence[Case] | None = None, **options: object) -> object:
    """An evaluation of `cases()`."""
    meta = {"model": "m", "text": text}
    return evaluate(made or cases(), fixed(text), suite="s", meta=meta, out=out, **options)  # type: ignore[arg-type]


def test_rates_by_hand(tmp_path: Path) -> None:
    made = run(tmp_path / "run")
    rates = {rate.name: (rate.value, rate.n) for rate in made.rates["all"]}  # type: ignore[attr-defined]
    assert rates == {"valid": (1.0, 6), "tool": (1.0, 4), "call": (1.0, 4), "abstained": (0.0, 2)}
    assert set(made.rates) == {"all", "known", "unseen", "known, near", "unseen, near"}  # type: ignore[attr-defined]
    assert "| all | 6 | 100 % (" in markdown(report_table(made))  # type: ignore[arg-type]
    stored = json.loads((tmp_path / "run" / "report.json").read_text())
    assert stored["meta"]["reasons"] == {"ok": 4, "called": 2}


def test_a_model_is_asked_with_the_training_prompt(tmp_path: Path) -> None:
    seen: list[str] = []

    def reply(prompt: str) -> str:
        seen.append(prompt)
        return RIGHT

    model = ScriptedModel(reply)
    made = cases()
    predict = by_model(model, templates.load("auto", model.tokenizer), Limits(max_new_tokens=200))
    made_report = evaluate(made, predict, suite="s", meta={}, out=tmp_path / "run", batch_size=2)
    assert {rate.name: rate.value for rate in made_report.rates["all"]}["call"] == 1.0
    assert len(seen) == 6
    assert all(prompt.endswith("<|im_start|>assistant\n") for prompt in seen)


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    asked: list[int] = []

    def dies(batch: Sequence[Case]) -> list[Step]:
        asked.append(len(batch))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return [protocols.get("react").parse(RIGHT) for _ in batch]

    with pytest.raises(KeyboardInterrupt):
        evaluate(cases(), dies, suite="s", meta={"model": "m", "text": RIGHT}, out=out, batch_size=2)
    assert len(finished(out)) == 4
    with open(out / "cases.jsonl", "ab") as file:
        file.write(b'{"case": "c9", "val')
    counted: list[int] = []

    def count(batch: Sequence[Case]) -> list[Step]:
        counted.append(len(batch))
        return [protocols.get("react").parse(RIGHT) for _ in batch]

    evaluate(cases(), count, suite="s", meta={"model": "m", "text": RIGHT}, out=out, batch_size=2)
    assert sum(counted) == 2
    assert len((out / "cases.jsonl").read_text().splitlines()) == 6


def test_another_run_is_never_mixed_in(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(out)
    with pytest.raises(UserError, match="text differs"):
        run(out, "Final Answer: no")
    run(out, "Final Answer: no", overwrite=True)
    assert all(not score.call for score in finished(out).values())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(UserError, match="not the folder of a run"):
        run(tmp_path / "other")


def test_a_comparison_is_paired(tmp_path: Path) -> None:
    run(tmp_path / "a", "Final Answer: no")
    run(tmp_path / "b")
    made = compare(tmp_path / "a", tmp_path / "b", baselines=[tmp_path / "a"])
    pair = next(one for one in made.pairs if (one.slice, one.metric) == ("all", "call"))
    assert (pair.a.value, pair.b.value, pair.difference, pair.verdict) == (0.0, 1.0, 1.0, "better")
    assert pair.p == pytest.approx(2 / 2**4)
    assert next(one for one in made.pairs if (one.slice, one.metric) == ("all", "abstained")).verdict == "worse"
    save_comparison(made, tmp_path)
    assert (tmp_path / "comparison.png").read_bytes()[:4] == b"\x89PNG"
    assert len(comparison_table(made)[1]) == len(made.pairs)


def test_runs_over_other_cases_are_refused(tmp_path: Path) -> None:
    run(tmp_path / "a")
    run(tmp_path / "b", made=cases(5))
    with pytest.raises(UserError, match="different cases"):
        compare(tmp_path / "a", tmp_path / "b")
    with pytest.raises(UserError, match="no run"):
        compare(tmp_path / "a", tmp_path / "none")


def test_a_part_grows_and_is_the_same_everywhere() -> None:
    made = cases(30)
    small, large = part(made, 5), part(made, 9)
    assert len(small) == 5
    assert {one.id for one in small} <= {one.id for one in large}
    assert part(made, None) == made


def test_the_overlap_picker() -> None:
    weather = ToolSpec(name="get_weather", description="Tells the weather of a city")
    stocks = ToolSpec(name="stockPrice", description="Price of a share")
    trajectory = Trajectory(tools=(stocks, weather), rounds=(Round(user="How is the weather in this city?"),))
    case = Case(id="c", sample=write(trajectory, protocols.get("react")), accepted=(ToolCall(name="get_weather", arguments={}),))
    assert baselines.overlap([case])[0].calls == (ToolCall(name="get_weather", arguments={}),)
    assert baselines.chance([case]) == 0.5
    assert baselines.words("getStock_price 天气") == {"get", "stock", "price", "天", "气"}


def test_a_file_of_samples_is_a_suite(tmp_path: Path) -> None:
    call = ToolCall(name="add", arguments={"n": 1})
    steps = (Step(calls=(call,), observations=(Observation(text="2"),)), Step(calls=(call,), weight=0.0), Step(answer="2"))
    sample = write(Trajectory(id="t", group="g", rounds=(Round(user="u", steps=steps),)), protocols.get("react"))
    path = tmp_path / "samples.jsonl"
    path.write_text(json.dumps(sample_to_json(sample)) + "\n")
    found = suites.read(str(path), protocol="react")
    assert [(one.id, len(one.accepted), one.clusters[0]) for one in found] == [("t#0", 1, "g"), ("t#2", 0, "g")]
    assert found[1].sample.turns[-1].output == ""
    assert len(found[1].sample.turns) == 3


def test_a_suite_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='did you mean "desk"'):
        suites.read("desc", protocol="react")
    with pytest.raises(UserError, match='no split "heldut"'):
        suites.read("desk:heldut", protocol="react")
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    with pytest.raises(UserError, match="no case"):
        suites.read(str(empty), protocol="react")
    empty.write_text("{broken\n")
    with pytest.raises(UserError, match=":1 is not JSON"):
        suites.read(str(empty), protocol="react")


def test_the_shipped_suite_is_whole() -> None:
    found = suites.read("desk", protocol="react")
    assert len(found) == 400
    assert sum(1 for one in found if one.tags["half"] == "unseen") == 200
    assert sum(1 for one in found if one.tags["lang"] == "zh") <= 60
