"""One question in a script: what comes out where, in which form, and with which exit code."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agenttune.values.trajectory_json import step_from_json, trajectory_from_json
from tests.screens.chat.terminal import chat_command

CALL = 'Thought: I add.\nAction: add\nAction Input: {"left": 1, "right": 2}'
ANSWER = "Thought: I know.\nFinal Answer: It is 3."
FAILS = 'Action: fails\nAction Input: {"why": "天气"}'
WRITES = 'Action: writes\nAction Input: {"text": "x"}'
TOOLS = '''
from agenttune.agent.toolbox import ToolError, effect


@effect("read")
def add(left: int, right: int) -> int:
    """Adds two numbers."""
    return left + right


@effect("read")
def fails(why: str) -> str:
    """Always fails."""
    raise ToolError(why)


@effect("read")
def page(text: str) -> str:
    """A stranger's page."""
    return "\\x1b[2J\\x1b]0;owned\\x07 [bold]loud[/bold] 天气 😀 \\x9b31m"


@effect("write")
def writes(text: str) -> str:
    """Changes something."""
    return "written"
'''
Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def ask(tmp_path: Path) -> Run:
    """``ask(replies, *arguments, given=b"…", environment={…}, delay=…)``: the program with add, fails, page and writes."""
    (tmp_path / "helpers.py").write_text(TOOLS)

    def run(
        replies: list[str], *arguments: str, given: bytes = b"", environment: dict[str, str] | None = None, **more: Any
    ) -> subprocess.CompletedProcess[bytes]:
        command = chat_command(tmp_path, replies, "--tools", f"{tmp_path}/helpers.py", "--trust", *arguments, **more)
        homes = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path)}
        around = {**os.environ, **homes, **(environment or {})}
        return subprocess.run(command, input=given, capture_output=True, env=around, timeout=120, check=False)

    return run


def sessions(tmp_path: Path) -> list[Path]:
    """The files of kept sessions."""
    return sorted((tmp_path / "state" / "agenttune" / "sessions").glob("*"))


def test_json_is_one_object_with_steps_as_in_a_trajectory(ask: Run) -> None:
    done = ask([CALL, ANSWER], "-p", "1+2?", "--output-format", "json")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.decode().splitlines()
    made = json.loads(line)
    assert (made["answer"], made["stop"]) == ("It is 3.", "answer")
    assert [step_from_json(one).answer for one in made["steps"]] == [None, "It is 3."]
    assert made["steps"][0]["observations"] == [{"text": "3"}]
    assert made["usage"]["steps"] == 2
    assert made["usage"]["completion_tokens"] == len(CALL + ANSWER) - 1  # a whole call ends without one more pass
    assert made["usage"]["prompt_tokens"] > made["usage"]["cached_tokens"] > 0


def test_stream_json_is_one_event_a_line(ask: Run) -> None:
    done = ask([CALL, ANSWER], "-p", "1+2?", "--output-format", "stream-json")
    events = [json.loads(line) for line in done.stdout.decode().splitlines()]
    kinds = [one["type"] for one in events]
    assert [one for one in kinds if one != "text"] == ["step", "call", "observation", "step", "result"]
    assert "".join(one["delta"] for one in events if one["type"] == "text") == CALL + ANSWER
    assert events[kinds.index("call")] == {"type": "call", "name": "add", "arguments": {"left": 1, "right": 2}}
    assert events[kinds.index("observation")] == {"type": "observation", "tool": "add", "text": "3"}
    assert events[-1]["answer"] == "It is 3."


@pytest.mark.parametrize(
    ("replies", "arguments", "code", "answer", "more"),
    [
        ([ANSWER], [], 0, "It is 3.\n", {}),
        (["I like cats."] * 3, ["--no-guards"], 1, "", {}),
        ([CALL, ANSWER], ["--max-steps", "1", "--no-guards"], 3, "", {}),
        ([CALL, ANSWER], ["--max-tokens", "5"], 3, "It is 3.\n", {}),
        (["Final Answer: " + "long " * 30], ["--max-new-tokens", "20"], 3, "", {}),
        ([FAILS, ANSWER], [], 4, "It is 3.\n", {}),
        ([FAILS, CALL, ANSWER], [], 0, "It is 3.\n", {}),
        ([WRITES, CALL, ANSWER], [], 4, "It is 3.\n", {}),
        ([WRITES, ANSWER], ["--allow", "writes"], 0, "It is 3.\n", {}),
        ([], [], 5, "", {"context": 20}),
        ([ANSWER], ["--output-format", "yaml"], 2, "", {}),
        ([ANSWER * 30], ["--max-seconds", "1"], 124, "", {"delay": 0.1}),
    ],
)
def test_the_exit_code_says_how_it_went(ask: Run, replies: list[str], arguments: list[str], code: int, answer: str, more: Any) -> None:
    done = ask(replies, "-p", "1+2?", *arguments, **more)
    assert (done.returncode, done.stdout.decode()) == (code, answer), done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_a_signal_is_exit_code_130(tmp_path: Path) -> None:
    command = chat_command(tmp_path, ["Final Answer: " + "word " * 900], "--tools", "none", "-p", "hi", delay=0.02)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stderr is not None
    child.stderr.readline()  # what was assumed: the model is there
    time.sleep(1)
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=60)
    assert (child.returncode, out) == (130, b"")


def test_standard_input_is_asked_with_the_text_or_alone(ask: Run, tmp_path: Path) -> None:
    for arguments, given, asked in (
        (["-p", "Sum up:"], "一二\nthree\n", "Sum up:\n\n一二\nthree"),
        (["-p", "-"], "alone 😀\n", "alone 😀"),
        (["-p", "no more"], "", "no more"),
    ):
        done = ask([ANSWER], *arguments, given=given.encode())
        assert done.returncode == 0, done.stderr
        newest = max(sessions(tmp_path), key=lambda path: path.stat().st_mtime_ns)
        assert trajectory_from_json(json.loads(newest.read_text(encoding="utf-8"))).rounds[0].user == asked


def test_a_pipe_that_stays_open_and_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    command = chat_command(tmp_path, [ANSWER], "--tools", "none", "--no-trace", "-p", "hi")
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.wait(timeout=60) == 0
    assert child.stdout is not None and child.stderr is not None
    assert child.stdout.read() == b"It is 3.\n"
    assert b"nothing came on standard input within 3 s" in child.stderr.read()
    child.communicate()


@pytest.mark.parametrize("form", ["text", "json", "stream-json"])
@pytest.mark.parametrize(
    "environment",
    [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}, {"COLUMNS": "20"}, {"LANG": "C", "LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}],
)
def test_no_escape_byte_comes_into_a_pipe(ask: Run, form: str, environment: dict[str, str]) -> None:
    evil = "Final Answer: \x1b]0;owned\x07 天气 😀 [red]x[/red] \x9b2J"
    page = 'Action: page\nAction Input: {"text": "天"}'
    done = ask([page, evil], "-p", "1+2?", "--output-format", form, environment=environment)
    assert done.returncode == 0, done.stderr
    for stream in (done.stdout, done.stderr):
        text = stream.decode("utf-8", "replace")
        assert not [letter for letter in text if letter < " " and letter != "\n"]
        assert not [letter for letter in text if "\x7f" <= letter <= "\x9f"]
    if form == "json":
        assert json.loads(done.stdout)["answer"] == "\x1b]0;owned\x07 天气 😀 [red]x[/red] \x9b2J"
    if form == "text" and "LC_ALL" not in environment:
        assert done.stdout.decode() == "\\x1b]0;owned\\x07 天气 😀 [red]x[/red] \\x9b2J\n"


def test_a_question_is_kept_for_its_owner_alone_unless_it_must_not_be(ask: Run, tmp_path: Path) -> None:
    ask([ANSWER], "-p", "secret", "--no-trace")
    assert not sessions(tmp_path)
    ask([ANSWER], "-p", "1+2?")
    (path,) = sessions(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.slow
def test_a_question_that_is_killed_has_kept_its_finished_steps(tmp_path: Path) -> None:
    (tmp_path / "helpers.py").write_text(TOOLS)
    long = ["Final Answer: " + "word " * 900]
    command = chat_command(tmp_path, [CALL, *long], "--tools", f"{tmp_path}/helpers.py", "--trust", "-p", "1+2?", delay=0.02)
    around = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path)}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=around) as child:
        assert child.stderr is not None
        while not child.stderr.readline().startswith(b"result "):
            assert child.poll() is None
        child.kill()
    (path,) = sessions(tmp_path)
    kept = trajectory_from_json(json.loads(path.read_text(encoding="utf-8")))
    assert [(one.user, one.stop) for one in kept.rounds] == [("1+2?", "interrupted")]
    assert [seen.text for step in kept.rounds[0].steps for seen in step.observations] == ["3"]


def test_a_session_is_gone_on_with(ask: Run, tmp_path: Path) -> None:
    ask([ANSWER], "-p", "1+2?")
    done = ask(["Final Answer: Bye."], "-p", "bye", "--resume")
    assert done.stdout == b"Bye.\n"
    (path,) = sessions(tmp_path)
    kept = trajectory_from_json(json.loads(path.read_text(encoding="utf-8")))
    assert [one.user for one in kept.rounds] == ["1+2?", "bye"]
    for wrong in ("nothing-of-that-name", str(tmp_path / "helpers.py")):
        done = ask([], "-p", "x", "--resume", wrong)
        assert (done.returncode, done.stdout) == (2, b"")


def test_what_does_not_go_together_is_one_sentence(ask: Run) -> None:
    for arguments in (["--output-format", "json"], ["-p", "x", "--max-seconds", "-1"], ["-p", " "], ["-p", "-"]):
        done = ask([], *arguments)
        assert done.returncode == 2
        assert done.stderr.startswith(b"agenttune: ") and done.stderr.count(b"\n") == 1


@pytest.mark.slow
def test_a_session_is_shown_and_converted_bad_rounds_masked_and_edits_as_gold(tmp_path: Path) -> None:
    """Through pipes, so that the lines are plain; the terminal's own test has the same commands."""
    replies = {"mine": [ANSWER, "Final Answer: bad one.", "Final Answer: bye."]}
    command = chat_command(tmp_path, ["Final Answer: by the base."], "--adapter", "mine", "--tools", "none", adapters=replies)
    around = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    typed = "1+2?\n/adapter off\n/adapter on\nx\n/bad wrong\ny\n/edit Better 天.\n"
    done = subprocess.run(command, input=typed.encode(), capture_output=True, env=around, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = sessions(tmp_path)

    def tune(*arguments: str) -> str:
        program = [sys.executable, "-m", "agenttune", *arguments]
        return subprocess.run(program, capture_output=True, env=around, timeout=120, check=False).stdout.decode()

    assert "answer   Better 天.\n" in tune("show", str(path))
    tune("convert", "trajectory", str(path), "-o", str(tmp_path / "out.jsonl"))
    (line,) = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()  # what the base said beside it is nothing to learn from
    turns = json.loads(line)["conversation"]
    assert [(one["output"].splitlines()[-1], one.get("weight", 1)) for one in turns] == [
        ("Final Answer: It is 3.", 1),
        ("Final Answer: bad one.", 0.0),
        ("Final Answer: Better 天.", 1),
    ]
