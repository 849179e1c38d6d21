"""A whole run on a tiny model: what it leaves, that it goes on exactly where it stopped, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from agenttune.config import TrainConfig
from agenttune.errors import UserError
from agenttune.models.card import read_card
from agenttune.owned_folders import make_owned
from agenttune.training import checkpoint, output_folder, train_log, trainer
from agenttune.training.events import Notice, Saved, StepLogged, TrainingEvent, TrainingFinished, TrainingStarted
from agenttune.training.train import train

Make = Callable[..., TrainConfig]


def run(config: TrainConfig, *, resume: bool = False, hear: Callable[[TrainingEvent], None] | None = None) -> list[TrainingEvent]:
    events: list[TrainingEvent] = []

    def say(event: TrainingEvent) -> None:
        events.append(event)
        if hear is not None:
            hear(event)

    train(config, resume=resume, events=say)
    return events


def losses(folder: str | Path) -> list[float]:
    return [one["loss"] for one in train_log.read_log(Path(folder), 10**9)]


def weights(folder: str | Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    found: dict[str, torch.Tensor] = load_file(next(iter(sorted(Path(folder).glob("*.safetensors")))))
    return found


def interrupt_at(step: int) -> Callable[[TrainingEvent], None]:
    """A person who presses Ctrl-C when this step is shown."""

    def hear(event: TrainingEvent) -> None:
        if isinstance(event, StepLogged) and event.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    return hear


def test_a_run_leaves_an_adapter_with_card_log_plot_and_summary(run_config: Make, capfd: pytest.CaptureFixture[str]) -> None:
    config = run_config(trainer={"max_steps": 8, "gradient_accumulation_steps": 2})
    events = run(config)
    assert capfd.readouterr() == ("", "")  # verbs yield events; nothing prints
    out = Path(config.output)
    started = next(one for one in events if isinstance(one, TrainingStarted))
    assert (started.samples, started.packs, started.steps, started.step, started.epochs) == (16, 4, 8, 0, 4.0)
    assert started.pack == "share"
    assert started.tokens_computed < 0.75 * started.tokens_total
    steps = [one for one in events if isinstance(one, StepLogged)]
    assert [one.step for one in steps] == list(range(1, 9))
    assert steps[-1].loss < steps[0].loss - 0.05
    assert steps[-1].seconds_left == 0
    assert isinstance(events[-1], TrainingFinished)
    assert [one.final for one in events if isinstance(one, Saved)][-1]

    summary = json.loads((out / "summary.json").read_text())
    assert summary["samples"] == 8 * 8  # eight steps of two Packs of four
    assert summary["tokens_total"] == 4 * started.tokens_total
    assert summary["tokens_computed"] == 4 * started.tokens_computed
    assert summary["tokens_supervised"] == 4 * started.tokens_supervised
    assert summary["tokens_total"] == summary["tokens_computed"] + sum(summary["saved"].values())
    assert summary["loss_first"] == pytest.approx(steps[0].loss, abs=1e-6)
    assert summary["loss_last"] == pytest.approx(steps[-1].loss, abs=1e-6)
    assert (summary["rejected_too_long"], summary["dtype"], summary["device"], summary["interrupted"]) == (0, "float32", "cpu", False)
    assert {"torch", "transformers", "peft"} <= summary["versions"].keys()
    assert 0 < summary["seconds"] < 60
    assert summary["peak_rss_mb"] > 100
    assert len(losses(out)) == 8

    card = read_card(out)
    assert card is not None
    assert (card.base, card.protocol, card.template, card.method, card.length) == (config.model, "react", "auto", "lora", 256)
    assert card.stops == ("<|im_end|>",)
    assert card.config["lora"]["r"] == 4
    assert card.data["files"][0]["sha256"] == checkpoint_hash(config)
    assert (out / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert not list(out.rglob("training_args.bin"))


def checkpoint_hash(config: TrainConfig) -> str:
    from agenttune.files import file_hash

    return file_hash(config.data[0].path)


def test_the_adapter_loads_and_speaks_as_it_was_trained(run_config: Make) -> None:
    from agenttune import models

    config = run_config()
    run(config)
    tuned = models.load(config.model, adapter=config.output, device="cpu", dtype="float32")
    base = models.load(config.model, device="cpu", dtype="float32")
    ids = torch.arange(20)[None]
    with torch.no_grad():
        assert not torch.allclose(tuned.hf(input_ids=ids).logits, base.hf(input_ids=ids).logits, atol=1e-3)
    assert tuned.fingerprint == base.fingerprint


@pytest.mark.parametrize(("method", "ratio"), [("lora", 1.0), ("lora", 8.0), ("full", 1.0)])
def test_a_resumed_run_is_the_uninterrupted_run(method: str, ratio: float, run_config: Make, tmp_path: Path) -> None:
    """Seven steps over epochs of two and a bit; Ctrl-C at step 3; on CPU in float32 every loss and weight is the same."""
    trainer = {"max_steps": 7, "gradient_accumulation_steps": 2, "save_steps": 100, "warmup_steps": 2}
    lora = {"r": 4, "alpha": 8, "lr_ratio": ratio}
    whole = run_config(output=str(tmp_path / "whole"), method=method, lora=lora, trainer=trainer, pack_samples=3)
    run(whole)
    parts = run_config(output=str(tmp_path / "parts"), method=method, lora=lora, trainer=trainer, pack_samples=3)
    events = run(parts, hear=interrupt_at(3))
    summary = next(one.summary for one in events if isinstance(one, TrainingFinished))
    assert summary.interrupted
    assert any(isinstance(one, Notice) and "checkpoint is saved" in one.text for one in events)
    assert [one.path for one in events if isinstance(one, Saved)] == [str(tmp_path / "parts" / "checkpoint-3")]
    assert not (tmp_path / "parts" / "summary.json").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    events = run(parts, resume=True)
    assert next(one for one in events if isinstance(one, TrainingStarted)).step == 3
    assert losses(parts.output) == losses(whole.output)
    assert len(losses(whole.output)) == 7
    one, other = weights(whole.output), weights(parts.output)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_killed_run_goes_on_from_the_newest_complete_checkpoint(run_config: Make, tmp_path: Path) -> None:
    class Kill(BaseException):
        pass

    def die(event: TrainingEvent) -> None:
        if isinstance(event, StepLogged) and event.step == 5:
            raise Kill

    whole = run_config(output=str(tmp_path / "whole"))
    run(whole)
    config = run_config(output=str(tmp_path / "killed"))
    with pytest.raises(Kill):
        run(config, hear=die)
    out = Path(config.output)
    make_owned(out / "checkpoint-5")  # as if it had died while writing it
    shutil.copy(out / "checkpoint-4" / "adapter_model.safetensors", out / "checkpoint-5")
    assert checkpoint.newest_complete(out) == out / "checkpoint-4"
    events = run(config, resume=True)
    assert next(one for one in events if isinstance(one, TrainingStarted)).step == 4
    assert not (out / "checkpoint-5").exists()
    assert losses(out) == losses(whole.output)


@pytest.mark.parametrize(("harm", "said"), [("gone", "lacks optimizer.pt"), ("cut", "holds only a part of optimizer.pt")])
def test_a_part_of_a_checkpoint_is_not_taken_for_the_whole(harm: str, said: str, run_config: Make) -> None:
    """Without the optimizer's state it would go on, to other weights."""
    config = run_config(trainer={"max_steps": 4, "save_steps": 2})
    run(config)
    out = Path(config.output)
    (out / "summary.json").unlink()
    state = out / "checkpoint-4" / "optimizer.pt"
    if harm == "gone":
        state.unlink()
    else:
        state.write_bytes(state.read_bytes()[:-1])
    with pytest.raises(UserError, match=f"checkpoint-4 {said}; put it back, or remove that folder"):
        run(config, resume=True)
    shutil.rmtree(out / "checkpoint-4")
    assert next(one for one in run(config, resume=True) if isinstance(one, TrainingStarted)).step == 2


def test_a_run_that_died_before_its_first_checkpoint_starts_over(run_config: Make) -> None:
    config = run_config(trainer={"save_steps": 100})
    out = Path(config.output)
    with output_folder.claim(out, config, resume=False):
        pass
    events = run(config, resume=True)
    assert any(isinstance(one, Notice) and "starts over" in one.text for one in events)
    assert (out / "summary.json").exists()


def test_old_checkpoints_go_only_when_a_newer_one_is_complete(run_config: Make) -> None:
    config = run_config(trainer={"max_steps": 6, "save_steps": 1, "save_total_limit": 2})
    kept: list[int] = []

    def count(event: TrainingEvent) -> None:
        if isinstance(event, Saved) and not event.final:
            kept.append(len(list(Path(config.output).glob(f"checkpoint-*/{checkpoint.COMPLETE}"))))

    run(config, hear=count)
    assert kept == [1, 2, 2, 2, 2, 2]
    assert checkpoint.newest_complete(Path(config.output)) == Path(config.output) / "checkpoint-6"


def test_a_full_disk_costs_the_checkpoint_and_not_the_run(run_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trainer, "save_weights", full)
    config = run_config(trainer={"max_steps": 3, "save_steps": 2})
    events = run(config)
    assert next(one.text for one in events if isinstance(one, Notice)).startswith("the checkpoint of step 2 could not be written")
    assert not (Path(config.output) / "checkpoint-2").exists()
    assert (Path(config.output) / "adapter_model.safetensors").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 1}, "seed was 0 and is 1 now"),
        ({"lora": {"r": 8, "alpha": 8}}, "lora.r was 4 and is 8 now"),
        ({"trainer": {"learning_rate": 1e-3}}, "trainer.learning_rate was 0.01 and is 0.001 now"),
    ],
)
def test_another_config_is_not_resumed(changes: dict[str, Any], said: str, run_config: Make) -> None:
    run(run_config(), hear=interrupt_at(2))
    with pytest.raises(UserError, match=said):
        run(run_config(**changes), resume=True)


def test_changed_data_is_not_resumed(run_config: Make, samples_file: Path) -> None:
    run(run_config(), hear=interrupt_at(2))
    samples_file.write_text(samples_file.read_text().replace("3 degrees", "4 degrees"))
    with pytest.raises(UserError, match="the data files have changed"):
        run(run_config(), resume=True)


def test_saving_more_often_is_not_another_run(run_config: Make) -> None:
    run(run_config(), hear=interrupt_at(2))
    run(run_config(trainer={"save_steps": 1}), resume=True)


def test_folders_of_others_finished_runs_and_running_ones_are_refused(run_config: Make, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="holds something else"):
        run(run_config(output=str(tmp_path / "mine")))
    assert [one.name for one in (tmp_path / "mine").iterdir()] == ["letter.txt"]
    with pytest.raises(UserError, match="is a file"):
        run(run_config(output=str(tmp_path / "mine" / "letter.txt")))
    with pytest.raises(UserError, match="no run to resume"):
        run(run_config(), resume=True)
    config = run_config(trainer={"max_steps": 1})
    run(config)
    for resume in (False, True):
        with pytest.raises(UserError, match="is finished; train it further with adapter="):
            run(config, resume=resume)
    other = run_config(output=str(tmp_path / "other"), trainer={"max_steps": 3})
    run(other, hear=interrupt_at(1))
    with pytest.raises(UserError, match="unfinished run; go on with --resume"):
        run(other)
    with output_folder.claim(tmp_path / "other", other, resume=True), pytest.raises(UserError, match="another run is writing"):
        run(other, resume=True)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_checkpoint(run_config: Make) -> None:
    config = run_config(trainer={"max_steps": 8, "save_steps": 1, "max_grad_norm": 0.0, "learning_rate": 1e30})
    with pytest.raises(UserError, match=r"at step [23].*last good checkpoint is .*checkpoint-[12].*lower trainer.learning_rate"):
        run(config)
    newest = checkpoint.newest_complete(Path(config.output))
    assert newest is not None
    assert all(bool(torch.isfinite(one).all()) for one in weights(newest).values())
    assert not (Path(config.output) / "adapter_model.safetensors").exists()


def test_a_loss_that_is_no_number_names_its_samples(run_config: Make) -> None:
    """Weights that overflow in the forward pass: the sentence says which samples were in the Pack."""
    config = run_config(trainer={"max_steps": 8, "max_grad_norm": 0.0, "learning_rate": 1e30})
    with pytest.raises(UserError, match=r"the loss is (nan|inf) at step \d \(samples: s\d+, s\d+"):
        run(config)


def test_a_resumed_run_keeps_the_number_format_that_the_run_chose(run_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """`dtype: auto` is a measurement: a machine that is busy when the run goes on must not turn it into another run."""
    from agenttune.training import prepare

    measured = iter([torch.bfloat16, torch.float32])
    monkeypatch.setattr(prepare, "pick_dtype", lambda name, device: next(measured))
    config = run_config(dtype="auto")
    events = run(config, hear=interrupt_at(2))
    assert next(one for one in events if isinstance(one, TrainingStarted)).dtype == "bfloat16"
    events = run(config, resume=True)
    assert next(one for one in events if isinstance(one, TrainingStarted)).dtype == "bfloat16"
    assert next(measured) is torch.float32  # nobody measured again


@pytest.mark.parametrize("before", [True, False])
def test_a_resumed_run_attends_as_it_began(before: bool, run_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether bfloat16 runs by matrix products is measured too; a continuation that measures the other way takes the first one's path."""
    from agenttune.training.kernels import attention, attention_matmul

    whole, parts = (run_config(output=str(tmp_path / name), dtype="bfloat16") for name in ("whole", "parts"))
    monkeypatch.setattr(attention_matmul, "pays", lambda _: before)
    run(whole)
    run(parts, hear=interrupt_at(3))
    monkeypatch.setattr(attention_matmul, "pays", lambda _: not before)
    taken: list[bool] = []
    products = attention_matmul.matmul_tree_attention
    kernel = "flash_tree_attention"
    plain = getattr(attention.attention_cpu, kernel)
    monkeypatch.setattr(attention_matmul, "matmul_tree_attention", lambda *given: (taken.append(True), products(*given))[1])
    monkeypatch.setattr(attention.attention_cpu, kernel, lambda *given: (taken.append(False), plain(*given))[1])
    events = run(parts, resume=True)
    assert set(taken) == {before}
    assert ("by matrix products" in next(one for one in events if isinstance(one, TrainingStarted)).attention) == before
    assert losses(parts.output) == losses(whole.output)
    one, other = weights(whole.output), weights(parts.output)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_from_before_the_choice_was_written_down_is_resumed(run_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    config = run_config(dtype="bfloat16")
    run(config, hear=interrupt_at(2))
    marked = Path(config.output) / output_folder.RUN
    plain = json.loads(marked.read_text())
    assert isinstance(plain["identity"].pop("matmul"), bool)
    assert plain["config"]["lora"].pop("lr_ratio") == 1
    marked.write_text(json.dumps(plain))
    run(config, resume=True)
    assert isinstance(json.loads(marked.read_text())["identity"]["matmul"], bool)


def test_what_a_killed_write_left_is_nobody_elses(run_config: Make) -> None:
    out = Path(run_config().output)
    out.mkdir()
    (out / ".run.json.x7.part").write_text("{")
    run(run_config(trainer={"max_steps": 1}))
    assert (out / "summary.json").exists()


def test_another_template_or_number_of_processes_is_not_resumed(run_config: Make, model_folder: Path, tmp_path: Path) -> None:
    model = shutil.copytree(model_folder, tmp_path / "model")
    run(run_config(model=str(model)), hear=interrupt_at(2))
    template = model / "chat_template.jinja"
    before = template.read_text()
    template.write_text(before.replace("<|im_end|>\n", "<|im_end|>"))
    with pytest.raises(UserError, match=r"the samples render to other tokens .template, tokenizer or protocol have changed"):
        run(run_config(model=str(model)), resume=True)
    template.write_text(before)
    begun = Path(run_config().output) / output_folder.RUN
    begun.write_text(begun.read_text().replace('"world": 1', '"world": 2'))
    with pytest.raises(UserError, match="the number of processes has changed"):
        run(run_config(model=str(model)), resume=True)
