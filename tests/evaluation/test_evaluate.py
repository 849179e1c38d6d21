"""Runs: every case judged once and kept, resumed after a kill, never mixed with another run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from agenttune import protocols, templates
from agenttune.data.render import prompt_ids
from agenttune.errors import Refusal, UserError
from agenttune.evaluation.evaluate import (
    TOKENS,
    CasesScored,
    EvaluationEvent,
    batches,
    cases_hash,
    evaluate,
    judged_by,
    prompt_token_limit,
    score_cases,
    subset,
)
from agenttune.evaluation.metrics import METRICS
from agenttune.evaluation.predict import Generating, ModelPredictor, Work, render_prompts
from agenttune.evaluation.run_folder import finished, read_run
from agenttune.models.scripted import ScriptedModel
from agenttune.protocols.base import write
from agenttune.values.case import Case, exactly
from agenttune.values.tokens import Completion, SamplingParams
from agenttune.values.trajectory import Round, Step, ToolCall, Trajectory

RIGHT = 'Action: add\nAction Input: {"n": 1}'
WRONG = "Final Answer: no"
ROOT = Path(__file__).resolve().parents[2]


def test_rates_by_hand(tmp_path: Path, run: Callable[..., Any]) -> None:
    told: list[CasesScored] = []
    made = run(tmp_path / "run", events=told.append, batch_size=4)
    rates = {rate.name: (rate.value, rate.n) for rate in made.estimates["all"]}
    # Two of three calls are due and all are made: F1 of calls 2 · 4 / (6 + 4) = 0.8, of answers 0.
    assert (rates["decision_f1"], rates["called"], rates["argument_f1"]) == ((pytest.approx(0.4), 6), (1.0, 4), (1.0, 4))
    assert stored_outcomes(tmp_path / "run") == {"call_ok": 6}
    assert {name: rates[name] for name in METRICS} == {"valid": (1.0, 6), "tool": (1.0, 4), "call": (1.0, 4), "abstained": (0.0, 2)}
    assert {name: found[0].n for name, found in made.estimates.items()} == {"all": 6, "known": 3, "unseen": 3}
    assert told == [CasesScored(done=4, total=6, right=3), CasesScored(done=6, total=6, right=4)]
    stored = json.loads((tmp_path / "run" / "report.json").read_text())
    assert stored["meta"]["reasons"] == {"ok": 4, "called": 2}
    assert stored["rates"]["all"][0]["name"] == "valid"
    assert json.loads((tmp_path / "run" / "meta.json").read_text())["model"] == "m"


def stored_outcomes(out: Path) -> dict[str, int]:
    found: dict[str, int] = json.loads((out / "report.json").read_text())["meta"]["outcomes"]
    return found


def test_slices_follow_the_tags(cases: Callable[..., list[Case]], tmp_path: Path, run: Callable[..., Any]) -> None:
    made = cases(24)
    tagged = []
    for number, case in enumerate(made):
        tags = {**case.tags, "difficulty": "near" if number % 4 < 2 else "oblique", "lang": "zh" if number >= 20 else "en"}
        if not case.answers and number % 2:
            tags["kind"] = "missing_argument"
        tagged.append(Case(id=case.id, sample=case.sample, answers=case.answers, clusters=case.clusters, tags=tags))
    found = run(tmp_path / "run", cases=tagged).estimates
    assert list(found)[:3] == ["all", "known", "unseen"]
    assert set(found) >= {"known, near", "known, oblique", "unseen, near", "unseen, oblique", "zh"}
    assert (found["all"][0].n, found["zh"][0].n, found["known"][0].n + found["unseen"][0].n) == (24, 4, 20)
    # one kind alone in a half repeats the half, so it is no slice; with two, each is one
    assert "known, no_tool" not in found


def test_a_model_is_asked_with_the_training_prompt(tmp_path: Path, cases: Callable[..., list[Case]]) -> None:
    seen: list[str] = []

    def reply(prompt: str) -> str:
        seen.append(prompt)
        return RIGHT

    model = ScriptedModel(reply)
    template = templates.load("auto", model.tokenizer)
    told: list[EvaluationEvent] = []
    predict = ModelPredictor(model=model, template=template, sampling=SamplingParams(max_new_tokens=200), events=told.append)
    report = evaluate(cases(), judged_by(predict), suite="s", meta={}, out=tmp_path / "run", batch_size=2, events=told.append)
    assert [told[at - 1] for at, event in enumerate(told) if isinstance(event, CasesScored)] == [Generating(characters=2 * len(RIGHT))] * 3
    assert {rate.name: rate.value for rate in report.estimates["all"]}["call"] == 1.0
    wanted = {model.tokenizer.decode(prompt_ids(case.sample, template, model.tokenizer)) for case in cases()}
    assert set(seen) == wanted
    assert len(seen) == 6
    assert finished(tmp_path / "run")["c0"].output == RIGHT


@pytest.mark.parametrize(
    ("sampling", "context", "reason"), [(SamplingParams(max_new_tokens=5), 1 << 20, "length"), (SamplingParams(), 60, "context")]
)
def test_a_limit_is_an_outcome_of_its_own(sampling: SamplingParams, context: int, reason: str, cases: Callable[..., list[Case]]) -> None:
    model = ScriptedModel(lambda prompt: RIGHT, context=context)
    predict = ModelPredictor(model=model, template=templates.load("auto", model.tokenizer), sampling=sampling)
    scores = score_cases(cases(), predict)
    assert [(one.reason, one.valid) for one in scores] == [(reason, False)] * 6
    assert [one.call for one in scores] == [False, False, None] * 2
    assert [one.abstained for one in scores] == [None, None, False] * 2


def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path, cases: Callable[..., list[Case]]) -> None:
    out = tmp_path / "run"
    asked: list[int] = []

    def dies(batch: Sequence[Case]) -> list[Step]:
        asked.append(len(batch))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return [protocols.get("react").parse(RIGHT) for _ in batch]

    with pytest.raises(KeyboardInterrupt, match=r"4 of 6 cases are kept in .*run, the same command goes on"):
        evaluate(cases(), judged_by(dies), suite="s", meta={"model": "m", "text": RIGHT}, out=out, batch_size=2)
    assert len(finished(out)) == 4
    with pytest.raises(UserError, match="not finished"):
        read_run(out)


def test_a_line_that_was_cut_short_is_judged_again(tmp_path: Path, run: Callable[..., Any], cases: Callable[..., list[Case]]) -> None:
    run(tmp_path / "whole")
    whole = (tmp_path / "whole" / "cases.jsonl").read_bytes()
    for cut in (1, 40, len(whole) // 2, len(whole) - 1):
        out = tmp_path / f"cut{cut}"
        run(out, cases=cases())
        (out / "cases.jsonl").write_bytes(whole[:cut])
        (out / "report.json").unlink()
        run(out)
        assert (out / "cases.jsonl").read_bytes() == whole
        assert (out / "report.json").read_bytes() == (tmp_path / "whole" / "report.json").read_bytes()


def test_a_finished_run_asks_nothing(tmp_path: Path, run: Callable[..., Any], cases: Callable[..., list[Case]]) -> None:
    first = run(tmp_path / "run")

    def never(batch: Sequence[Case]) -> list[Step]:
        raise AssertionError

    again = evaluate(cases(), judged_by(never), suite="other name", meta={"model": "m", "text": RIGHT}, out=tmp_path / "run")
    assert again.estimates == first.estimates


def test_a_damaged_run_is_a_sentence(tmp_path: Path, run: Callable[..., Any]) -> None:
    run(tmp_path / "run")
    lines = (tmp_path / "run" / "cases.jsonl").read_bytes().split(b"\n")
    lines[2] = b'{"case": "c1", "odd": 1}'
    (tmp_path / "run" / "cases.jsonl").write_bytes(b"\n".join(lines))
    with pytest.raises(UserError, match=r"cases.jsonl:3 has a key that this version does not know, .*run again"):
        run(tmp_path / "run")


# Runs the same evaluation in a child for each moment; the child kills itself there. Prints how many prompts each child asked.
KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from conftest import RIGHT, make_cases
from agenttune import templates
from agenttune.evaluation import evaluate as room
from agenttune.evaluation import generation_cache, run_folder
from agenttune.evaluation.predict import ModelPredictor
from agenttune.models.scripted import ScriptedModel
from agenttune.values.tokens import Completion, SamplingParams

out = Path(sys.argv[1])
seen = {}

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def at(name, moment, number):
    seen[name] = seen.get(name, 0) + 1
    if name == moment and seen[name] == number:
        die()

def run(moment, number):
    asked = open(out.parent / "asked", "ab", buffering=0)

    def reply(prompt):
        at("reply", moment, number)
        asked.write(b".")
        return RIGHT

    def append(folder, scores):
        at("before a line", moment, number)
        if moment == "in a line" and seen.setdefault("lines", 0) + 1 == number:
            with open(folder / "cases.jsonl", "ab") as file:
                file.write(b'{"case": "c')
            die()
        seen["lines"] = seen.get("lines", 0) + 1
        run_folder.append(folder, scores)
        at("after a line", moment, number)

    def write_report(folder, report):
        at("before the report", moment, number)
        run_folder.write_report(folder, report)
        at("after the report", moment, number)

    class Cache(generation_cache.GenerationCache):
        def put(self, made):
            at("before the cache", moment, number)
            super().put(made)
            at("after the cache", moment, number)

    room.append, room.write_report = append, write_report
    model = ScriptedModel(reply)
    template = templates.load("auto", model.tokenizer)
    sampling = SamplingParams(max_new_tokens=200)
    cache = Cache(out.parent / "said.sqlite")
    predict = ModelPredictor(model=model, template=template, sampling=sampling, cache=cache, decides={"m": 1})
    room.evaluate(make_cases(24), room.judged_by(predict), suite="s", meta={"model": "m"}, out=out, batch_size=4)

for moment, number in [line.split(":") for line in sys.argv[3].split(",")]:
    child = os.fork()
    if not child:
        run(moment, int(number))
        os._exit(0)
    print(moment, number, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
MOMENTS = (
    "reply:1", "reply:3", "before the cache:1", "after the cache:1", "before a line:1", "in a line:1", "after a line:1", "reply:2",
    "in a line:2", "before the report:1", "after the report:1",
)  # fmt: skip


def killed(out: Path, moments: Sequence[str]) -> list[str]:
    out.parent.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KILLED, str(out), str(Path(__file__).parent), ",".join(moments)]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=250).stdout.splitlines()


def test_a_run_killed_at_any_moment_ends_the_same(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole" / "run", tmp_path / "broken" / "run"
    assert killed(whole, ["never:1"]) == ["never 1 0"]
    assert killed(broken, [*MOMENTS, "never:1"]) == [f"{one.replace(':', ' ')} -9" for one in MOMENTS] + ["never 1 0"]
    for name in ("report.json", "cases.jsonl", "meta.json"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
    assert len((whole.parent / "asked").read_bytes()) == 24
    # Killed within a batch of four, its replies are asked again: twice here, and once where the cache had not kept them yet.
    assert len((broken.parent / "asked").read_bytes()) <= 24 + 3 * 4


def test_another_run_is_never_mixed_in(tmp_path: Path, run: Callable[..., Any], cases: Callable[..., list[Case]]) -> None:
    out = tmp_path / "run"
    run(out)
    (out / "table.md").touch()
    with pytest.raises(UserError, match=r"text differs"):
        run(out, WRONG)
    with pytest.raises(UserError, match=r"cases, cases_hash differs"):
        run(out, cases=cases(5))
    assert len(finished(out)) == 6
    run(out, WRONG, overwrite=True)
    assert all(not score.call for score in finished(out).values())
    assert not (out / "table.md").exists()


def test_a_folder_of_something_else_is_never_written_to(tmp_path: Path, run: Callable[..., Any]) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").touch()
    with pytest.raises(UserError, match="not the folder of a run"):
        run(other, overwrite=True)
    with pytest.raises(UserError, match="not the folder of a run"):
        run(other / "file")
    assert [path.name for path in other.iterdir()] == ["file"]
    (other / "meta.json").write_text('{"title": "a project of a person"}')
    (other / "report.json").touch()
    with pytest.raises(UserError, match="not the folder of a run"):
        run(other, overwrite=True)
    assert sorted(path.name for path in other.iterdir()) == ["file", "meta.json", "report.json"]
    (tmp_path / "empty").mkdir()
    run(tmp_path / "empty")


def test_batches_put_the_same_tool_list_together() -> None:
    react = protocols.get("react")
    made = [
        Case(id=f"{number}", sample=write(Trajectory(system=f"list {number % 3}", rounds=(Round(user="u"),)), react))
        for number in range(12)
    ]
    lengths = {case.id: 100 * (int(case.id) % 3) + int(case.id) for case in made}
    found = [[case.id for case in batch] for batch in batches(made, 4, lengths)]
    assert found == [["11", "8", "5", "2"], ["10", "7", "4", "1"], ["9", "6", "3", "0"]]
    assert [len(batch) for batch in batches(made, 5, {})] == [5, 5, 2]


def test_a_batch_is_bounded_by_its_tokens(cases: Callable[..., list[Case]]) -> None:
    made = cases(6)
    found = list(batches(made, 64, dict.fromkeys((case.id for case in made), TOKENS // 2)))
    assert [len(batch) for batch in found] == [2, 2, 2]
    assert [len(batch) for batch in batches(made, 64, dict.fromkeys((case.id for case in made), 2 * TOKENS))] == [1] * 6
    assert [len(batch) for batch in batches(made, 64, dict.fromkeys((case.id for case in made), 100), 250)] == [2, 2, 2]
    assert [prompt_token_limit(46_080), prompt_token_limit(1 << 19), prompt_token_limit(0)] == [
        TOKENS,
        1 << 13,
        TOKENS,
    ]  # SmolLM2 135M in float32, Llama 2 7B in float16, none


def test_prompts_are_measured_and_hashed(cases: Callable[..., list[Case]]) -> None:
    tokenizer = ScriptedModel([]).tokenizer
    template = templates.load("auto", tokenizer)
    found = render_prompts(cases(), template, tokenizer)
    assert found.lengths["c0"] == len(prompt_ids(cases()[0].sample, template, tokenizer))
    assert found.hash == render_prompts(cases(), template, tokenizer).hash
    assert found.hash != render_prompts(cases(), templates.load("default", tokenizer), tokenizer).hash


def test_a_case_that_a_template_cannot_carry_is_a_sentence(made_tokenizer: Callable[[str], Any]) -> None:
    from agenttune.models.tokenizer import wrap_tokenizer

    tokenizer = wrap_tokenizer(made_tokenizer("strict"))
    rounds = (Round(user="u"), Round(user="")), (Round(user=""),)
    odd = Case(id="odd", sample=write(Trajectory(rounds=rounds[1]), protocols.get("react")))
    with pytest.raises(UserError, match=r'the template "auto" cannot carry the case odd'):
        render_prompts([odd], _refusing(templates.load("auto", tokenizer)), tokenizer)


class _refusing:
    """A template that refuses every conversation, as a tokenizer's own may."""

    def __init__(self, like: Any) -> None:
        self.name = like.name
        self.adds_bos = like.adds_bos

    def pieces(self, turns: Any) -> Any:
        raise Refusal("roles", "roles must alternate")


def test_the_hash_of_cases_is_of_what_is_asked_and_accepted(cases: Callable[..., list[Case]]) -> None:
    made = cases()
    assert cases_hash(made) == cases_hash(cases())
    other = Case(id="c0", sample=made[0].sample, answers=(exactly([ToolCall(name="add", arguments={"n": 2})]),), clusters=made[0].clusters)
    assert cases_hash([other]) != cases_hash(made[:1])
    hermes = write(
        Trajectory(id="c0", tools=made[0].sample.tools, rounds=(Round(user=made[0].sample.turns[0].input),)), protocols.get("hermes")
    )
    same = Case(id="c0", sample=hermes, answers=made[0].answers, clusters=made[0].clusters, tags=made[0].tags)
    assert cases_hash([same]) == cases_hash(made[:1])


def test_a_part_grows_and_is_the_same_everywhere(cases: Callable[..., list[Case]]) -> None:
    made = cases(30)
    small, large = subset(made, 5), subset(made, 9)
    assert len(small) == 5
    assert {one.id for one in small} <= {one.id for one in large}
    assert [one.id for one in subset(list(reversed(made)), 5)] == [one.id for one in reversed(small)]
    assert subset(made, None) == made
    assert subset(made, 31) == made


def test_waits_are_told_without_the_first_batch() -> None:
    work = Work()
    assert work.latency() == {}
    for rows, seconds in ((2, 9.0), (3, 1.0), (1, 4.0)):
        work.add(
            [Completion(token_ids=(1, 2), text="x", stop="stop", prompt_tokens=5, prefilled_tokens=3, forward_passes=rows)] * rows, seconds
        )
    assert work.latency() == {"median": 1.0, "p95": 4.0, "largest_batch": 3}
    assert (work.generated, work.prompt_tokens, work.prefilled_tokens, work.output_tokens, work.forward_passes) == (6, 30, 18, 12, 6)
