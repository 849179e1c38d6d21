"""Ends that nobody announced: kill -9 at random moments, a full disk, a rank that dies. What is left goes on, or says why not."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from agenttune.config import TrainConfig
from agenttune.training import checkpoint, failures, output_folder, train_log
from agenttune.training.events import Notice, Saved, StepLogged, TrainingEvent
from agenttune.training.train import train

Make = Callable[..., TrainConfig]
KILLS = 20 if os.environ.get("AGENTTUNE_PROVE") else 4

# Imports once, then forks each attempt, so that a kill costs no imports. Every attempt but the last of a run is killed: a quarter of them
# before the first step, the others a random number of steps after it (counted, so that a busy machine changes nothing) and a random part
# of a step later. Prints, as JSON, the step each attempt began at.
KILLER = """
import json, os, random, signal, sys, time
from pathlib import Path
from agenttune.config import config_from
from agenttune.training.events import StepLogged, TrainingStarted
from agenttune.training.train import train
from agenttune.training import best_checkpoint, callbacks, prepare, result, steps, trainer, validation

whole, parts = (json.loads(open(path).read()) for path in sys.argv[1:3])
kills = int(sys.argv[3])
draw = random.Random(7)

def attempt(plain, resume):
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        def hear(event):
            if isinstance(event, (TrainingStarted, StepLogged)):
                os.write(write, f"{event.step}\\n".encode())
        try:
            train(config_from(plain, "killed"), resume=resume, events=hear)
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    os.close(write)
    return pid, os.fdopen(read), time.monotonic()

def begun(read):
    return int(read.readline())

pid, read, at = attempt(whole, False)
begun(read)
startup = time.monotonic() - at
assert os.waitpid(pid, 0)[1] == 0
step = (time.monotonic() - at - startup) / 30

out, killed, began, rounds = Path(parts["output"]), 0, [], 1
while True:
    pid, read, at = attempt(parts, (out / "run.json").exists())
    if killed < kills:
        if draw.random() < 0.25:
            time.sleep(draw.uniform(0, startup))
        else:
            began.append(begun(read))
            for _ in range(draw.randrange(1, 20)):
                read.readline()  # "" at the end of a run that was done before
            time.sleep(draw.uniform(0, step))
        os.kill(pid, signal.SIGKILL)
        read.close()
        if os.waitpid(pid, 0)[1] == signal.SIGKILL:
            killed += 1
            continue
        assert (out / "summary.json").exists()  # it was done before the kill came: once more, in another folder
        rounds += 1
        out = out.with_name(f"parts{rounds}")
        parts = {**parts, "output": str(out)}
        continue
    began.append(begun(read))
    assert os.waitpid(pid, 0)[1] == 0
    break
print(json.dumps({"killed": killed, "began": began, "rounds": rounds}))
"""


def losses(folder: str | Path) -> list[float]:
    return [one["loss"] for one in train_log.read_log(Path(folder), 10**9)]


def weights(folder: str | Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    found: dict[str, torch.Tensor] = load_file(Path(folder) / "adapter_model.safetensors")
    return found


def same(one: str | Path, other: str | Path) -> None:
    assert losses(other) == losses(one)
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_is_the_uninterrupted_run(
    run_config: Make, samples_file: Path, tmp_path: Path, ranks: Any
) -> None:
    """Dropout draws from the generator, epochs are shuffled, Packs accumulate, checks keep the best: all of it goes on to the bit."""
    told = {"data": str(samples_file), "every": 4}
    trainer = {"max_steps": 30, "save_steps": 2, "gradient_accumulation_steps": 3, "learning_rate": 3e-3, "warmup_steps": 5}
    lora = {"r": 4, "alpha": 8, "dropout": 0.1}
    both = [run_config(output=str(tmp_path / name), pack_samples=2, lora=lora, check=told, trainer=trainer) for name in ("whole", "parts")]
    paths = [ranks.config(one, Path(one.output).name) for one in both]
    command = [sys.executable, "-c", KILLER, *paths, str(KILLS)]
    done = subprocess.run(command, env=ranks.environment(), capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    print(found)
    assert found["killed"] == KILLS
    assert sum(step > 0 for step in found["began"]) >= KILLS // 4
    folders = [tmp_path / "parts", *(tmp_path / f"parts{number}" for number in range(2, found["rounds"] + 1))]
    assert len(losses(both[0].output)) == 30
    for folder in folders:
        same(both[0].output, folder)
        assert train_log.read_checks(folder, 99) == train_log.read_checks(Path(both[0].output), 99)


class Disk:
    """A person at a disk that is full from one step on; room is made when the run has said that it lacks it."""

    def __init__(self, out: Path, at: int, fill: Callable[[], None], free: Callable[[], None]) -> None:
        self.out, self.at, self.fill, self.free = out, at, fill, free
        self.notices: list[str] = []
        self.left: list[list[str]] = []
        self.saved: list[int] = []

    def hear(self, event: TrainingEvent) -> None:
        if isinstance(event, StepLogged) and event.step == self.at:
            self.fill()
        if isinstance(event, Notice):
            self.notices.append(event.text)
            if "checkpoint" in event.text:
                self.free()
                self.left.append(sorted(one.name for one in self.out.glob("checkpoint-*")))
        if isinstance(event, Saved) and not event.final:
            self.saved.append(event.step)


def test_a_full_disk_costs_the_newest_checkpoint_and_not_the_run(run_config: Make, tmp_path: Path) -> None:
    """Every write fails from step 3 on, by the system's limit on the size of a file, until the checkpoint of step 4 is given up."""
    whole = run_config(output=str(tmp_path / "whole"))
    train(whole, events=lambda _: None)
    config = run_config()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))

    def free() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    disk = Disk(Path(config.output), 3, fill, free)
    try:
        train(config, events=disk.hear)
    finally:
        free()
    assert disk.saved == [2, 6]
    assert disk.left == [["checkpoint-2"]]  # the one before stays, and nothing of the new one
    assert [one for one in disk.notices if one.startswith("the checkpoint of step 4 could not be written")]
    assert [one for one in disk.notices if one.startswith("the log could not be written")]
    same(whole.output, config.output)


@pytest.mark.parametrize("room", [1, 1000, 100_000])
def test_every_librarys_words_for_a_full_disk_are_known(room: int, tmp_path: Path) -> None:
    """However little of a file there was room for: PyTorch's writer says other words at its end than in the middle."""
    from safetensors.torch import save_file

    state = {"weights": torch.zeros(100_000)}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    failed: list[BaseException] = []
    for write in (lambda: torch.save(state, tmp_path / "state.pt"), lambda: save_file(state, tmp_path / "state.safetensors")):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
        try:
            write()
        except failures.WRITE_ERRORS as error:
            failed.append(error)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [failures.is_disk_error(one) for one in failed] == [True, True], failed


# The same in a file system of one megabyte, which a filler takes up to its last byte.
SMALL = """
import json, sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from agenttune.config import config_from
from agenttune.training.train import train
from test_kill import Disk, losses
config = config_from({**json.loads(open(sys.argv[1]).read()), "output": sys.argv[2] + "/out"}, "small")
filler = Path(sys.argv[2]) / "filler"

def fill():
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(512))
        except OSError:
            pass

disk = Disk(Path(config.output), 3, fill, filler.unlink)
train(config, events=disk.hear)
print(json.dumps({"saved": disk.saved, "left": disk.left, "notices": disk.notices, "losses": losses(config.output)}))
"""


@pytest.mark.slow
def test_a_small_file_system_that_is_full(run_config: Make, tmp_path: Path, ranks: Any) -> None:
    """A tmpfs in a name space of its own; where the system allows none, the limit on a file's size stands for it (the test above)."""
    small = tmp_path / "small"
    small.mkdir()
    allowed = subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], capture_output=True)
    if allowed.returncode:
        test_a_full_disk_costs_the_newest_checkpoint_and_not_the_run(run_config, tmp_path)
        return
    whole = run_config(output=str(tmp_path / "whole"), trainer={"report_to": "none"})
    train(whole, events=lambda _: None)
    (tmp_path / "small.py").write_text(SMALL)
    script = f"{sys.executable} {tmp_path}/small.py {ranks.config(whole)} {small} {Path(__file__).parent}"
    line = f"mount -t tmpfs -o size=1m tmpfs {small} && exec {script}"
    done = subprocess.run(["unshare", "-rm", "sh", "-c", line], env=ranks.environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["saved"] == [2, 6]
    assert found["left"] == [["checkpoint-2"]]
    assert any(one.startswith("the checkpoint of step 4 could not be written") for one in found["notices"])
    assert found["losses"] == losses(whole.output)


# Runs one after the other in each rank; of each, the named ranks lack room from step 3 on, until the checkpoint of step 4 is given up.
SHARDS = """
import json, os, resource, sys
from pathlib import Path
from agenttune.config import config_from
from agenttune.training import callbacks, trainer
from agenttune.training.events import Notice, Saved
from agenttune.training.train import train

rank, before = int(os.environ["RANK"]), resource.getrlimit(resource.RLIMIT_FSIZE)
ended, gave_up, run = callbacks.TrainLogCallback.on_step_end, trainer.PackTrainer._give_up, {}

def on_step_end(self, args, state, control, **more):
    if state.global_step == 3 and rank in run["full"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
    return ended(self, args, state, control, **more)

def give_up(self, error):
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    gave_up(self, error)
    if rank == 0:
        run["left"] = sorted(one.name for one in Path(self.args.output_dir).glob("checkpoint-*"))

def hear(event):
    if isinstance(event, Notice):
        run["notices"].append(event.text)
    if isinstance(event, Saved) and not event.final:
        run["saved"].append(event.step)

callbacks.TrainLogCallback.on_step_end, trainer.PackTrainer._give_up = on_step_end, give_up
for one in json.loads(open(sys.argv[1]).read()):
    run = {"full": one["full"], "notices": [], "saved": [], "left": None}
    train(config_from(one["config"], "shards"), events=hear)
    print(json.dumps(run), flush=True)
"""


@pytest.mark.slow
def test_a_full_disk_costs_sharded_ranks_the_newest_checkpoint_only(
    run_config: Make, samples_file: Path, tmp_path: Path, ranks: Any
) -> None:
    """Under every stage, and whichever rank it is that lacks room; the next checkpoint is whole, and a run goes on from it."""
    from agenttune.config import config_to_json

    trainer = {"gradient_accumulation_steps": 2, "learning_rate": 3e-3}
    whole = run_config(output=str(tmp_path / "whole"), pack_samples=2, trainer={**trainer, "gradient_accumulation_steps": 4})
    train(whole, events=lambda _: None)
    check = {"data": str(samples_file), "every": 4}
    cases = [("zero1", [0]), ("zero1", [1]), ("zero2", [0, 1]), ("zero3", [0]), ("zero3", [1])]
    runs = [
        (
            run_config(output=str(tmp_path / f"{stage}-{full[0]}"), pack_samples=2, check=check, trainer={**trainer, "deepspeed": stage}),
            full,
        )
        for stage, full in cases
    ]
    (tmp_path / "shards.json").write_text(json.dumps([{"config": config_to_json(config), "full": full} for config, full in runs]))
    (code, out, err), (other, _, theirs) = ranks.ends(ranks.start("-c", SHARDS, str(tmp_path / "shards.json")))
    assert (code, other) == (0, 0), err[-3000:] + theirs[-3000:]
    told = [json.loads(line) for line in out.splitlines()]
    assert len(told) == len(runs)
    for found, (config, full) in zip(told, runs, strict=True):
        assert found["saved"] == [2, 6]
        assert found["left"] == ["checkpoint-2"]
        (said,) = [one for one in found["notices"] if one.startswith("the checkpoint of step 4 could not be written")]
        assert said.endswith("; the run goes on")
        unkept = [one for one in found["notices"] if one.startswith("the best weights, of step 4, could not be kept")]
        assert len(unkept) == (0 in full)  # the first rank writes them
        assert ("another process could not write its part" in said) == (0 not in full)
        assert losses(config.output) == pytest.approx(losses(whole.output), rel=1e-4)
    last = runs[-1][0]
    (Path(last.output) / output_folder.SUMMARY).unlink()
    shutil.rmtree(Path(last.output) / "checkpoint-6")  # as if it had been killed there: step 2 is what is left
    (code, out, err), _ = ranks.ends(ranks.start("-m", "agenttune", "train", ranks.config(last), "--resume"))
    assert code == 0, err[-3000:]
    assert "6 steps in" in out and "starts over" not in out
    assert (Path(last.output) / "checkpoint-6").is_dir()
    assert losses(last.output) == pytest.approx(losses(whole.output), rel=1e-4)


@pytest.mark.slow
def test_when_a_rank_dies_the_others_stop_within_a_minute(run_config: Make, tmp_path: Path, ranks: Any) -> None:
    """Also: another run's folder and a port that somebody listens on, by the command line."""
    import socket

    config = run_config(trainer={"max_steps": 100_000, "save_steps": 5})
    path = ranks.config(config)
    started = ranks.start("-m", "agenttune", "train", path)
    end = time.monotonic() + 400
    while checkpoint.newest_complete(Path(config.output)) is None and time.monotonic() < end:
        assert started[0].poll() is None, started[0].communicate()[1]
        time.sleep(0.1)
    other = ranks.start("-m", "agenttune", "train", path, "--resume", world=1)
    code, _, said = ranks.ends(other)[0]
    assert (code, said) == (2, f"agenttune: another run is writing to {config.output}\n")
    started[1].send_signal(signal.SIGKILL)
    died = time.monotonic()
    code, out, said = ranks.ends(started[:1], timeout=60)[0]
    assert time.monotonic() - died < 60
    assert (code, out) == (2, "")
    assert said.splitlines()[-1].startswith("agenttune: another process of this run has ended")
    assert "--resume goes on from the newest checkpoint" in said
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, said = ranks.ends(ranks.start("-m", "agenttune", "train", path, "--resume", port=port)[:1])[0]
    assert code == 2
    assert said.startswith(f"agenttune: port {port} is in use, by another run perhaps; name another to the launcher")
    assert len(said.splitlines()) == 1
