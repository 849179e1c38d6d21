"""Checks in the loop: the same loss and the same judge as elsewhere, the best kept, an early end, and a training that does not notice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from agenttune.config import TrainConfig
from agenttune.errors import UserError
from agenttune.models.card import read_card
from agenttune.training import train_log, validation
from agenttune.training.best_checkpoint import CheckCallback
from agenttune.training.events import Checked, Notice, Saved, TrainingEvent
from agenttune.training.train import train
from agenttune.training.validation import better

Make = Callable[..., TrainConfig]


def run(config: TrainConfig, *, resume: bool = False, hear: Callable[[TrainingEvent], None] = lambda _: None) -> list[TrainingEvent]:
    events: list[TrainingEvent] = []

    def say(event: TrainingEvent) -> None:
        events.append(event)
        hear(event)

    train(config, resume=resume, events=say)
    return events


def checks(folder: str | Path) -> list[dict[str, Any]]:
    return train_log.read_checks(Path(folder), 10**9)


def losses(folder: str | Path) -> list[float]:
    return [one["loss"] for one in train_log.read_log(Path(folder), 10**9)]


def weights(folder: str | Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    found: dict[str, torch.Tensor] = load_file(Path(folder) / "adapter_model.safetensors")
    return found


@pytest.mark.parametrize("pack", ["share", "none"])
def test_the_held_out_loss_is_the_loss_of_training_on_it(pack: str, run_config: Make, samples_file: Path) -> None:
    """Nothing is learnt at rate zero, and a step holds all samples: both losses are of the same weights and tokens."""
    accumulation = 16 if pack == "none" else 4
    trainer = {"max_steps": 2, "learning_rate": 0.0, "gradient_accumulation_steps": accumulation}
    config = run_config(pack=pack, weights={"thought": 0.25}, check={"data": str(samples_file), "every": 1}, trainer=trainer)
    events = run(config)
    found = [one["check"]["loss"] for one in checks(config.output)]
    assert len(found) == 2
    assert found == pytest.approx(losses(config.output), rel=1e-5)
    said = [one for one in events if isinstance(one, Checked)]
    assert [(one.step, one.total, one.cases, one.best) for one in said] == [(1, 2, 0, True), (2, 2, 0, False)]


def test_cases_are_judged_as_the_evaluation_judges_them(run_config: Make, samples_file: Path, tmp_path: Path) -> None:
    """A model that has learnt its samples by heart: the check counts what `agenttune eval` counts with the adapter that is saved."""
    from agenttune.evaluation.options import EvalOptions
    from agenttune.evaluation.run import run_eval

    told = {"suite": str(samples_file), "cases": 12, "every": 60, "keep_best": False}
    config = run_config(method="full", check=told, trainer={"max_steps": 120, "learning_rate": 1e-2, "save_strategy": "no"})
    run(config)
    last = checks(config.output)[-1]["check"]
    run_eval(EvalOptions(suite=str(samples_file), model=config.output, out=tmp_path / "eval", device="cpu", dtype="float32", limit=12))
    judged = [json.loads(line) for line in (tmp_path / "eval" / "cases.jsonl").read_text().splitlines()]
    assert last["cases"] == len(judged) == 12
    assert last["right"] == sum(one["reason"] == "ok" for one in judged)
    assert last["right"] >= 3  # else this says nothing
    for metric in ("valid", "tool", "call", "abstained"):
        values = [one[metric] for one in judged if one[metric] is not None]
        assert last.get(metric, [0, 0]) == [sum(values), len(values)]


def test_a_run_that_is_checked_trains_as_one_that_is_not(run_config: Make, samples_file: Path, tmp_path: Path) -> None:
    """With dropout, so that a draw from the generator would show."""
    lora, trainer = {"r": 4, "alpha": 8, "dropout": 0.2}, {"max_steps": 6, "bf16": True, "gradient_checkpointing": True}
    plain = run_config(output=str(tmp_path / "plain"), lora=lora, trainer=trainer)
    told = {"data": str(samples_file), "suite": str(samples_file), "cases": 3, "every": 2, "max_new_tokens": 4, "keep_best": False}
    watched = run_config(output=str(tmp_path / "watched"), lora=lora, trainer=trainer, check=told)
    run(plain)
    run(watched)
    assert losses(watched.output) == losses(plain.output)
    one, other = weights(plain.output), weights(watched.output)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert [found["step"] for found in checks(watched.output)] == [2, 4, 6]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[int]], None]:
    """``scripted([3, 5, 4])`` lets the checks find so many of ten cases right, in turn."""

    def script(right: list[int]) -> None:
        told: Iterator[int] = iter(right)
        monkeypatch.setattr(validation, "run_check", lambda *_: {"cases": 10, "right": next(told)})

    return script


def test_the_best_check_is_kept_and_the_run_ends_when_nothing_gets_better(
    scripted: Callable[[list[int]], None], run_config: Make, samples_file: Path
) -> None:
    scripted([3, 5, 5, 4, 9])  # the third is no better than the second, nor the fourth; the fifth is never asked
    told = {"suite": str(samples_file), "every": 2, "patience": 2}
    config = run_config(check=told, trainer={"max_steps": 20, "save_steps": 1, "save_total_limit": 100})
    events = run(config)
    out = Path(config.output)
    assert [(one.step, one.right, one.best) for one in events if isinstance(one, Checked)] == [
        (2, 3, True),
        (4, 5, True),
        (6, 5, False),
        (8, 4, False),
    ]
    assert len(losses(out)) == 8
    kept, fourth, eighth = weights(out), weights(out / "checkpoint-4"), weights(out / "checkpoint-8")
    assert all(torch.equal(kept[name], fourth[name]) for name in kept)
    assert not all(torch.equal(kept[name], eighth[name]) for name in kept)
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["steps"], summary["kept"], summary["interrupted"]) == (8, {"step": 4, "cases": 10, "right": 5}, False)
    card = read_card(out)
    assert card is not None
    assert card.data["kept"]["step"] == 4
    assert not list(out.glob("best-*"))
    assert [one.final for one in events if isinstance(one, Saved)][-1]


def test_a_resumed_run_knows_what_was_best(scripted: Callable[[list[int]], None], run_config: Make, samples_file: Path) -> None:
    class Kill(BaseException):
        pass

    def die(event: TrainingEvent) -> None:
        if isinstance(event, Checked) and event.step == 5:
            raise Kill

    scripted([7, 2, 2, 8, 8, 2, 1])  # checks 1 to 5; then those of the resumed run, from step 5 on
    config = run_config(check={"suite": str(samples_file), "every": 1}, trainer={"max_steps": 6, "save_steps": 2})
    with pytest.raises(Kill):
        run(config, hear=die)
    out = Path(config.output)
    assert (out / "best-4").is_dir()
    run(config, resume=True)
    assert [(one["step"], one["check"]["right"]) for one in checks(out)] == [(1, 7), (2, 2), (3, 2), (4, 8), (5, 2), (6, 1)]
    assert json.loads((out / "summary.json").read_text())["kept"]["step"] == 4
    steps = [json.loads(line)["step"] for line in (out / "train_log.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)


def test_a_best_that_finds_no_room_does_not_end_the_run(
    scripted: Callable[[list[int]], None], run_config: Make, samples_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    scripted([1, 2])
    config = run_config(check={"suite": str(samples_file), "every": 1}, trainer={"max_steps": 2, "save_strategy": "no"})
    monkeypatch.setattr(CheckCallback, "save", full)
    events = run(config)
    assert sum("could not be kept" in one.text for one in events if isinstance(one, Notice)) == 2
    assert json.loads((Path(config.output) / "summary.json").read_text())["kept"] == {}
    assert (Path(config.output) / "adapter_model.safetensors").is_file()


def test_better_is_more_right_then_less_loss_then_earlier() -> None:
    assert better({"loss": 9.0}, None)
    assert better({"right": 3, "loss": 2.0}, {"right": 2, "loss": 1.0})
    assert better({"right": 3, "loss": 1.0}, {"right": 3, "loss": 2.0})
    assert not better({"right": 3, "loss": 1.0}, {"right": 3, "loss": 1.0})
    assert not better({"loss": 2.0}, {"loss": 1.0})


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"every": 3}, r"needs data .held-out samples. or suite"),
        ({"suite": "desk", "case": 3}, 'unknown key "check.case" .*did you mean "cases"'),
        ({"suite": "desk", "every": 0}, "check.every in test config must be 1 or more"),
        ({"suite": 3}, "check.suite in test config must be text"),
        ({"suite": "desk", "keep_best": "yes"}, "check.keep_best in test config must be true or false"),
        ("desk", "check in test config must be a table"),
    ],
)
def test_what_is_wrong_in_a_check_is_one_sentence(told: Any, said: str, run_config: Make) -> None:
    with pytest.raises(UserError, match=said):
        run_config(check=told)


def test_held_out_samples_of_another_protocol_end_the_run_before_it_trains(run_config: Make, samples_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text(samples_file.read_text().replace('"protocol": "react"', '"protocol": "hermes"'))
    with pytest.raises(UserError, match="protocol react and the data holds samples of hermes"):
        run(run_config(check={"data": str(other)}))


def test_a_suite_that_is_not_there_ends_the_run_before_it_trains(run_config: Make) -> None:
    config = run_config(check={"suite": "dusk"})
    with pytest.raises(UserError, match=r'no suite or file "dusk" .did you mean "desk"'):
        run(config)
    assert not Path(config.output).exists()


@pytest.mark.slow
def test_ranks_share_the_cases_and_the_loss(run_config: Make, samples_file: Path, tmp_path: Path, ranks: Any) -> None:
    """Under DDP each rank judges its part, under ZeRO-3 all make the same passes; the counts are those of one process."""
    told = {"data": str(samples_file), "suite": str(samples_file), "cases": 7, "every": 20, "max_new_tokens": 40}
    trainer = {"max_steps": 40, "learning_rate": 3e-3, "save_strategy": "no"}
    one = run_config(output=str(tmp_path / "one"), method="full", check=told, trainer={**trainer, "gradient_accumulation_steps": 2})
    run(one)
    names = {"ddp": {}, "zero3": {"deepspeed": "zero3"}}
    runs = {
        name: run_config(output=str(tmp_path / name), method="full", check=told, trainer={**trainer, **more})
        for name, more in names.items()
    }
    packed = run_config(output=str(tmp_path / "qlora"), method="qlora", check=told, trainer={**trainer, "deepspeed": "zero3"})
    ranks.series(*runs.values(), packed)
    assert [found["check"]["cases"] for found in checks(packed.output)] == [7, 7]
    first = [found["check"] for found in checks(one.output)]
    for config in runs.values():
        found = [record["check"] for record in checks(config.output)]
        assert [each["loss"] for each in found] == pytest.approx([each["loss"] for each in first], rel=1e-3)
        assert [{**each, "loss": 0} for each in found] == [{**each, "loss": 0} for each in first]
        assert (Path(config.output) / "model.safetensors").stat().st_size == (Path(one.output) / "model.safetensors").stat().st_size
