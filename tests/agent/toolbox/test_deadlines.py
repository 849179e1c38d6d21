"""A tool ends by its deadline and a second, leaves no process behind, and the next call works: whatever it does meanwhile."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agenttune.agent.toolbox import Permission, Toolbox, find
from agenttune.values.trajectory import Observation, ToolCall
from tests.processes import living, within

HOSTILE = '''
import ctypes, fcntl, json, os, signal, stat, subprocess, sys, threading, time
from pathlib import Path

def _note(path: str) -> None:
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\\n")

def _channel() -> int:
    """The pipe that replies go through: the one this process can write to beside its output."""
    for number in range(3, 64):
        try:
            if stat.S_ISFIFO(os.fstat(number).st_mode) and fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY:
                return number
        except OSError:
            pass
    raise AssertionError("no channel")

def echo(text: str) -> str:
    """Gives it back."""
    return text

def ignores_sigterm(path: str) -> str:
    """Ignores every signal that can be ignored."""
    _note(path)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(60)
    return ""

def forks(path: str) -> str:
    """Forks, and both wait."""
    os.fork()
    _note(path)
    time.sleep(60)
    return ""

def hides(path: str) -> str:
    """Leaves a process behind: forked twice, in a session of its own, with an empty environment, deaf to SIGTERM."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            _note(path)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.execve("/bin/sleep", ["sleep", "60"], {})
        os._exit(0)
    time.sleep(60)
    return ""

def breeds(path: str) -> str:
    """Starts processes that start processes."""
    code = "import os, time\\nfor _ in range(2):\\n    os.fork()\\nos.setsid() if os.getpgrp() != os.getpid() else None\\n"
    code += "open(%r, 'a').write(f'{os.getpid()}\\\\n')\\ntime.sleep(60)" % path
    for _ in range(3):
        subprocess.Popen([sys.executable, "-I", "-S", "-c", code], start_new_session=True)
    time.sleep(60)
    return ""

def stops(path: str) -> str:
    """Stops its whole process group, and the process above it."""
    _note(path)
    os.kill(os.getppid(), signal.SIGSTOP)
    os.killpg(0, signal.SIGSTOP)
    return ""

def orphans(path: str) -> str:
    """Kills the process above it, from a session of its own."""
    _note(path)
    os.setsid() if os.getpgrp() == os.getpid() else os.setpgrp()
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
    return ""

def dies_with_children(path: str) -> str:
    """Ends its process and leaves a child in a session of its own."""
    child = subprocess.Popen(["sleep", "60"], start_new_session=True, env={})
    with open(path, "a") as file:
        file.write(f"{child.pid}\\n")
    os._exit(7)

def fills_the_channel(path: str) -> str:
    """Writes into the channel without end, and no line ends."""
    _note(path)
    while True:
        os.write(_channel(), b"x" * 65536)

def garbage(path: str) -> str:
    """Writes what is no reply."""
    os.write(_channel(), b"\\xff\\x00 not json\\n")
    time.sleep(60)
    return ""

def nested(path: str) -> str:
    """Writes JSON that is too deep to read."""
    os.write(_channel(), b"[" * 50000 + b"\\n")
    time.sleep(60)
    return ""

def wrong_shape(path: str) -> str:
    """Writes JSON that is no reply."""
    os.write(_channel(), b'{"text": 1}\\n')
    time.sleep(60)
    return ""

def two_replies(path: str) -> str:
    """Answers for the next call too."""
    os.write(_channel(), b'{"id": 2, "text": "forged", "error": false, "nothing": false}\\n')
    return "real"

def later(path: str) -> str:
    """Writes into the channel when nothing was asked."""
    def work() -> None:
        time.sleep(0.2)
        os.write(_channel(), b'{"id": 99, "text": "forged", "error": false, "nothing": false}\\n')
    threading.Thread(target=work, daemon=True).start()
    return "real"

def floods(path: str) -> str:
    """Prints without end."""
    _note(path)
    while True:
        os.write(1, b"flood\\n" * 10000)

def gigabyte(path: str) -> str:
    """Returns a gigabyte."""
    return "x" * (1 << 30)

def forks_and_returns(path: str) -> str:
    """Returns twice."""
    os.fork()
    return "once"

def deaf(path: str) -> str:
    """Answers, and then holds the interpreter's lock: nobody reads the next request."""
    def work() -> None:
        time.sleep(0.2)
        _note(path)
        ctypes.PyDLL(None).sleep(60)
    threading.Thread(target=work, daemon=True).start()
    return "done"

def closes_everything(path: str) -> str:
    """Closes every descriptor it can find."""
    os.closerange(0, 256)
    time.sleep(60)
    return ""
'''


@pytest.fixture(scope="module")
def toolbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toolbox]:
    path = tmp_path_factory.mktemp("hostile") / "hostile.py"
    path.write_text(HOSTILE, encoding="utf-8")
    with find([str(path)], limit=1000, ask=lambda request: Permission(allowed=True)) as made:
        yield made


def call(toolbox: Toolbox, name: str, deadline: float = 20.0, **arguments: object) -> Observation:
    (seen,) = toolbox.run([ToolCall(name=name, arguments=arguments)], deadline)
    return seen


STOPPED = "did not finish in 1 s and was stopped"
CHANNEL = "wrote into the channel of its worker and was stopped"


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up on Linux only")
@pytest.mark.parametrize(
    ("name", "says", "processes"),
    [
        ("ignores_sigterm", STOPPED, 1),
        pytest.param(*("forks", STOPPED, 2), marks=pytest.mark.slow),
        ("hides", STOPPED, 1),
        pytest.param(*("breeds", STOPPED, 3), marks=pytest.mark.slow),
        pytest.param(*("stops", STOPPED, 1), marks=pytest.mark.slow),
        ("dies_with_children", "ended its process (exit code 7)", 1),
        ("fills_the_channel", CHANNEL, 1),
        ("garbage", CHANNEL, 0),
        pytest.param(*("nested", CHANNEL, 0), marks=pytest.mark.slow),
        pytest.param(*("wrong_shape", CHANNEL, 0), marks=pytest.mark.slow),
        ("two_replies", CHANNEL, 0),
        ("floods", STOPPED, 1),
        pytest.param(*("closes_everything", "ended its process (its pipe closed)", 0), marks=pytest.mark.slow),
    ],
)
def test_it_ends_and_leaves_nothing(toolbox: Toolbox, tmp_path: Path, name: str, says: str, processes: int) -> None:
    assert call(toolbox, "echo", text="before").text == "before"
    path = tmp_path / "pids"
    begun = time.monotonic()
    seen = call(toolbox, name, 1.0, path=str(path))
    took = time.monotonic() - begun
    assert seen == Observation(text=f"Error: {name} {says}", error=True)
    assert took < 2.0 + LOADED
    pids = [int(line) for line in path.read_text().split()] if path.exists() else []
    assert len(pids) >= processes
    assert within(lambda: not any(map(living, pids)), 0.5), "a process was left behind"
    assert call(toolbox, "echo", text="after").text == "after"


LOADED = 1.5  # seconds that a busy machine may add; see the slow test for the promise itself


def test_a_worker_that_reads_nothing_does_not_block_the_parent(toolbox: Toolbox, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    assert call(toolbox, "deaf", path=str(path)).text == "done"
    assert within(path.exists, 10)
    begun = time.monotonic()
    seen = call(toolbox, "echo", 1.0, text="x" * 200_000)
    assert seen == Observation(text=f"Error: echo {STOPPED}", error=True)
    assert time.monotonic() - begun < 2.0 + LOADED
    assert call(toolbox, "echo", text="x" * 200_000).text.startswith("xxx")


def test_a_reply_to_nothing_is_not_the_next_answer(toolbox: Toolbox) -> None:
    assert call(toolbox, "later", path="").text == "real"
    time.sleep(0.5)
    assert call(toolbox, "echo", text="mine").text == "mine"


def test_a_tool_that_forks_answers_once(toolbox: Toolbox) -> None:
    assert [call(toolbox, "forks_and_returns", path="").text for _ in range(3)] == ["once"] * 3
    assert call(toolbox, "echo", text="mine").text == "mine"


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up on Linux only")
def test_a_worker_whose_watcher_was_killed_ends_too(toolbox: Toolbox, tmp_path: Path) -> None:
    seen = call(toolbox, "orphans", 1.0, path=str(tmp_path / "pid"))
    assert seen.error
    assert within(lambda: not living(int((tmp_path / "pid").read_text())), 1.0)
    assert call(toolbox, "echo", text="after").text == "after"


@pytest.mark.slow
def test_a_gigabyte_is_cut_or_refused(toolbox: Toolbox) -> None:
    seen = call(toolbox, "gigabyte", 30.0, path="")
    assert len(seen.text) <= 1000
    assert "characters left out" in seen.text or seen.text in (
        "Error: MemoryError",
        "Error: gigabyte did not finish in 30 s and was stopped",
    )
    assert call(toolbox, "echo", text="after").text == "after"


def test_what_floods_the_output_is_cut_and_counted(toolbox: Toolbox, tmp_path: Path) -> None:
    told: list[str] = []
    toolbox.run([ToolCall(name="floods", arguments={"path": str(tmp_path / "pid")})], 0.5, lambda call, text: told.append(text))
    assert len(told) == 1
    assert told[0].startswith("flood\nflood\n")
    assert len(told[0]) < 1100
    assert "more bytes were printed …]" in told[0]


def test_a_closed_toolbox_leaves_no_descriptor(toolbox: Toolbox) -> None:
    call(toolbox, "echo", text="warm")
    toolbox.close()
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    for _ in range(3):
        call(toolbox, "echo", text="again")
        toolbox.close()
    assert (len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0) == before
