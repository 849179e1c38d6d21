"""``run.json``: what a continuation must have in common with its beginning, in today's form and in those of before."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from agenttune.config import TrainConfig
from agenttune.errors import UserError
from agenttune.training import output_folder, train_log
from agenttune.training.events import StepLogged, TrainingEvent, TrainingStarted
from agenttune.training.train import train

Make = Callable[..., TrainConfig]
# As a version wrote it before the file had a format number; the hashes are a run's own.
OLD = """{
  "config": {
    "model": %(model)s, "shape": {}, "data": [{"path": %(samples)s, "weight": 1.0}], "output": %(output)s, "adapter": null,
    "protocol": "auto", "template": "auto", "method": "lora",
    "lora": {"r": 4, "alpha": 8, "dropout": 0.0, "targets": "all-linear", "lr_ratio": 1.0}, "weights": {}, "length": 256,
    "pack": "share", "pack_tokens": 1024, "pack_samples": 4, "seed": 0, "device": "cpu", "dtype": "bfloat16", "trust_remote_code": false,
    "trainer": {"max_steps": 6, "learning_rate": 0.01, "save_steps": 2}
  },
  "identity": {
    "data": [[%(data)s, 1.0]], "model": %(base)s, "world": 1, "tokens": %(tokens)s, "packs": %(packs)s,
    "dtype": "bfloat16", "products": %(products)s
  }
}
"""


class Kill(BaseException):
    """Ends a run as a kill does."""


def die_at(step: int) -> Callable[[TrainingEvent], None]:
    def hear(event: TrainingEvent) -> None:
        if isinstance(event, StepLogged) and event.step == step:
            raise Kill

    return hear


def write_old(config: TrainConfig, **changed: object) -> None:
    """The run's file in the old form, with the hashes of the new one."""
    file = Path(config.output) / output_folder.RUN
    identity = json.loads(file.read_text())["identity"]
    found = {
        "model": config.model, "samples": config.data[0].path, "output": config.output, "data": identity["data"][0][0],
        "base": identity["model"], "tokens": identity["tokens"], "packs": identity["packs"], "products": identity["matmul"], **changed,
    }  # fmt: skip
    file.write_text(OLD % {key: json.dumps(value) for key, value in found.items()})


def test_a_run_begun_before_keys_were_renamed_goes_on(run_config: Make, tmp_path: Path) -> None:
    whole, config = (run_config(output=str(tmp_path / name), dtype="bfloat16") for name in ("whole", "parts"))
    train(whole, events=lambda _: None)
    with pytest.raises(Kill):
        train(config, events=die_at(3))
    write_old(config)
    events: list[TrainingEvent] = []
    train(config, resume=True, events=events.append)
    assert next(one for one in events if isinstance(one, TrainingStarted)).step == 2
    assert [one["loss"] for one in train_log.read_log(Path(config.output), 9)] == [
        one["loss"] for one in train_log.read_log(Path(whole.output), 9)
    ]
    identity = json.loads((Path(config.output) / output_folder.RUN).read_text())["identity"]
    assert "matmul" in identity and "products" not in identity


@pytest.mark.parametrize("chosen", [True, False])
def test_what_a_run_measured_is_read_under_its_former_key(chosen: bool, run_config: Make) -> None:
    config = run_config(dtype="bfloat16")
    identity = {"data": [["a", 1.0]], "model": "b", "world": 1, "tokens": "c", "packs": "d", "dtype": "bfloat16", "matmul": chosen}
    Path(config.output).mkdir()
    output_folder.write_run(Path(config.output), config, identity)
    write_old(config)
    assert output_folder.measured_choices(Path(config.output)) == {"dtype": "bfloat16", "matmul": chosen}
    output_folder.check_continues(Path(config.output), config, identity)
    with pytest.raises(UserError, match=r"cannot resume .* matmul has changed"):
        output_folder.check_continues(Path(config.output), config, {**identity, "matmul": not chosen})
