"""``agenttune chat`` as a program of its own, with a scripted model that may be slow, and a terminal to sit at."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.cells import cell_len

# The command line as it is, but for the model: it says the replies of a file, the first whose word the newest question holds.
PROGRAM = """
import json, sys, time
from agenttune import cli, models
from agenttune.models.scripted import ScriptedBatch, ScriptedModel

told = json.loads(open(sys.argv[1], encoding="utf-8").read())

class Slow(ScriptedModel):
    def start(self, prompts, prefixes):
        rows = super().start(prompts, prefixes)
        time.sleep(told["prefill"])
        advance = rows.advance
        def wait(*tokens):
            time.sleep(told["delay"])
            advance(*tokens)
        rows.advance = wait
        return rows

def made(name, replies):
    model = Slow(iter(replies), context=told["context"])
    model.name = name
    return model

def load(name, *, adapter=None, **more):
    return made(name, told["adapters"][adapter] if adapter else told["replies"])

models.load = load
models.load_beside = lambda base, adapter: made(base.name, told["adapters"][adapter])
sys.exit(cli.main(["chat", *sys.argv[2:]]))
"""


def chat_command(
    folder: Path,
    replies: list[str],
    *arguments: str,
    delay: float = 0.0,
    prefill: float = 0.0,
    context: int = 1 << 20,
    adapters: dict[str, list[str]] | None = None,
) -> list[str]:
    """The command of a chat with a model ``scripted`` that says `replies`, with an adapter those of `adapters`; `delay` seconds a token."""
    told = {"replies": replies, "delay": delay, "prefill": prefill, "context": context, "adapters": adapters or {}}
    file = folder / "replies.json"
    file.write_text(json.dumps(told), encoding="utf-8")
    return [sys.executable, "-c", PROGRAM, str(file), "scripted", *arguments]


CSI = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b[()][A-Z0-9]|\x1b[=>]")


class Grid:
    """What a terminal shows of what it is sent: the few sequences that a line editor uses, wide letters, and a scrollback."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.above: list[str] = []  # lines that have scrolled away
        self._cells: list[list[str]] = [[]]
        self._row = self._column = 0

    @property
    def lines(self) -> list[str]:
        """The lines that are on the screen, without blanks at their ends, down to the last that is not empty."""
        found = ["".join(cells).rstrip() for cells in self._cells]
        while found and not found[-1]:
            found.pop()
        return found

    @property
    def text(self) -> str:
        """All lines, those above too."""
        return "\n".join([*self.above, *self.lines])

    def feed(self, data: str) -> None:
        """Shows what is sent."""
        at = 0
        while at < len(data):
            found = CSI.match(data, at)
            if found:
                self._obey(found)
                at = found.end()
                continue
            self._letter(data[at])
            at += 1

    def narrow(self, columns: int) -> None:
        """As most terminals do it: rows that are wider are wrapped, and the cursor stays at its letter."""
        rows: list[list[str]] = []
        for number, cells in enumerate(self._cells):
            begin = len(rows)
            rows += [cells[at : at + columns] for at in range(0, max(len(cells), 1), columns)]
            if number == self._row:
                row = begin + self._column // columns
        self.columns, self._row, self._column = columns, row, self._column % columns
        while len(rows) > self.rows:
            self.above.append("".join(rows.pop(0)).rstrip())
            self._row -= 1
        self._cells = rows + [[] for _ in range(self._row - len(rows) + 1)]

    def _letter(self, letter: str) -> None:
        if letter == "\r":
            self._column = 0
        elif letter == "\n":
            self._down()
        elif letter == "\b":
            self._column = max(self._column - 1, 0)
        elif letter >= " ":
            width = cell_len(letter)
            if self._column + width > self.columns:
                self._column = 0
                self._down()
            self._put(letter, width)

    def _put(self, letter: str, width: int) -> None:
        if not width:
            return
        line = self._cells[self._row]
        line += [" "] * (self._column + width - len(line))
        line[self._column : self._column + width] = [letter, *[""] * (width - 1)]
        self._column += width

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._cells):
            self._cells.append([])
        if len(self._cells) > self.rows:
            self.above.append("".join(self._cells.pop(0)).rstrip())
            self._row -= 1

    def _obey(self, found: re.Match[str]) -> None:
        numbers = [int(one) for one in (found[1] or "").split(";") if one.isdigit()]
        count = numbers[0] if numbers else 1
        if found[2] == "A":
            self._row = max(self._row - count, 0)
        elif found[2] == "B":
            self._row = min(self._row + count, len(self._cells) - 1)
        elif found[2] == "C":
            self._column = min(self._column + count, self.columns - 1)
        elif found[2] == "D":
            self._column = max(self._column - count, 0)
        elif found[2] == "J":
            del self._cells[self._row + 1 :], self._cells[self._row][self._column :]
        elif found[2] == "K":
            del self._cells[self._row][self._column :]


class Terminal:
    """A program on a terminal of its own, with keys that go in and a `grid` that comes out. Leaving the block ends it."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], *, rows: int = 40, columns: int = 90) -> None:
        self._main, other = os.openpty()
        termios.tcsetwinsize(other, (rows, columns))
        around = {**os.environ, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", **environment}
        self.process = subprocess.Popen(command, env=around, preexec_fn=lambda: os.login_tty(other))
        os.close(other)
        self.grid = Grid(rows, columns)
        self.raw = ""

    def until(self, seen: Callable[[Grid], bool], seconds: float = 60.0) -> None:
        """Reads until the screen is so."""
        end = time.monotonic() + seconds
        while not seen(self.grid):
            if not self._read(end - time.monotonic()):
                raise AssertionError(f"the screen never was so:\n{self.grid.text}")

    def expect(self, text: str, seconds: float = 60.0) -> None:
        """Reads until this text is on the screen, or was."""
        self.until(lambda grid: text in grid.text, seconds)

    def settle(self, seconds: float = 0.5) -> None:
        """Reads what comes in so many seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._read(end - time.monotonic())

    def _read(self, seconds: float) -> bool:
        if not select.select([self._main], [], [], max(seconds, 0))[0]:
            return False
        try:
            data = os.read(self._main, 1 << 16).decode("utf-8", "replace")
        except OSError:  # the other side has closed it
            return False
        self.raw += data
        self.grid.feed(data)
        return True

    def press(self, keys: str) -> None:
        """Types."""
        os.write(self._main, keys.encode())

    def resize(self, rows: int, columns: int) -> None:
        """Another size, as a window manager gives one."""
        fcntl.ioctl(self._main, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.grid.rows = rows
        if columns < self.grid.columns:
            self.grid.narrow(columns)
        self.grid.columns = columns
        os.killpg(os.tcgetpgrp(self._main), signal.SIGWINCH)

    def ended(self, seconds: float = 60.0) -> int:
        """Its exit code, once it has ended; what it wrote until then is on the screen."""
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            self._read(0.1)
        while self._read(0.1):
            pass
        return self.process.wait(timeout=1)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._main)
