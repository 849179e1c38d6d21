"""Labelled blocks: who speaks stands in a column that no text of theirs can reach."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console

from agenttune.screens.console import line_width
from agenttune.screens.inert import inert
from agenttune.screens.word_wrap import WordWrap

COLUMN = 9  # the longest label and a blank
NARROW = 60  # columns below which a label gets a line of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Styles of a label and of its text."""

    label: str
    text: str


LOOKS = {
    "system": Look(label="bold magenta", text="magenta"),
    "tools": Look(label="bold magenta", text=""),
    "you": Look(label="bold", text=""),
    "user": Look(label="bold", text=""),
    "thought": Look(label="dim", text="dim"),
    "call": Look(label="bold cyan", text="cyan"),
    "result": Look(label="bold yellow", text=""),
    "error": Look(label="bold red", text="red"),
    "unread": Look(label="bold red", text="red"),
    "answer": Look(label="bold green", text="bold"),
    "says": Look(label="bold green", text="bold"),
}
PLAIN = Look(label="bold", text="")


class Block:
    """One block, written as its text comes; an empty one writes nothing. The text may be anything: it is made inert here."""

    def __init__(self, console: Console, label: str) -> None:
        self._console = console
        self._label = label
        self._look = LOOKS.get(label, PLAIN)
        self._narrow = (line_width(console) or NARROW) < NARROW
        self._wrap = WordWrap(line_width(console), 2 if self._narrow else COLUMN)
        self._open = False

    def push(self, text: str, style: str | None = None) -> None:
        """Writes what is certain of the text so far."""
        self._write(self._wrap.push(inert(text)), style)

    def close(self) -> None:
        """Writes the rest and ends the line."""
        self._write(self._wrap.flush(), None)
        if self._open:
            self._console.out("", highlight=False)

    def _write(self, text: str, style: str | None) -> None:
        if not text:
            return
        if not self._open:
            self._open = True
            head = f"{self._label}\n  " if self._narrow else f"{self._label:{COLUMN - 1}} "
            self._console.out(head, style=self._look.label or None, highlight=False, end="")
        self._console.out(text, style=(self._look.text if style is None else style) or None, highlight=False, end="")


def block(console: Console, label: str, text: str, *, style: str | None = None) -> None:
    """A whole block at once; one without any text says so."""
    made = Block(console, label)
    made.push(text.replace("\r\n", "\n") if text.strip() else "(empty)", style)
    made.close()


def note(console: Console, text: str, style: str = "dim") -> None:
    """A line of ours, outside every block."""
    wrap = WordWrap(line_width(console), 0)
    console.out(wrap.push(inert(text)) + wrap.flush(), style=style or None, highlight=False)
