"""`report_to` with the real packages, in an environment of their own: what a run of two steps leaves is read back from their files."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agenttune.config import TrainConfig
from agenttune.errors import UserError
from agenttune.training import train_log
from agenttune.training.events import Notice, TrainingEvent
from agenttune.training.train import train
from tests.benchmarks.peers import environment

Make = Callable[..., TrainConfig]
ROOT = Path(__file__).resolve().parents[2]
LIGHT = ["tensorboard==2.21.0", "wandb==0.31.0", "--constraint", str(ROOT / "constraints.txt")]
TRACKIO = ["trackio==0.43.0"]  # wants an older pillow than ours

TENSORBOARD = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
read = EventAccumulator(sys.argv[1])
read.Reload()
print(json.dumps([[one.step, one.value] for one in read.Scalars("train/loss")]))
"""
# wandb's file is a log in LevelDB's format: a head of seven bytes, then blocks of 32 KiB with records of (checksum, length, kind), where
# kind 1 is whole and 2, 3, 4 are the first, a middle and the last part of one (LevelDB's doc/log_format.md).
WANDB = """
import json, struct, sys
from wandb.proto.wandb_internal_pb2 import Record

def records(data):
    at, whole = 7, b""
    while at + 7 <= len(data):
        _, size, kind = struct.unpack_from("<IHB", data, at)
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        left = 32768 - at % 32768
        at += left if left < 7 else 0
        if kind in (1, 4):
            yield Record.FromString(whole)
            whole = b""

found = []
for record in records(open(sys.argv[1], "rb").read()):
    row = {one.key or "/".join(one.nested_key): json.loads(one.value_json) for one in record.history.item}
    if "train/loss" in row:
        found.append([row["train/global_step"], row["train/loss"]])
print(json.dumps(found))
"""
TRACKIO_READ = """
import json, sqlite3, sys
rows = sqlite3.connect(sys.argv[1]).execute("select metrics from metrics order by id").fetchall()
logged = [json.loads(one) for (one,) in rows]
print(json.dumps([[one["train/global_step"], one["train/loss"]] for one in logged if "train/loss" in one]))
"""
# The program that reads what a package left, and where that lies below the test's folder.
LEFT = {
    "tensorboard": (TENSORBOARD, "out/runs/*"),
    "wandb": (WANDB, "reports/wandb/offline-run-*/run-*.wandb"),
    "trackio": (TRACKIO_READ, "reports/*.db"),
}


@pytest.fixture(scope="module")
def reporters() -> str:
    """A Python that has the three packages."""
    python = environment("reporters", LIGHT, TRACKIO, above_ours=True)
    if python is None:
        pytest.skip("no package index can be reached")
    return python


def reported(ranks: Any, folder: Path) -> dict[str, str]:
    """Nothing is sent anywhere, and nothing lands outside `folder`."""
    folder.mkdir(exist_ok=True)
    where = {"WANDB_DIR": str(folder), "WANDB_MODE": "offline", "TRACKIO_DIR": str(folder), "HOME": str(folder)}
    found: dict[str, str] = ranks.environment(**where)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", LEFT)
def test_what_a_run_reports_is_in_the_packages_own_files(name: str, run_config: Make, tmp_path: Path, ranks: Any, reporters: str) -> None:
    config = run_config(trainer={"max_steps": 2, "report_to": name})
    there = reported(ranks, tmp_path / "reports")
    line = [reporters, "-m", "agenttune", "train", ranks.config(config)]
    done = subprocess.run(line, env=there, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"adapter: {config.output}" in done.stdout.splitlines()
    read, place = LEFT[name]
    (file,) = tmp_path.glob(place)
    back = subprocess.run([reporters, "-c", read, str(file)], env=there, capture_output=True, text=True, timeout=120)
    assert back.returncode == 0, back.stderr[-3000:]
    logged = [[one["step"], one["loss"]] for one in train_log.read_log(Path(config.output), 9)]
    assert [step for step, _ in logged] == [1, 2]
    found = json.loads(back.stdout)
    assert [step for step, _ in found] == [1, 2]
    assert [loss for _, loss in found] == pytest.approx([loss for _, loss in logged], rel=1e-6)


@pytest.mark.slow
def test_a_package_that_cannot_begin_is_one_sentence(run_config: Make, tmp_path: Path, ranks: Any, reporters: str) -> None:
    """wandb where nobody has logged in, and no terminal to ask at."""
    config = run_config(trainer={"max_steps": 2, "report_to": "wandb"})
    there = {**reported(ranks, tmp_path / "reports"), "WANDB_MODE": "online"}
    line = [reporters, "-m", "agenttune", "train", ranks.config(config)]
    done = subprocess.run(line, env=there, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("agenttune: trainer.report_to: wandb could not begin: No API key configured")
    assert "Traceback" not in done.stderr
    assert not list(Path(config.output).glob("*.safetensors"))


def reporter(monkeypatch: pytest.MonkeyPatch, fails: str) -> list[str]:
    """A reporter in trackio's place that fails at one event; the list of events it was told of."""
    from transformers import TrainerCallback, integrations
    from transformers.integrations import integration_utils

    told: list[str] = []

    class Failing(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.at("made")

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.at("on_train_begin")

        def on_log(self, *_: Any, **__: Any) -> None:
            self.at("on_log")

        def at(self, event: str) -> None:
            told.append(event)
            if event == fails:
                raise ValueError("no route\nto the server")

    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "trackio", Failing)
    monkeypatch.setattr(integrations, "get_available_reporting_integrations", lambda: ["trackio"])
    return told


def test_a_reporter_that_fails_on_the_way_costs_nothing_but_itself(run_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    told = reporter(monkeypatch, "on_log")
    events: list[TrainingEvent] = []
    config = run_config(trainer={"max_steps": 3, "report_to": "trackio"})
    train(config, events=events.append)
    said = [one.text for one in events if isinstance(one, Notice)]
    assert said == ["trackio could not be told any more (no route to the server); the run goes on without it"]
    assert told == ["made", "on_train_begin", "on_log"]
    assert len(train_log.read_log(Path(config.output), 9)) == 3


@pytest.mark.parametrize("fails", ["made", "on_train_begin"])
def test_a_reporter_that_cannot_begin_ends_the_run_before_its_first_step(
    run_config: Make, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    reporter(monkeypatch, fails)
    config = run_config(trainer={"max_steps": 3, "report_to": "trackio"})
    with pytest.raises(UserError, match=r"trainer.report_to: trackio could not begin: no route to the server"):
        train(config, events=lambda _: None)
    assert not list(Path(config.output).glob("checkpoint-*"))


def test_a_package_that_is_missing_is_told_before_anything_is_read(
    run_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import integrations

    from agenttune.cli import main
    from agenttune.config import config_to_json

    monkeypatch.setattr(integrations, "get_available_reporting_integrations", list)
    for name in LEFT:
        path = tmp_path / f"{name}.yaml"
        path.write_text(json.dumps(config_to_json(run_config(model="nowhere", data="nowhere.jsonl", trainer={"report_to": name}))))
        assert main(["train", str(path)]) == 2
        assert capsys.readouterr().err == f"agenttune: trainer.report_to is {name}, which is not installed: pip install {name}\n"
        assert not (tmp_path / "out").exists()
