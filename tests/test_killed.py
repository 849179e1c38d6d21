"""``kill -9`` at counted moments of convert, train and eval, with a person's files beside and inside: all are there afterwards.

The same command again then ends as one that was never killed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.models.test_hf import made
from tests.processes import living, within
from tests.training.conftest import write_samples

KILLS = 20 if os.environ.get("AGENTTUNE_PROVE") else 2
NOTES = ("notes.txt", "README.md", "checkpoint-notes/a.txt", "best-notes/b.txt", "out.notes.jsonl", "report.txt", "checkpoint-03/d")

# Imports once, then forks a process a command. Work is counted in calls of the package's functions, so a moment is the same on any machine:
# the process kills itself at the n-th. It reads lines of JSON [moment, arguments] and answers each with [status, calls, pid].
RUNNER = """
import importlib, json, os, signal, sys
import agenttune
from agenttune.cli import main
for name in sys.argv[1:]:
    importlib.import_module(name)
package = os.path.dirname(agenttune.__file__)

def run(at, arguments, log):
    os.setsid()
    calls = 0
    def count(frame, event, _):
        nonlocal calls
        if event == "call" and frame.f_code.co_filename.startswith(package):
            calls += 1
            if calls == at:
                os.kill(os.getpid(), signal.SIGKILL)
    for number in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.setprofile(count)
    code = main(arguments)
    sys.setprofile(None)
    sys.stdout.flush()
    return code, calls

for line in sys.stdin:
    at, arguments, log = json.loads(line)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            code, calls = run(at, arguments, log)
            os.write(write, str(calls).encode())
            os._exit(code)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(99)
    os.close(write)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(json.dumps([status, int(os.read(read, 99) or 0), pid]), flush=True)
    os.close(read)
"""


@dataclass
class Runner:
    """Commands in processes of their own, each killed at a moment or not (0)."""

    process: subprocess.Popen[str]
    log: Path

    def __call__(self, arguments: list[str], at: int = 0) -> tuple[int, int]:
        """(exit code, or minus the signal; calls that were counted)."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps([at, arguments, str(self.log)]), file=self.process.stdin, flush=True)
        status, calls, pid = json.loads(self.process.stdout.readline())
        assert within(lambda: not alive_in_group(pid)), "what it had started lives on"
        return status, calls

    def whole(self, arguments: list[str], codes: tuple[int, ...] = (0, 1)) -> int:
        """The calls of a command that must end well."""
        status, calls = self(arguments)
        assert status in codes, (status, self.log.read_text(errors="replace")[-3000:])
        return calls


def alive_in_group(group: int) -> bool:
    """Whether a process of this group still runs."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group and living(int(entry.name)):
            return True
    return False


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Callable[..., Runner]]:
    """``runner("a.module", …)`` starts one that has imported these modules."""
    started: list[subprocess.Popen[str]] = []

    def start(*modules: str) -> Runner:
        own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1]), "AGENTTUNE_CACHE": str(tmp_path / "c")}
        command = [sys.executable, "-W", "ignore", "-c", RUNNER, *modules]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **own}))
        return Runner(started[-1], tmp_path / "log.txt")

    yield start
    for one in started:
        one.kill()
        one.communicate()


def write_notes(folder: Path) -> dict[str, bytes]:
    """A person's files in a folder, by name."""
    for name in NOTES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"mine: {folder.name}/{name}")
    return {name: (folder / name).read_bytes() for name in NOTES}


def files(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, by name."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def moments(calls: int) -> list[int]:
    """`KILLS` moments spread over the work of a whole run, none of them its very beginning."""
    return [calls * (2 * number + 1) // (2 * KILLS) for number in range(KILLS)]


@pytest.mark.slow
def test_convert(runner: Callable[..., Runner], tmp_path: Path) -> None:
    run = runner("agenttune.data.convert.run", "agenttune.sources.openai", "agenttune.screens.report.page", "agenttune.screens.progress")
    talks = [[{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"a{n}"}] for n in range(60)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"messages": talk}) + "\n" for talk in talks) + "{broken\n")

    out = tmp_path / "out"
    command = ["convert", "openai", str(tmp_path / "in.jsonl"), "-o", str(out / "out.jsonl"), "--workers", "2", "--split", "dev=30%"]
    out.mkdir()
    calls = run.whole(command)
    wanted = files(out)
    assert wanted.keys() == {
        f"out.{name}" for name in ("jsonl", "dev.jsonl", "rejects.jsonl", "findings.jsonl", "report.json", "report.html")
    }
    for at in moments(calls):
        shutil.rmtree(out)
        mine = write_notes(out)
        assert run(command, at)[0] in (-9, 1), at
        left = files(out)
        assert {name: left.get(name) for name in mine} == mine, at
        run.whole(command)
        assert files(out) == {**wanted, **mine}, at


@pytest.mark.slow
def test_train(runner: Callable[..., Runner], tmp_path: Path, made_tokenizer: Callable[[str], Any]) -> None:
    """Killed, gone on with and killed again: a person's files come into the folder between."""
    run = runner("agenttune.training.train", "agenttune.training.trainer", "agenttune.training.result")
    made(tmp_path / "model", made_tokenizer("chatml"), max_position_embeddings=512)
    samples = write_samples(tmp_path / "samples.jsonl")
    config = {
        "model": str(tmp_path / "model"), "data": str(samples), "device": "cpu", "dtype": "float32", "length": 256, "pack_samples": 4,
        "pack_tokens": 1024, "lora": {"r": 4, "alpha": 8}, "check": {"data": str(samples), "every": 2},
        "trainer": {"max_steps": 4, "save_steps": 1, "save_total_limit": 1, "learning_rate": 1e-2},
    }  # fmt: skip

    def command(out: Path) -> list[str]:
        (tmp_path / f"{out.name}.yaml").write_text(json.dumps({**config, "output": str(out)}))
        return ["train", str(tmp_path / f"{out.name}.yaml"), *(["--resume"] if (out / "run.json").exists() else [])]

    whole, out = tmp_path / "whole", tmp_path / "killed"
    calls = run.whole(command(whole))
    wanted = files(whole)
    for at in moments(calls):
        shutil.rmtree(out, ignore_errors=True)
        beside = write_notes(tmp_path / "beside")
        mine: dict[str, bytes] = {}
        for moment in (at, max(calls // 2, 1)):
            if run(command(out), moment)[0] == 0:
                break
            if (out / "run.json").exists():
                mine = write_notes(out)
        if not (out / "summary.json").exists():
            run.whole(command(out))
        left = files(out)
        assert {name: left.get(name) for name in mine} == mine, at
        assert files(tmp_path / "beside") == beside
        assert left["adapter_model.safetensors"] == wanted["adapter_model.safetensors"], at
        assert {name.partition("/")[0] for name in left} - {name.partition("/")[0] for name in (*wanted, *mine)} == set(), at


@pytest.mark.slow
def test_eval(runner: Callable[..., Runner], tmp_path: Path, made_tokenizer: Callable[[str], Any]) -> None:
    run = runner(
        "agenttune.evaluation.run", "agenttune.models.hf", "agenttune.screens.report.tables", "agenttune.screens.progress", "torch"
    )
    made(tmp_path / "model", made_tokenizer("chatml"), max_position_embeddings=512)
    samples = write_samples(tmp_path / "samples.jsonl", count=6)

    def command(out: Path) -> list[str]:
        model = ["--model", str(tmp_path / "model"), "--device", "cpu", "--dtype", "float32"]
        return ["eval", str(samples), *model, "-o", str(out), "--max-new-tokens", "4", "--batch-size", "2"]

    whole, out = tmp_path / "whole", tmp_path / "killed"
    shutil.rmtree(tmp_path / "c", ignore_errors=True)
    calls = run.whole(command(whole))
    wanted = files(whole)
    for at in moments(calls):
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(tmp_path / "c", ignore_errors=True)  # else its answers are known from the run before
        beside = write_notes(tmp_path / "beside")
        mine: dict[str, bytes] = {}
        if run(command(out), at)[0] == -9 and (out / "meta.json").exists():
            mine = write_notes(out)
        run.whole(command(out))
        left = files(out)
        assert {name: left.get(name) for name in mine} == mine, at
        assert files(tmp_path / "beside") == beside
        assert left["report.json"] == wanted["report.json"], at
        assert sorted(left["cases.jsonl"].splitlines()) == sorted(wanted["cases.jsonl"].splitlines()), at
        # What a run took is not known where the one that took it was killed, and the next had nothing left to ask.
        assert {*left, "usage.json"} == {*wanted, *mine, "usage.json"}, at
