"""What models said is asked once: by contents, not by names; bounded; whole after a kill; and nothing else is changed by it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agenttune import templates
from agenttune.errors import UserError
from agenttune.evaluation.evaluate import evaluate, judged_by
from agenttune.evaluation.generation_cache import GenerationCache, key_of_prompt
from agenttune.evaluation.options import EvalOptions
from agenttune.evaluation.predict import ModelPredictor, render_prompts
from agenttune.evaluation.run import run_eval
from agenttune.models.scripted import ScriptedModel
from agenttune.values.case import Case
from agenttune.values.tokens import Completion, SamplingParams

RIGHT = 'Action: add\nAction Input: {"n": 1}'
WRONG = "Final Answer: no"


def predictor(cache: GenerationCache, says: str, adapter: str, cases: list[Case], most: int = 200) -> tuple[ModelPredictor, list[str]]:
    """A predictor of one model, and the prompts that it was asked."""
    asked: list[str] = []

    def reply(prompt: str) -> str:
        asked.append(prompt)
        return says

    model = ScriptedModel(reply)
    template = templates.load("auto", model.tokenizer)
    prompts = render_prompts(cases, template, model.tokenizer).ids
    sampling = SamplingParams(max_new_tokens=most)
    decides = {"adapter": adapter, "suite": "s"}
    return ModelPredictor(model=model, template=template, sampling=sampling, prompts=prompts, cache=cache, decides=decides), asked


def test_a_second_run_in_another_folder_asks_nothing(tmp_path: Path, cases: Callable[..., list[Case]]) -> None:
    reports = []
    for run, calls in (("one", 6), ("two", 0)):
        cache = GenerationCache(tmp_path / "said.sqlite")
        predict, asked = predictor(cache, RIGHT, "a", cases())
        reports.append(evaluate(cases(), judged_by(predict), suite="s", meta={}, out=tmp_path / run, batch_size=4))
        assert (len(asked), predict.work.generated, predict.work.from_cache) == (calls, calls, 6 - calls)
        cache.close()
    assert reports[0] == reports[1]
    assert (tmp_path / "one" / "cases.jsonl").read_bytes() == (tmp_path / "two" / "cases.jsonl").read_bytes()


def test_two_adapters_of_one_name_say_two_things(tmp_path: Path, cases: Callable[..., list[Case]]) -> None:
    cache = GenerationCache(tmp_path / "said.sqlite")
    first, _ = predictor(cache, RIGHT, "contents 1", cases())
    second, asked = predictor(cache, WRONG, "contents 2", cases())
    assert {step.raw for step in first(cases())} == {RIGHT}
    assert {step.raw for step in second(cases())} == {WRONG}
    assert len(asked) == 6
    assert {step.raw for step in first(cases())} == {RIGHT}
    cache.close()


@pytest.mark.parametrize("change", [{"most": 100}, {"constrain": True}, {"suite": "t"}])
def test_whatever_decides_a_reply_asks_again(change: dict[str, Any], tmp_path: Path, cases: Callable[..., list[Case]]) -> None:
    cache = GenerationCache(tmp_path / "said.sqlite")
    predict, _ = predictor(cache, RIGHT, "a", cases())
    predict(cases())
    other, asked = predictor(cache, RIGHT, "a", cases(), most=change.get("most", 200))
    if "suite" in change:
        other = replace(other, decides={"adapter": "a", "suite": "t"})
    if "constrain" in change:
        other = replace(other, constrain=True)
    other(cases())
    assert len(asked) == 6
    cache.close()


def said(number: int, size: int = 5000) -> dict[str, Completion]:
    return {key_of_prompt({}, [number]): Completion(token_ids=(number,), text="x" * size, stop="stop")}


def test_it_is_bounded_and_what_was_used_longest_ago_goes(tmp_path: Path) -> None:
    cache = GenerationCache(tmp_path / "said.sqlite", most=200_000)
    keep = key_of_prompt({}, [0])
    for number in range(80):
        cache.get([keep])  # used all the time
        cache.put(said(number))
    assert cache.bytes <= 200_000
    assert cache.get([keep]).keys() == {keep}
    assert not cache.get([key_of_prompt({}, [1])])
    newest = key_of_prompt({}, [79])
    assert cache.get([newest])[newest] == said(79)[newest]
    cache.close()


def test_two_processes_may_share_the_file(tmp_path: Path) -> None:
    one, two = GenerationCache(tmp_path / "said.sqlite"), GenerationCache(tmp_path / "said.sqlite")
    one.put(said(1))
    two.put(said(2))
    keys = [*said(1), *said(2)]
    assert one.get(keys).keys() == two.get(keys).keys() == set(keys)
    assert len(one.get([f"{number}" for number in range(2000)])) == 0  # more keys than one query may have
    one.close()
    two.close()


def test_a_damaged_file_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "said.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(UserError, match=r"said.sqlite cannot be used .*--no-cache"):
        GenerationCache(tmp_path / "said.sqlite")
    (tmp_path / "a file").touch()
    with pytest.raises(UserError, match="cannot be used"):
        GenerationCache(tmp_path / "a file" / "said.sqlite")


def test_a_run_of_a_model_is_taken_from_the_cache(
    tiny_model: Path, make_lora: Callable[[Path, int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTTUNE_CACHE", str(tmp_path / "cache"))
    adapter = make_lora(tmp_path / "adapter", 1)

    def run(name: str, **more: Any) -> dict[str, Any]:
        asked = {"suite": "desk:dev", "model": str(tiny_model), "adapter": str(adapter), "limit": 2, "max_new_tokens": 6}
        run_eval(EvalOptions(out=tmp_path / name, device="cpu", dtype="float32", **{**asked, **more}))
        found: dict[str, Any] = json.loads((tmp_path / name / "usage.json").read_text())
        return found

    first, second = run("one"), run("two")
    assert (first["generated"], first["from_cache"]) == (2, 0)
    assert (second["generated"], second["forward_passes"], second["from_cache"]) == (0, 0, 2)
    make_lora(adapter, 2)  # another adapter under the same name
    assert run("three")["generated"] == 2
    assert run("four", no_cache=True)["generated"] == 2
    with contextlib.closing(sqlite3.connect(tmp_path / "cache" / "generations.sqlite")) as file:
        assert file.execute("SELECT COUNT(*) FROM said").fetchone() == (4,)
    outputs = [(tmp_path / name / "cases.jsonl").read_bytes() for name in ("one", "two", "three", "four")]
    assert outputs[0] == outputs[1] != outputs[2] == outputs[3]
