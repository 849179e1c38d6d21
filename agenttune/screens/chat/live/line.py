"""A block of one line, however long its text is: a call, whose arguments ``/show`` has in full."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from agenttune.screens.blocks import COLUMN, LOOKS
from agenttune.screens.inert import inert
from agenttune.screens.status_line import cut
from agenttune.screens.word_wrap import cells


class LineBlock:
    """Like `Block`; the line is shown as a draft until it is closed."""

    def __init__(self, console: Console, label: str, draft: Callable[[str], None]) -> None:
        self._console, self._label, self._draft = console, label, draft
        self._text = ""

    def push(self, text: str, style: str | None = None) -> None:
        """More of its text."""
        self._text += inert(text)
        self._draft(f"{self._label:{COLUMN}}{self._line()}")

    def close(self) -> None:
        """Writes the line."""
        self._draft("")
        look = LOOKS[self._label]
        self._console.out(f"{self._label:{COLUMN}}", style=look.label, highlight=False, end="")
        self._console.out(self._line(), style=look.text or None, highlight=False)

    def _line(self) -> str:
        line = " ".join(self._text.split())
        room = max(self._console.width - COLUMN - 1, 8)
        return line if cells(line) <= room else f"{cut(line, room - 1)}…"
