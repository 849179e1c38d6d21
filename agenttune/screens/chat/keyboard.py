"""Where questions come from: the live screen of a terminal, or the lines of standard input."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from agenttune.errors import UserError
from agenttune.screens.chat.session_file import state_folder

if TYPE_CHECKING:
    from prompt_toolkit.history import History

PROMPT = "> "


class Keyboard(Protocol):
    """A source of questions. `echo`: nobody has seen them yet, so the screen must show them."""

    @property
    def echo(self) -> bool:
        """See the class."""

    def ask(self) -> str:
        """The next one. Raises `EOFError` where there is none, `KeyboardInterrupt` for Ctrl-C at an empty prompt."""


class Lines:
    """A question a line, for pipes, files and dumb terminals. `shown` is written before each, where somebody reads it."""

    def __init__(self, file: BinaryIO, shown: str = "") -> None:
        self._file = file
        self._shown = shown
        self.echo = not shown

    def ask(self) -> str:
        """See `Keyboard.ask`. Raises `UserError` for a line that is not UTF-8."""
        if self._shown:
            sys.stderr.write(self._shown)
            sys.stderr.flush()
        line = self._file.readline()
        if not line:
            raise EOFError
        return utf8(line, "a line of standard input")


def kept_history(path: Path) -> History:
    """What was typed before, in a file that its owner alone can read; in memory only where no file can be written."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.fchmod(handle, 0o600)
        finally:
            os.close(handle)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))


def history_path() -> Path:
    """What was typed before, in all sessions."""
    return state_folder() / "chat_history"


def can_edit() -> bool:
    """Whether both ends are a terminal with a cursor that can be moved."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown", "")


def plain_lines() -> Lines:
    """The lines of standard input, with a prompt where a person types them."""
    return Lines(sys.stdin.buffer, PROMPT if sys.stdin.isatty() else "")


def utf8(data: bytes, what: str) -> str:
    """The text of bytes from outside. Raises `UserError` that says `what` they are."""
    try:
        return data.decode("utf-8").strip("\r\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{what} is not UTF-8 text (byte {error.start})") from error
