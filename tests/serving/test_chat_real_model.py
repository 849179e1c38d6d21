"""The terminal over a real model on a server: by token ids the same words as in this process, by messages on somebody else's server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agenttune.values.trajectory import Observation, Round, Step, ToolCall, Trajectory
from agenttune.values.trajectory_json import trajectory_to_json
from tests.benchmarks.peers import environment
from tests.screens.chat.terminal import Terminal
from tests.serving.started import started

QUESTION = "What is 17 * 23?"
XLLAMACPP = "xllamacpp==2026.10.11549"  # llama.cpp's own server, in a wheel
SERVER = """
import sys, threading, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.cpuparams.n_threads = sys.argv[1], 4096, 2
server = xllamacpp.Server(params)
print("listening on", server.listening_address, flush=True)
sys.stdin.read()
"""


def sum_of(left: int, right: int) -> Round:
    """A round in which a small model sees how it is done."""
    call = ToolCall(name="calculator", arguments={"expression": f"{left} * {right}"})
    steps = (Step(calls=(call,), observations=(Observation(text=str(left * right)),)), Step(answer=f"{left} * {right} is {left * right}."))
    return Round(user=f"What is {left} * {right}?", steps=steps)


@pytest.fixture
def earlier(tmp_path: Path) -> str:
    """A session to go on with."""
    path = tmp_path / "earlier.jsonl"
    kept = Trajectory(id="earlier", rounds=(sum_of(12, 3), sum_of(41, 7)))
    path.write_text(json.dumps(trajectory_to_json(kept)) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def server(smollm2: str) -> Iterator[str]:
    """The embedded model behind ``agenttune serve``."""
    with started(smollm2, "--dtype", "float32") as found:
        yield found.base


def asked(tmp_path: Path, *arguments: str) -> tuple[Any, str]:
    """(what ``-p`` printed as JSON, what it said beside it)"""
    command = [sys.executable, "-m", "agenttune", "chat", *arguments, "-p", QUESTION, "--output-format", "json", "--no-trace"]
    around = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, capture_output=True, text=True, env=around, stdin=subprocess.DEVNULL, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def talked(tmp_path: Path, command: list[str], says: str) -> str:
    """The screen of a terminal in which the question was asked and answered with the calculator's result."""
    with Terminal([sys.executable, "-m", "agenttune", "chat", *command], {"XDG_STATE_HOME": str(tmp_path)}, columns=240) as terminal:
        terminal.until(lambda grid: grid.lines[-1:] == [">"])
        terminal.expect(says)
        terminal.press(f"{QUESTION}\r")
        terminal.expect('call     calculator {"expression": "17 * 23"}', 240)
        terminal.until(lambda grid: "391." in grid.text and grid.lines[-1:] == [">"], 240)
        terminal.press("\x04")
        assert terminal.ended() == 0
        return terminal.grid.text


@pytest.mark.slow
def test_a_served_model_says_token_for_token_what_it_says_in_this_process(smollm2: str, server: str, tmp_path: Path, earlier: str) -> None:
    free = ["--tools", "calculator", "--resume", earlier, "--max-new-tokens", "60"]
    near, _ = asked(tmp_path, smollm2, "--dtype", "float32", "--no-constrain", *free)
    far, said = asked(tmp_path, "--base-url", server, *free)
    assert "smollm2-135m at http://127.0.0.1" in said and "is asked by token ids" in said
    assert [one["observations"][0]["text"] for one in near["steps"][:1]] == ["391"]
    assert [(one["token_ids"], one["raw"]) for one in far["steps"]] == [(one["token_ids"], one["raw"]) for one in near["steps"]]
    assert far["usage"]["prompt_tokens"] == near["usage"]["prompt_tokens"]
    shown = talked(tmp_path, ["--base-url", server, *free], "is asked by token ids")
    assert "answer   391." in shown
    (kept,) = (tmp_path / "agenttune" / "sessions").iterdir()
    steps = json.loads(kept.read_text(encoding="utf-8"))["rounds"][-1]["steps"]
    assert [one["token_ids"] for one in steps] == [one["token_ids"] for one in near["steps"]]


@pytest.mark.slow
def test_llama_cpps_own_server_is_asked_by_messages_and_that_is_said(smollm2: str, tmp_path: Path, earlier: str) -> None:
    from agenttune.models.gguf import embedded

    python = environment("xllamacpp", [XLLAMACPP])
    if python is None:
        pytest.skip("no package index can be reached")
    program = [python, "-c", SERVER, str(embedded())]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            address = next(line.split()[-1] for line in process.stdout if line.startswith("listening on "))
            free = ["--tools", "calculator", "--resume", earlier, "--max-new-tokens", "60"]
            shown = talked(tmp_path, ["--base-url", address, *free], "is asked by messages, not by token ids")
        finally:
            process.kill()
    assert "/16,384 bytes (" in shown  # four times the server's own context
