"""An answer as Markdown while it comes: a finished block is rendered once and is final, the unfinished one is shown as it was written."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

from markdown_it import MarkdownIt
from rich.console import Console
from rich.markdown import Markdown
from rich.text import Text

from agenttune.screens.blocks import COLUMN, LOOKS, NARROW
from agenttune.screens.console import sheet
from agenttune.screens.inert import inert

# No HTML, which would vanish, and no images, whose addresses would: both are shown as they were written.
_PARSER = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"]).disable("image")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)
_BREAK = re.compile(r"\n[ \t]*\n+")
_INFO = re.compile(r"(?<=`{3}|~{3})[^\n`~]*$", re.MULTILINE)
_NUMBER = re.compile(r"\s*\d+[.)]\s*")
_WORD = re.compile(r"\w+")
_SGR = re.compile(r"\x1b\[[0-9;]*m")
TAIL = 6  # lines of the unfinished block that are shown


class MarkdownBlock:
    """Like `Block`, for an answer. `draft` is given what is not final yet, to show it behind the rest."""

    def __init__(self, console: Console, label: str, draft: Callable[[str], None]) -> None:
        self._console, self._label, self._draft = console, label, draft
        self._narrow = console.width < NARROW
        self._indent = 2 if self._narrow else COLUMN
        self._text = ""
        self._open = False
        self.rendered = 0  # blocks that were laid out, each once

    def push(self, text: str, style: str | None = None) -> None:
        """More of the answer."""
        self._text += inert(text)
        done = _finished(self._text)
        if done:
            self._flush(self._text[:done])
            self._text = self._text[done:]
        self._draft(self._shown())

    def close(self) -> None:
        """The answer is over."""
        self._draft("")
        self._flush(self._text)
        self._text = ""

    def _shown(self) -> str:
        text = self._text if self._open else self._text.lstrip()
        lines = text.strip("\n").split("\n")[-TAIL:]
        head = "" if self._open or self._narrow else f"{self._label:{COLUMN}}"
        margin = " " * self._indent
        return "\n".join((head or margin) + line if not number else margin + line for number, line in enumerate(lines))

    def _flush(self, text: str) -> None:
        if not text.strip():
            return
        self.rendered += 1
        text = text if self._open else text.lstrip()  # the blank between a marker and the answer is the protocol's
        lines = rendered(text, self._console, max(self._console.width - self._indent, 8))
        if self._open:
            lines.insert(0, "")
        else:
            self._console.out(self._label if self._narrow else f"{self._label:{COLUMN}}", style=LOOKS["answer"].label, end="")
            if self._narrow:
                self._console.file.write("\n")
        margin = " " * self._indent
        first = "" if not self._open and not self._narrow else margin
        self._open = True
        for number, line in enumerate(lines):
            self._console.file.write(f"{(first if not number else margin) + line if line else ''}\n")


def rendered(text: str, like: Console, width: int) -> list[str]:
    """Markdown as lines with colours; links show their address. A text of which the layout would lose a word (``391.`` is an empty list
    to Markdown) stays as it was written."""
    page = Markdown(text, hyperlinks=False, code_theme="ansi_dark")
    page.parsed = _PARSER.parse(text)
    plain = Text(text.strip("\n"))
    for shown in (plain,) if _NUMBER.fullmatch(text) else (page, plain):
        file = io.StringIO()
        sheet(like, file, width).print(shown)
        lines = _trimmed([line.rstrip() for line in file.getvalue().split("\n")])
        if _all_there(text, lines):
            break
    return lines


def _trimmed(lines: list[str]) -> list[str]:
    """The lines without blank ones at either end, which code has around it."""
    full = [at for at, line in enumerate(lines) if _SGR.sub("", line).strip()]
    return lines[full[0] : full[-1] + 1] if full else []


def _all_there(text: str, lines: list[str]) -> bool:
    """Whether every word stands in the lines; but for the language behind a fence."""
    seen = "".join("".join(_SGR.sub("", line).split()) for line in lines)
    return all(word in seen for word in _WORD.findall(_INFO.sub("", text)))


def _finished(text: str) -> int:
    """Up to where a growing text is made of finished blocks: the last blank line outside of fenced code."""
    found = 0
    for gap in _BREAK.finditer(text):
        if not _fenced(text[: gap.start()]):
            found = gap.end()
    return found


def _fenced(text: str) -> bool:
    """Whether fenced code is open at the end of a text."""
    mark = ""
    for fence in _FENCE.finditer(text):
        if not mark:
            mark = fence.group(1)
        elif fence.group(1)[0] == mark[0] and len(fence.group(1)) >= len(mark):
            mark = ""
    return bool(mark)
