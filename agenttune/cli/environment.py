"""What a command finds around it, made usable before it runs: streams that are closed or know few letters, a width that is none."""

from __future__ import annotations

import io
import os
import sys

_WIDEST = 10_000  # columns or lines; what says more, or none, is not believed


def prepare() -> None:
    """Closed standard streams become the null device: else the next file that is opened takes their numbers, and is read or written as
    they are. A letter that a stream has not is written as ``?``. ``COLUMNS`` and ``LINES`` that no terminal has count as not set."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # in the order of their numbers
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  # open for as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower().replace("-", "") != "utf8":
            stream.reconfigure(errors="replace")
    for name in ("COLUMNS", "LINES"):
        said = os.environ.get(name, "1")
        if not (said.isascii() and said.isdigit() and len(said) < 9 and 1 <= int(said) <= _WIDEST):
            del os.environ[name]


def typed(argument: str) -> str:
    """A text of the command line, whose bytes are UTF-8 whatever the locale says; one that is not stays as Python read it."""
    try:
        return os.fsencode(argument).decode("utf-8")
    except UnicodeError:
        return argument
