"""What ends a run from outside is one sentence, made from the errors that the libraries really raise."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from agenttune.config import TrainConfig
from agenttune.errors import UserError
from agenttune.training import train_log
from agenttune.training.failures import as_user_errors, failure_sentence
from agenttune.training.train import train
from agenttune.training.trainer import PackTrainer

Make = Callable[..., TrainConfig]


def test_an_allocation_that_fails_says_what_needs_less(run_config: Make) -> None:
    with pytest.raises(UserError) as caught, as_user_errors(run_config(pack_tokens=4096), lambda: 1500):
        torch.empty(1 << 60, dtype=torch.uint8)
    assert str(caught.value).startswith(
        "out of memory with pack_tokens=4096 (a Pack of 1,500 tokens did fit); less is needed with pack_tokens=1500, "
        "trainer.gradient_checkpointing=true, method=qlora; by agenttune plan a pack of 4,096 tokens needs about "
    )
    qlora = run_config(method="qlora", pack_tokens=4096, trainer={"gradient_checkpointing": True})
    for error in (MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")):
        said = r"out of memory with pack_tokens=4096; less is needed with pack_tokens=2048; by agenttune plan"
        with pytest.raises(UserError, match=said), as_user_errors(qlora):
            raise error


def test_out_of_memory_in_a_step_ends_the_run_and_keeps_its_checkpoints(run_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    step = PackTrainer.training_step

    def full(self: Any, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        if self.state.global_step == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(self, model, inputs, num_items_in_batch)

    monkeypatch.setattr(PackTrainer, "training_step", full)
    config = run_config()
    with pytest.raises(UserError, match=r"out of memory with pack_tokens=1024 \(a Pack of \d+ tokens did fit\)"):
        train(config, events=lambda _: None)
    assert (Path(config.output) / "checkpoint-2" / "complete.json").is_file()


def test_a_port_that_is_taken_is_named(run_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("MASTER_PORT", str(port))
        with pytest.raises(UserError, match=f"port {port} is in use, by another run perhaps"), as_user_errors(run_config()):
            torch.distributed.TCPStore("127.0.0.1", port, 1, is_master=True)


def test_a_lost_process_is_told_only_where_there_are_several(run_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:538] Connection closed by peer [127.0.0.1]:44851")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert failure_sentence(error, run_config(), 0) is None
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert (failure_sentence(error, run_config(), 0) or "").startswith("another process of this run has ended")
    assert (
        failure_sentence(RuntimeError("mat1 and mat2 shapes cannot be multiplied"), run_config(), 0) is None
    )  # a mistake of ours stays one


def test_a_process_that_is_not_the_first_says_which_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from agenttune.cli import main

    monkeypatch.setenv("RANK", "3")
    assert main(["train", "nowhere.yaml"]) == 2
    assert capsys.readouterr().err == "agenttune, process 3: there is no config file nowhere.yaml\n"


def test_a_gradient_that_overflows_ends_a_run_but_not_one_in_float16(run_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under float16 the loss is scaled up until a step overflows and is left out: that is how the scale is found."""
    from transformers import Trainer

    monkeypatch.setattr(Trainer, "_get_grad_norm", lambda *_, **__: float("inf"))
    config = run_config(trainer={"max_steps": 2, "save_steps": 1})
    with pytest.raises(UserError, match=r"the gradient's norm is inf at step 1; no checkpoint was written yet"):
        train(config, events=lambda _: None)
    step = PackTrainer.training_step

    def scaled(self: Any, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        found = step(self, model, inputs, num_items_in_batch)
        self.args.fp16 = True  # this machine has no float16 training
        return found

    monkeypatch.setattr(PackTrainer, "training_step", scaled)
    train(run_config(output=config.output + "16", trainer={"max_steps": 2}), events=lambda _: None)
    assert [one["grad_norm"] for one in train_log.read_log(Path(config.output + "16"), 9)] == [None, None]
