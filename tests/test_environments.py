"""Odd but legal environments: closed streams, widths that are none, locales without letters, a strict umask."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agenttune.cli.environment import prepare
from tests.screens.chat.terminal import chat_command

TALK = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "天气"}]}
ASCII = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ANSWER = "Final Answer: It is 天."


def run(command: list[str], closed: str = "", mask: int = -1, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The command with streams that the shell closes (``<&-``), a umask, and variables."""
    around = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **environment}
    around.pop("PYTHONIOENCODING", None)
    line = ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *command]
    return subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, env=around, umask=mask, timeout=120, check=False)


def tune(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "agenttune", *arguments]


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """A file of one conversation."""
    (tmp_path / "in.jsonl").write_text(json.dumps(TALK) + "\n")
    return tmp_path / "in.jsonl"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(closed: str, tmp_path: Path, records: Path) -> None:
    """What is closed is empty, or written nowhere; it is no fault, and no file of ours takes its number."""
    done = run(tune("convert", "openai", str(records), "-o", str(tmp_path / "out.jsonl"), "--workers", "1"), closed)
    assert done.returncode == 0, done.stderr
    (line,) = (tmp_path / "out.jsonl").read_text().splitlines()
    assert json.loads(line)["conversation"][0]["output"] == "Final Answer: 天气"
    assert done.stdout == b"" or ">&-" not in closed.split("2")[0]


def test_closed_standard_input(tmp_path: Path) -> None:
    done = run(tune("convert", "openai", "-", "-o", str(tmp_path / "out.jsonl")), "<&-")
    assert (done.returncode, done.stderr) == (2, b"agenttune: stdin holds no record\n")
    done = run(tune("tools", "call", "calculator", '{"expression": "1+1"}'), "<&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"2\n", b"")
    state = {"XDG_STATE_HOME": str(tmp_path)}
    done = run(chat_command(tmp_path, [ANSWER], "--tools", "none", "-p", "hi"), "<&-", **state)
    assert (done.returncode, done.stdout.decode()) == (0, "It is 天.\n"), done.stderr
    done = run(chat_command(tmp_path, [ANSWER], "--tools", "none"), "<&-", **state)
    assert (done.returncode, b"Ctrl-D ends" in done.stdout) == (0, True), done.stderr


def test_a_width_of_nothing_shows_all(tmp_path: Path, records: Path) -> None:
    out = str(tmp_path / "out.jsonl")
    done = run(tune("convert", "openai", str(records), "-o", out, "--workers", "1"), COLUMNS="0", LINES="0")
    assert (done.returncode, b"samples out" in done.stdout) == (0, True), done.stderr
    assert "output   Final Answer: 天气".encode() in run(tune("show", out), COLUMNS="0").stdout


@pytest.mark.parametrize("width", ["0", "-1", "", "00", "99999999999", "many", "٣"])
def test_a_width_that_is_none_counts_as_not_set(width: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setenv("LINES", "7")
    prepare()
    assert ("COLUMNS" in os.environ, os.environ["LINES"]) == (False, "7")


def test_a_locale_of_ascii(tmp_path: Path) -> None:
    """Arguments are UTF-8 whatever the locale says; a letter that it has not is printed as ``?``, and is no fault."""
    counted = run(tune("tools", "call", "shell", json.dumps({"command": "printf 天 | wc -c"}, ensure_ascii=False)), **ASCII)
    assert (counted.returncode, counted.stdout.strip(), counted.stderr) == (0, b"3", b"")
    said = run(tune("tools", "call", "shell", json.dumps({"command": r"printf 'caf\303\251'"})), **ASCII)
    assert (said.returncode, said.stdout, said.stderr) == (0, b"caf?\n", b"")
    unknown = run(tune("tools", "call", "nö"), **ASCII)
    assert unknown.returncode == 2
    assert unknown.stderr.startswith(b'agenttune: there is no tool "n')
    helped = run(tune("convert", "--help"), **ASCII)
    assert (helped.returncode, b"usage: agenttune convert" in helped.stdout) == (0, True), helped.stderr


def test_the_question_of_a_chat_is_utf8_in_a_locale_of_ascii(tmp_path: Path) -> None:
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    done = run(chat_command(tmp_path, [ANSWER], "--tools", "none", "-p", "天?", "--output-format", "json"), **ASCII, **state)
    assert (done.returncode, json.loads(done.stdout)["answer"]) == (0, "It is 天."), done.stderr
    (session,) = (tmp_path / "state").rglob("*.jsonl")
    assert json.loads(session.read_text(encoding="utf-8"))["rounds"][0]["user"] == "天?"


def test_files_of_a_strict_umask_are_their_owners_alone(tmp_path: Path, records: Path) -> None:
    done = run(tune("convert", "openai", str(records), "-o", str(tmp_path / "o" / "out.jsonl"), "--workers", "1"), mask=0o077)
    assert done.returncode == 0, done.stderr
    made = sorted((tmp_path / "o").iterdir())
    assert {path.name for path in made} >= {"out.jsonl", "out.report.json", "out.report.html"}
    assert {path.stat().st_mode & 0o777 for path in made} == {0o600}
