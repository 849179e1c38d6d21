"""A person's files inside a run's folder, during the run, before it goes on and at its end: all are there afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agenttune.config import TrainConfig
from agenttune.owned_folders import MARKER, is_owned
from agenttune.training import checkpoint, output_folder, train_log
from agenttune.training.events import Notice, StepLogged, TrainingEvent, TrainingStarted
from agenttune.training.train import train

Make = Callable[..., TrainConfig]
NOTES = (
    "notes.txt",
    "README.md",
    "checkpoint-notes/a.txt",
    "best-notes/b.txt",
    "checkpoint-/c.txt",
    "best-1/weights.txt",
    "checkpoint-03/d",
)


class Kill(BaseException):
    """Ends a run as a kill does: nothing is tidied up."""


def write_notes(out: Path) -> None:
    for name in NOTES:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text(f"mine: {name}")


def assert_notes(out: Path) -> None:
    assert {name: (out / name).read_text() for name in NOTES} == {name: f"mine: {name}" for name in NOTES}


def at_step(step: int, do: Callable[[], Any]) -> Callable[[TrainingEvent], None]:
    def hear(event: TrainingEvent) -> None:
        if isinstance(event, StepLogged) and event.step == step:
            do()

    return hear


def losses(out: Path) -> list[float]:
    return [one["loss"] for one in train_log.read_log(out, 99)]


def die() -> None:
    raise Kill


@pytest.mark.parametrize("method", ["lora", "full"])
def test_files_that_come_while_it_trains_stay(method: str, run_config: Make, samples_file: Path) -> None:
    """With checks, rotation and a result that all remove folders of the run's own."""
    check = {"data": str(samples_file), "every": 1}
    config = run_config(method=method, check=check, trainer={"max_steps": 5, "save_steps": 1, "save_total_limit": 1})
    out = Path(config.output)
    train(config, events=at_step(1, lambda: write_notes(out)))
    assert_notes(out)
    assert (out / "summary.json").is_file()
    assert [path.name for path in out.glob("checkpoint-[1-9]*")] == ["checkpoint-5"]
    assert [path.name for path in out.glob("best-[0-9]*")] == ["best-1"]  # of the person's; the run's own are gone
    assert not [path for path in out.iterdir() if path.name.endswith(".part") or path.name == MARKER]


def test_a_backup_of_a_checkpoint_ends_neither_the_run_nor_its_continuation(run_config: Make, tmp_path: Path) -> None:
    whole = run_config(output=str(tmp_path / "whole"))
    train(whole, events=lambda _: None)
    config = run_config(trainer={"save_total_limit": 1})
    out = Path(config.output)

    def copy() -> None:
        shutil.copytree(out / "checkpoint-2", out / "checkpoint-2-backup")
        shutil.copytree(out / "checkpoint-2", out / "checkpoint-99")  # not a checkpoint of step 99, whatever it is called
        write_notes(out)

    def hear(event: TrainingEvent) -> None:
        at_step(3, copy)(event)
        at_step(5, die)(event)

    with pytest.raises(Kill):
        train(config, events=hear)
    assert checkpoint.newest_complete(out) == out / "checkpoint-4"
    assert not (out / "checkpoint-2").exists()
    events: list[TrainingEvent] = []
    train(config, resume=True, events=events.append)
    assert next(one for one in events if isinstance(one, TrainingStarted)).step == 4
    assert losses(out) == losses(Path(whole.output))
    for name in ("checkpoint-2-backup", "checkpoint-99"):
        assert (out / name / "optimizer.pt").is_file()
    assert_notes(out)


def test_a_folder_in_the_way_costs_its_checkpoint_only(run_config: Make) -> None:
    config = run_config()
    out = Path(config.output)

    def block() -> None:
        (out / "checkpoint-4").mkdir()
        (out / "checkpoint-4" / "notes.txt").write_text("mine")

    events: list[TrainingEvent] = []

    def hear(event: TrainingEvent) -> None:
        events.append(event)
        at_step(1, block)(event)

    train(config, events=hear)
    (said,) = [one.text for one in events if isinstance(one, Notice)]
    assert said.startswith(f"the checkpoint of step 4 could not be written ({out}/checkpoint-4 is there and was not made by this program)")
    assert [path.name for path in (out / "checkpoint-4").iterdir()] == ["notes.txt"]
    assert checkpoint.newest_complete(out) == out / "checkpoint-6"


def test_a_folder_in_the_way_of_the_best_is_never_the_result(run_config: Make, samples_file: Path) -> None:
    """Here step 1 is checked, best-1 is a person's: the run says so, keeps going, and its result is its own weights."""
    config = run_config(check={"data": str(samples_file), "every": 1}, trainer={"max_steps": 1})
    out = Path(config.output)
    events: list[TrainingEvent] = []

    def hear(event: TrainingEvent) -> None:
        events.append(event)
        if isinstance(event, TrainingStarted):
            (out / "best-1").mkdir()
            (out / "best-1" / "adapter_model.safetensors").write_text("mine")

    summary = train(config, events=hear)
    (said,) = [one.text for one in events if isinstance(one, Notice)]
    assert said.startswith("the best weights, of step 1, could not be kept")
    assert not summary.kept
    assert (out / "best-1" / "adapter_model.safetensors").read_text() == "mine"
    assert (out / "adapter_model.safetensors").stat().st_size > 100


def test_notes_in_a_checkpoint_stay_when_it_goes(run_config: Make) -> None:
    config = run_config(trainer={"save_total_limit": 1})
    out = Path(config.output)
    train(config, events=at_step(3, lambda: (out / "checkpoint-2" / "notes.txt").write_text("mine")))
    assert [path.name for path in (out / "checkpoint-2").iterdir()] == ["notes.txt"]
    assert [path.name for path in (out / "checkpoint-6").glob("*.json")].count("complete.json") == 1


def make_old(out: Path) -> None:
    """The folder as a version without markers would have left it."""
    for folder in [*out.glob("checkpoint-*"), *out.glob("best-*")]:
        (folder / MARKER).unlink()
    text = (out / output_folder.RUN).read_text()
    assert '"format": 2,' in text
    (out / output_folder.RUN).write_text(text.replace('"format": 2,', ""))


def test_a_run_from_before_markers_goes_on(run_config: Make, samples_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its checkpoint is resumed from and rotated, and its kept weights, of the best check, become the result."""
    from safetensors.torch import load_file

    from agenttune.training import validation

    config = run_config(check={"suite": str(samples_file), "every": 2}, trainer={"save_total_limit": 1})
    out = Path(config.output)
    right = iter([2, 5, 3])
    monkeypatch.setattr(validation, "run_check", lambda *_: {"cases": 10, "right": next(right)})
    with pytest.raises(Kill):
        train(config, events=at_step(5, die))
    make_old(out)
    best = load_file(out / "best-4" / "adapter_model.safetensors")
    assert not is_owned(out / "best-4")
    events: list[TrainingEvent] = []
    summary = train(config, resume=True, events=events.append)
    assert next(one for one in events if isinstance(one, TrainingStarted)).step == 4
    assert [path.name for path in out.glob("checkpoint-*")] == ["checkpoint-6"]
    assert summary.kept["step"] == 4
    result = load_file(out / "adapter_model.safetensors")
    assert all(bool((best[name] == result[name]).all()) for name in best)
    assert not list(out.glob("best-*"))
