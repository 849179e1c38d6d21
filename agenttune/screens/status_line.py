"""The last line of a screen: what is going on now. On a terminal it is written again and again, elsewhere it is a line now and then."""

from __future__ import annotations

import time

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType

from agenttune.screens.console import live
from agenttune.screens.inert import inert
from agenttune.screens.word_wrap import cells

FRAME = 0.1  # seconds between two writings of the line on a terminal
QUIET = 10.0  # seconds between two lines elsewhere


class StatusLine:
    """One line that stands until `clear`; nothing where it could not be taken back."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = 0

    def show(self, text: str) -> None:
        """This text in place of the last one."""
        if live(self._console):
            text = cut(inert(text).replace("\n", " ").replace("\t", " "), self._console.width - 1)
            self.clear()
            self._width = cells(text)
            self._console.out(text, style="dim", highlight=False, end="")

    def clear(self) -> None:
        """Takes the line back. A carriage return and blanks, no escapes: it works with NO_COLOR too."""
        if self._width:
            start = Control(ControlType.CARRIAGE_RETURN)
            self._console.control(start)
            self._console.out(" " * min(self._width + 2, self._console.width - 1), highlight=False, end="")  # 2: an echoed ^C
            self._console.control(start)
            self._width = 0


def cut(text: str, width: int) -> str:
    """The beginning of `text` that fits into `width` columns."""
    columns = 0
    for at, letter in enumerate(text):
        columns += cells(letter)
        if columns > width:
            return text[:at]
    return text


class Ticker:
    """Progress and sentences beside each other: sentences stay, progress is the status."""

    def __init__(self, console: Console, *, quiet: float = QUIET) -> None:
        self._console = console
        self._quiet = quiet
        self._status = StatusLine(console)
        self._last = float("-inf")

    def tick(self, text: str, *, final: bool = False) -> None:
        """How far it is. Too many at once are left out; the `final` one never is."""
        now = time.monotonic()
        if not final and now - self._last < (FRAME if live(self._console) else self._quiet):
            return
        self._last = now
        if live(self._console) and not final:
            self._status.show(text)
        else:
            self.say(text, style="dim")

    def say(self, text: str, style: str = "") -> None:
        """A line that stays."""
        self._status.clear()
        self._console.out(inert(text), style=style or None, highlight=False)

    def end(self) -> None:
        """Nothing more comes."""
        self._status.clear()
