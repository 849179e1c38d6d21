"""Text that is wrapped while it comes: whole words, wide letters counted as two, every line indented."""

from __future__ import annotations

from rich.cells import cell_len

TAB = 4  # columns


def cells(text: str) -> int:
    """Columns that `text` takes on a terminal."""
    return len(text) if text.isascii() else cell_len(text)


class WordWrap:
    """Streaming word wrap. The cursor stands at `indent` when it starts; no line of the text ever begins further left.

    `width` is in terminal columns; None: lines are as long as they come. A wrapped line goes on under its own first word. White space
    at the start and the end is dropped, and only the last, unfinished word is held back.
    """

    def __init__(self, width: int | None, indent: int) -> None:
        self._indent = indent
        self._width = None if width is None else max(width, indent + 8)
        self._column = indent
        self._hang = indent  # where the line of text began
        self._breaks = 0  # line ends that are due before the next word
        self._gap = 0  # blanks that are due before it
        self._word: list[str] = []
        self._wide = 0  # columns of that word
        self._empty = True

    def push(self, text: str) -> str:
        """What is certain to stand on the screen next."""
        return "".join(map(self._letter, text))

    def flush(self) -> str:
        """The unfinished word; it ends the text or a part of it."""
        word, wide, self._word, self._wide = "".join(self._word), self._wide, [], 0
        if not word:
            return ""
        before, self._empty = self._before(wide), False
        self._breaks, self._gap = 0, 0
        self._column += wide
        return before + word

    def _letter(self, letter: str) -> str:
        if letter == "\n":
            done = self.flush()
            self._breaks += not self._empty
            self._gap = 0
            return done
        if letter in " \t":
            done = self.flush()
            self._gap += 0 if self._empty else 1 if letter == " " else TAB
            return done
        columns = cells(letter)
        wide = columns == 2  # Chinese and Japanese have no blanks: a line may end at every letter
        done = self.flush() if wide or self._full(columns) else ""
        self._word.append(letter)
        self._wide += columns
        return done + (self.flush() if wide else "")

    def _full(self, columns: int) -> bool:
        """Whether the word must be broken, because it would be longer than a line."""
        return self._width is not None and self._wide + columns > self._width - (self._start() if self._breaks else self._hang)

    def _start(self) -> int:
        """The column at which a new line of text begins: its own indentation counts, up to half of the line."""
        room = self._gap if self._width is None else min(self._gap, (self._width - self._indent) // 2)
        return self._indent + room

    def _before(self, width: int) -> str:
        """The blanks or the line end before a word of this width."""
        if self._breaks:
            self._column = self._hang = self._start()
            return "\n" * self._breaks + " " * self._hang
        if self._width is not None and self._column + self._gap + width > self._width:
            before = "\n" + " " * self._hang if self._column > self._hang else ""
            self._column = self._hang
            return before
        self._column += self._gap
        return " " * self._gap
