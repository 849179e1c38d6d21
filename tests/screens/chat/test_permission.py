"""What a typed line says to a call that waits for a yes."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from agenttune.agent.toolbox import Effect, Permission, PermissionRequest
from agenttune.screens.chat.permission import permission_said, terminal_ask


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("yes\n", Permission(allowed=True)),
        ("Y\n", Permission(allowed=True)),
        ("always\n", Permission(allowed=True, remember="tool")),
        ("all\n", Permission(allowed=True, remember="session")),
        ("\n", Permission(allowed=False, because="the person said no")),
        ("", Permission(allowed=False, because="the person said no")),
        ("no\n", Permission(allowed=False, because="the person said no")),
        ("no because it is mine\n", Permission(allowed=False, because="the person said no: because it is mine")),
        ("no, wrong file\n", Permission(allowed=False, because="the person said no: wrong file")),
        ("yes but only a\n", Permission(allowed=False, because="the person said no: yes but only a")),
        ("yse\n", Permission(allowed=False, because="the person said no: yse")),
    ],
)
def test_only_a_plain_yes_is_a_yes(line: str, said: Permission) -> None:
    assert permission_said(line) == said


def test_where_nobody_sits_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    assert terminal_ask(Console(force_terminal=True)) is None


def test_arguments_are_shown_exactly_and_inert(monkeypatch: pytest.MonkeyPatch) -> None:
    class Typed(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Typed("always\n"))
    screen = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=100)
    ask = terminal_ask(screen)
    assert ask is not None
    request = PermissionRequest(tool="wipe\x1b[2J", arguments={"path": "北京/\x1b]0;x"}, effect=Effect.DESTRUCTIVE, reason="it destroys")
    assert ask(request) == Permission(allowed=True, remember="tool")
    text = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "(destructive): it destroys" in text
    assert '{"path": "北京/\\u001b]0;x"}' in text
    assert "\x1b]0" not in text and "\x1b[2J" not in text
