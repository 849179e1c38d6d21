"""Python in its sandbox: what is printed, the last value, and that nothing of this machine is reached."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agenttune.agent.toolbox import Toolbox, find
from agenttune.values.trajectory import Observation, ToolCall


@pytest.fixture(scope="module")
def toolbox() -> Iterator[Toolbox]:
    with find(["python"]) as made:
        yield made


def run(toolbox: Toolbox, code: str, deadline: float = 20.0) -> Observation:
    return toolbox.run([ToolCall(name="python", arguments={"code": code})], deadline)[0]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("2**100", "1267650600228229401496703205376"),
        ("print('a')\nprint('b')\n[1, 'x']", "a\nb\n[1, 'x']"),
        ("print('only')", "only"),
        ("x = 1", "The code ran and printed nothing."),
        ("import math, json\njson.dumps(math.sqrt(16))", "'4.0'"),
        ("def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\nfib(15)", "610"),
        ("sorted({'b': 2, 'a': 1}.items())", "[('a', 1), ('b', 2)]"),
        ("'北京'", "'北京'"),
    ],
)
def test_results(toolbox: Toolbox, code: str, text: str) -> None:
    assert run(toolbox, code) == Observation(text=text)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("print('first')\n1/0", "Error: first\nZeroDivisionError: division by zero (line 2)"),
        ("x = (", "SyntaxError"),
        ("import os\nos.system('true')", "AttributeError"),
        ("import subprocess", "No module named 'subprocess'"),
        ("import socket", "No module named 'socket'"),
        ("open('/etc/hostname').read()", "PermissionError"),
        ("import os\nos.environ['PATH']", "Error"),
        ("().__class__.__base__.__subclasses__()", "Error"),
        ("__import__('os')", "Error"),
        ("x = [0] * 10**10", "memory limit exceeded"),
        ("'a' * 10**11", "memory limit exceeded"),
        ("9**9**9", "memory limit exceeded"),
        ("def f():\n    return f()\nf()", "RecursionError"),
        ("import time\ntime.sleep(60)", "sleep limit exceeded"),
        ("10**5000", "the last value cannot be shown"),
    ],
)
def test_failures_and_what_is_out_of_reach(toolbox: Toolbox, code: str, says: str) -> None:
    seen = run(toolbox, code)
    assert seen.error
    assert says in seen.text


def test_nothing_is_written(toolbox: Toolbox, tmp_path: Path) -> None:
    target = tmp_path / "written"
    assert run(toolbox, f"open({str(target)!r}, 'w').write('x')").error
    assert run(toolbox, f"from pathlib import Path\nPath({str(target)!r}).write_text('x')").error
    assert not target.exists()


@pytest.mark.parametrize("code", ["while True: pass", "while True: print('x' * 100000)"])
def test_an_endless_loop_ends_with_its_process(toolbox: Toolbox, code: str) -> None:
    run(toolbox, "1")
    before = toolbox.worker
    start = time.monotonic()
    assert run(toolbox, code, 0.5).text == "Error: python did not finish in 0.5 s and was stopped"
    assert time.monotonic() - start < 5
    assert run(toolbox, "1 + 1").text == "2"
    if sys.platform == "linux":
        end = time.monotonic() + 10
        while _group(before) and time.monotonic() < end:
            time.sleep(0.05)
        assert _group(before) == [], "the sandbox's own process has ended too"


@pytest.mark.slow
def test_the_sandbox_has_limits_of_its_own(toolbox: Toolbox) -> None:
    assert run(toolbox, "while True: pass").text.startswith("Error: TimeoutError: feed time limit exceeded")


def _group(leader: int | None) -> list[str]:
    """Names of living processes of a process group."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            name, _, rest = Path(f"/proc/{entry}/stat").read_text().rpartition(")") if entry.isdigit() else ("", "", "")
        except OSError:
            continue
        state = rest.split()
        if state and int(state[2]) == leader and state[0] not in "ZX":
            found.append(name)
    return found


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_monty", None)
    with find(["python"], inline=True) as inline:
        assert "needs the extra agenttune[python]" in run(inline, "1").text
