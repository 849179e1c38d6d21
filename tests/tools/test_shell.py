"""The shell: refused where nobody can say yes, asked about each time, ended at its deadline."""

from __future__ import annotations

import time

import pytest

from agenttune.agent.toolbox import find, listing
from agenttune.agent.toolbox.permissions import Permission, PermissionRequest
from agenttune.screens.chat.options import TOOLS
from agenttune.values.trajectory import Observation, ToolCall


def call(command: str) -> ToolCall:
    return ToolCall(name="shell", arguments={"command": command})


def run(command: str, deadline: float = 20.0) -> Observation:
    with find(["shell"], ask=lambda request: Permission(allowed=True)) as toolbox:
        return toolbox.run([call(command)], deadline)[0]


def test_it_is_off_and_refused_where_nobody_is_asked() -> None:
    assert "shell" not in TOOLS
    assert [row.needs for row in listing() if row.name == "shell"] == ["a yes, each time"]
    with find(["shell"]) as toolbox:
        (seen,) = toolbox.run([call("echo no")])
    assert seen.error
    assert seen.text.startswith("Error: shell was not run: it needs a person's permission (destructive)")


def test_no_yes_holds_for_the_next_command() -> None:
    asked: list[PermissionRequest] = []

    def ask(request: PermissionRequest) -> Permission:
        asked.append(request)
        return Permission(allowed=True, remember="session")

    with find(["shell"], ask=ask) as toolbox:
        seen = toolbox.run([call("echo one"), call("echo two")])
    assert [one.text for one in seen] == ["one", "two"]
    assert [one.arguments for one in asked] == [{"command": "echo one"}, {"command": "echo two"}]


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("echo one; echo two >&2", "one\ntwo"),
        ("true", "[exit code 0]"),
        ("echo out; exit 3", "out\n[exit code 3]"),
        ("cat", "[exit code 0]"),
        ("printf '\\377'", "\ufffd"),
    ],
)
def test_what_comes_back(command: str, text: str) -> None:
    assert run(command) == Observation(text=text, provenance="web")


def test_endless_output_and_endless_time_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET_KEY", "hush-hush-hush")
    assert run("yes").text.endswith("\n[stopped: it printed more than 65536 bytes]")
    start = time.monotonic()
    assert run("sleep 60; echo late", 1.0).text == "Error: shell did not finish in 1 s and was stopped"
    assert time.monotonic() - start < 20
    assert run("echo secret: $MY_SECRET_KEY").text == "secret:", "what the environment hides stays hidden"
