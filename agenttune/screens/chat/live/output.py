"""What is written above the input line: whole lines once, for good; the unfinished one, the tail, again and again."""

from __future__ import annotations

import io
import threading


class LiveOutput(io.TextIOBase):
    """A file for a console. Whole lines wait until the screen takes them (`take`); the rest of the text is the `tail`.

    Any thread may write. `columns` is counted by whoever draws.
    """

    encoding = "utf-8"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines = ""
        self._tail = ""
        self._draft = ""

    def isatty(self) -> bool:
        """It ends on a terminal."""
        return True

    def writable(self) -> bool:
        """It can be written."""
        return True

    def write(self, text: str) -> int:
        """Takes text; whole lines are final."""
        with self._lock:
            whole, line_end, rest = (self._tail + text).rpartition("\n")
            self._lines += whole + line_end
            self._tail = rest
        return len(text)

    def insert(self, lines: str) -> None:
        """Whole lines that stand before the tail, whoever is writing it."""
        with self._lock:
            self._lines += lines

    def draft(self, text: str) -> None:
        """Text that stands behind the tail until it is written for good: empty takes it away."""
        with self._lock:
            self._draft = text

    @property
    def tail(self) -> str:
        """What is not final: the unfinished line, and the draft."""
        with self._lock:
            return self._tail + self._draft

    @property
    def waiting(self) -> bool:
        """Whether whole lines wait to be taken."""
        return bool(self._lines)

    def take(self, *, all: bool = False) -> str:
        """The lines that nobody has taken yet; at the end of the session the tail too."""
        with self._lock:
            lines, self._lines = self._lines, ""
            if all and self._tail:
                lines, self._tail = f"{lines}{self._tail}\n", ""
            return lines
