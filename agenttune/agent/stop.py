"""Where an output ends: ids become text piece by piece, and stops are found in the text however tokens cut it."""

from __future__ import annotations

from collections.abc import Sequence

from agenttune.values.tokens import Tokenizer

_PATIENCE = 16  # tokens; a run of bytes that is no text after so many will not become text
_BROKEN = "\ufffd"


class TextStream:
    """Ids to text as they come: never a part of a character, and joined the pieces are the text of all ids.

    Each piece is the difference between the text of a few tokens and the text of all but the newest of them, so a decoder that
    treats a first token otherwise (sentencepiece drops its space) does so once.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._window: list[int] = []  # the tokens of the last piece, then those that have given no text yet
        self._told = 0  # how many of the window have given their text
        self._known = ""  # the text of those

    def push(self, token: int) -> str:
        """The text that `token` completes; empty while a character is not whole."""
        self._window.append(token)
        if len(self._window) - self._told > _PATIENCE:
            return self.flush()
        text = self._tokenizer.decode(self._window)
        return "" if text.endswith(_BROKEN) or len(text) <= len(self._known) else self._tell(text)

    def flush(self) -> str:
        """What is left; bytes that never became a character are U+FFFD."""
        text = self._tokenizer.decode(self._window)[len(self._known) :] if len(self._window) > self._told else ""
        self._window, self._told, self._known = [], 0, ""
        return text

    def _tell(self, text: str) -> str:
        piece = text[len(self._known) :]
        self._window = self._window[self._told :]
        self._told = len(self._window)
        self._known = self._tokenizer.decode(self._window)
        return piece


class StopScanner:
    """Finds the first of several stop texts in a growing text, and holds back what may be the start of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._starts = frozenset(stop[:end] for stop in self._stops for end in range(1, len(stop)))
        self._longest = max(map(len, self._stops), default=1)
        self._held = ""
        self.found = ""  # the stop text that was met

    def push(self, piece: str) -> str:
        """The text that is certain to stand before any stop. After `found` is set nothing more comes."""
        text = self._held + piece
        places = [(at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if places:
            at, self.found = min(places)
            self._held = ""
            return text[:at]
        kept = next((size for size in range(min(len(text), self._longest - 1), 0, -1) if text[-size:] in self._starts), 0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def flush(self) -> str:
        """What was held back, when no more comes."""
        held, self._held = self._held, ""
        return held


class Output:
    """One output as it grows: ids, the text that may be shown, and why it stopped (empty while it goes on)."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str], stop_ids: frozenset[int], limit: int, room: int) -> None:
        self._tokenizer = tokenizer
        self._stream = TextStream(tokenizer)
        self._scanner = StopScanner(stops)
        self._stop_ids = stop_ids
        self._limit, self._room = limit, room
        self._pieces: list[str] = []
        self._ids: list[int] = []
        self.stop = "" if min(limit, room) > 0 else "length" if room > 0 else "context"

    def push(self, token: int) -> str:
        """Takes the next token. The text it makes certain."""
        if token in self._stop_ids:
            return self._end("stop")
        self._ids.append(token)
        shown = self._shown(self._scanner.push(self._stream.push(token)))
        if self._scanner.found:
            self.stop = "stop_text"
            return shown
        if len(self._ids) >= min(self._limit, self._room):
            return shown + self._end("length" if self._limit <= self._room else "context")
        return shown

    @property
    def left(self) -> int:
        """How many more tokens it may hold."""
        return min(self._limit, self._room) - len(self._ids)

    def finish(self, reason: str = "stop") -> str:
        """Ends a text that can go no further, as if the stop token had come. The text that this makes certain."""
        return self._end(reason)

    def _end(self, reason: str) -> str:
        text = self._scanner.push(self._stream.flush())
        text += self._scanner.flush()
        self.stop = "stop_text" if self._scanner.found else reason
        return self._shown(text)

    def _shown(self, text: str) -> str:
        if text:
            self._pieces.append(text)
        return text

    @property
    def stop_text(self) -> str:
        """The stop text that was met; empty where none was."""
        return self._scanner.found

    @property
    def text(self) -> str:
        """All text that is certain so far: the whole output once it has stopped, without the stop."""
        return "".join(self._pieces)

    @property
    def token_ids(self) -> list[int]:
        """The ids of the output. Where a stop text begins inside a token, the rest of that token before it is encoded anew."""
        if self.stop != "stop_text":
            return self._ids
        text = self.text
        kept = _whole_tokens(self._tokenizer, self._ids, text)
        rest = text[len(self._tokenizer.decode(self._ids[:kept])) :]
        return [*self._ids[:kept], *self._tokenizer.encode(rest, special=False)]


def _whole_tokens(tokenizer: Tokenizer, ids: Sequence[int], text: str) -> int:
    """How many of `ids` lie wholly inside `text`, which is a beginning of theirs. A stop is short, so the way from the end is."""
    return next(count for count in range(len(ids), -1, -1) if text.startswith(tokenizer.decode(ids[:count])))
