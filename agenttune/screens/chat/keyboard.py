"""Where questions come from: a line editor on a terminal, lines of standard input elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from agenttune.errors import UserError
from agenttune.screens.chat.session_file import state_folder

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import History
    from prompt_toolkit.input import Input
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
    from prompt_toolkit.output import Output

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


class Editor:
    """A line editor with history, completion of commands, and pastes of many lines; Alt-Enter begins a new line."""

    echo = False

    def __init__(
        self, commands: Iterable[str], *, history: Path | None = None, input: Input | None = None, output: Output | None = None
    ) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter

        self.completer = WordCompleter(sorted(commands), sentence=True)
        self._session: PromptSession[str] = PromptSession(
            PROMPT,
            history=kept_history(history) if history else None,
            completer=self.completer,
            complete_while_typing=False,
            key_bindings=_keys(),
            multiline=True,  # so that a paste keeps its lines; Enter still sends
            prompt_continuation="  ",
            enable_open_in_editor=True,
            input=input,
            output=output,
        )

    def ask(self) -> str:
        """See `Keyboard.ask`."""
        return self._session.prompt()


def _keys() -> KeyBindings:
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("enter")
    def send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-c")
    @keys.add("<sigint>")
    def clear(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt())

    return keys


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


def keyboard(names: Iterable[str]) -> Keyboard:
    """The editor where both ends are a terminal that can do it, else lines. `names` are those of the commands."""
    if sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown", ""):
        return Editor([f"/{name}" for name in names], history=history_path())
    return Lines(sys.stdin.buffer, PROMPT if sys.stdin.isatty() else "")


def utf8(data: bytes, what: str) -> str:
    """The text of bytes from outside. Raises `UserError` that says `what` they are."""
    try:
        return data.decode("utf-8").strip("\r\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{what} is not UTF-8 text (byte {error.start})") from error
