"""Recorded runs, records of any source, and what each shipped suite says of itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from agenttune import protocols
from agenttune.cli import main
from agenttune.errors import UserError
from agenttune.evaluation import suites
from agenttune.evaluation.evaluate import score_cases
from agenttune.evaluation.metrics import estimate
from agenttune.evaluation.options import EvalOptions
from agenttune.evaluation.run import run_eval
from agenttune.evaluation.selftest import check, oracle
from agenttune.files import shipped
from agenttune.values.trajectory import Step

MSAGENT = {
    "id": "m",
    "conversations": [
        {"from": "system", "value": "你是助手"},
        {"from": "user", "value": "抽取"},
        {
            "from": "assistant",
            "value": '<|startofthink|>```JSON\n{"api_name": "ie", "parameters": {"text": "加征关税"}}\n```<|endofthink|>\n\n'
            '<|startofexec|>```JSON\n{"地理位置": ["中国"]}\n```<|endofexec|>\n地理位置是中国',
        },
    ],
}


def test_recorded_runs_of_tau_bench_have_their_published_figures(data_dir: Path, tmp_path: Path) -> None:
    """0.420, 0.273, 0.220, 0.200 for gpt-4o on airline; and an interval of ±10.2 points by task, where ±6.8 would take trials for tasks."""
    path = data_dir / "tau-bench" / "gpt-4o-airline.json.gz"
    report = run_eval(EvalOptions(suite=f"tau:{path}", out=tmp_path / "run"))
    found = {one.name: one for one in report.estimates["all"]}
    assert [round(found[f"pass^{k}"].value, 3) for k in (1, 2, 3, 4)] == [0.42, 0.273, 0.22, 0.2]
    assert "pass^5" not in found
    success = found["success"]
    assert (success.n, success.clusters) == (200, 50)
    assert 100 * (success.high - success.low) / 2 == pytest.approx(10.2, abs=0.05)
    assert run_eval(EvalOptions(suite=f"tau:{path}", out=tmp_path / "run")).estimates == report.estimates


def test_trials_by_hand(tmp_path: Path) -> None:
    rows = [
        {"task_id": task, "trial": trial, "reward": reward} for task, trial, reward in ((0, 0, 1.0), (0, 1, 0.0), (1, 0, 0.999), (1, 1, 1))
    ]
    (tmp_path / "t.json").write_text(json.dumps(rows))
    report = run_eval(EvalOptions(suite=f"tau:{tmp_path / 't.json'}", out=tmp_path / "run"))
    found = {one.name: one.value for one in report.estimates["all"]}
    assert (found["success"], found["pass^1"], found["pass^2"]) == (0.5, 0.5, 0.0)
    (tmp_path / "odd.json").write_text('[{"task": 1}]')
    with pytest.raises(UserError, match=r"odd.json:1 is no trial of tau-bench"):
        run_eval(EvalOptions(suite=f"tau:{tmp_path / 'odd.json'}", out=tmp_path / "odd"))
    with pytest.raises(UserError, match="tau reads a file that you name: tau:FILE"):
        run_eval(EvalOptions(suite="tau", out=tmp_path / "none"))


def test_msagent_is_judged_step_by_step_in_chinese_too(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps(MSAGENT, ensure_ascii=False) + "\n", encoding="utf-8")
    found = suites.load(f"msagent:{path}")
    assert [[one.call.name for one in answer] for case in found.cases for answer in case.answers] == [["ie"]]
    assert found.cases[1].reference == "地理位置是中国"
    react = protocols.get("react")
    half = react.parse("Final Answer: 中国是地理位置")  # 地理位置 of seven characters in order: 4 / 7, or 是地理位置? 5
    scores = score_cases(found.cases, lambda _: [react.parse('Action: ie\nAction Input: {"text": "x"}'), half])
    values = {name: one.value for name in ("tool", "call_strict", "argument_f1", "rouge_l") if (one := estimate(scores, name))}
    # 中国是地理位置 and 地理位置是中国: the longest common subsequence is 地理位置, 4 of 7 each way.
    assert values == {"tool": 1.0, "call_strict": 0.0, "argument_f1": 0.5, "rouge_l": pytest.approx(4 / 7)}
    assert [one.reason for one in score_cases(found.cases, oracle)] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("suite", "file", "least"),
    [
        ("msagent", "msagent/ms_agent_bench_20.jsonl", 2),
        ("apibank", "api-bank", 500),
        ("toolalpaca", "toolalpaca", 100),
        ("openai", "tau-bench/gpt-4o-airline.json.gz", 1000),
    ],
)
def test_real_files_become_cases_that_can_be_got_right(suite: str, file: str, least: int, data_dir: Path) -> None:
    found = suites.load(f"{suite}:{data_dir / file}")
    assert len(found.cases) >= least
    sampled = found.cases[:: max(1, len(found.cases) // 200)]
    assert check(suite, sampled, found.judge).faults == ()


def test_a_trajectory_file_is_a_suite(data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "t.jsonl"
    assert main(["convert", "msagent", str(data_dir / "msagent" / "ms_agent_bench_20.jsonl"), "--to", "trajectory", "-o", str(out)]) == 0
    found = suites.load(str(out))
    assert [bool(case.answers) for case in found.cases] == [True, False]
    assert found.cases[0].sample.protocol == "react"
    assert suites.load(str(out), protocol="hermes").cases[0].sample.protocol == "hermes"


def test_a_file_that_is_not_there_says_where_to_get_it() -> None:
    with pytest.raises(UserError, match=r"there is no file x.jsonl for msagent to read; evals/msagent/README.md"):
        suites.load("msagent:x.jsonl")
    with pytest.raises(UserError, match="msagent reads a file that you name: msagent:FILE"):
        suites.load("msagent")


def test_every_shipped_suite_says_what_it_is() -> None:
    folders = sorted(one.parent for one in shipped("evals").glob("*/suite.yaml"))
    assert [one.name for one in folders] == ["apibank", "bfcl", "desk", "msagent", "tau", "toolalpaca"]
    for folder in folders:
        suite = yaml.safe_load((folder / "suite.yaml").read_text(encoding="utf-8"))
        assert suite["name"] == folder.name
        assert suite["title"] and suite["kind"]
        text = (folder / "README.md").read_text(encoding="utf-8").lower()
        if folder.name != "desk":
            assert all(word in text for word in ("**origin.**", "what it measures", "best attainable", "contamination"))


def test_an_empty_reply_is_no_answer() -> None:
    (case,) = suites.read("desk:dev")[:1]
    assert score_cases([case], lambda _: [Step(outcome="ok")])[0].outcome == "empty"
