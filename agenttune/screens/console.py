"""Consoles that write nothing but text where nothing but text is wanted: NO_COLOR, a dumb terminal, a pipe, a file."""

from __future__ import annotations

import io
import os
import sys
from typing import Literal, TextIO, cast

from rich.console import Console


def stdout() -> Console:
    """Standard output as it is now."""
    return console(sys.stdout)


def stderr() -> Console:
    """Standard error as it is now."""
    return console(sys.stderr)


def console(file: TextIO | io.TextIOBase) -> Console:
    """A console over `file`. No markup and no highlighting: what it is given is text."""
    if isinstance(file, io.TextIOWrapper) and file.encoding.lower().replace("-", "") != "utf8":
        file.reconfigure(errors="replace")  # a letter this terminal has not must not end the program
    plain = os.environ.get("NO_COLOR", "") != ""  # https://no-color.org: bold and dim are escapes too
    return Console(file=cast(TextIO, file), color_system=None if plain else "auto", markup=False, highlight=False, emoji=False)


def sheet(like: Console, file: TextIO, width: int) -> Console:
    """A console of another width over `file`, with the colours that `like` has."""
    system = cast(Literal["standard", "256", "truecolor"] | None, like.color_system)
    return Console(file=file, width=width, force_terminal=True, color_system=system, markup=False, highlight=False, emoji=False)


def live(console: Console) -> bool:
    """Whether something may be written and taken back again."""
    return console.is_terminal and not console.is_dumb_terminal


def line_width(console: Console) -> int | None:
    """Columns to wrap at; None where nobody looks at columns, or where their number is not known (a dumb terminal)."""
    return console.width if live(console) else None
