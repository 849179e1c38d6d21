"""The elements of a JSON array, one at a time, without parsing them and without holding the array."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

from agenttune.errors import Refusal

LIMIT = 64 << 20  # bytes of one record
TOO_LONG = "a record of more than 64 MiB is not read"
_CHUNK = 1 << 20
_BACKSLASH = 92
_STEP = 8 << 20  # read at once inside a long element: larger steps copy it less often, and hold more
# Possessive: a step back from each escape that was passed would be kept, at sixty bytes a byte.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+("?)|[\[\]{},]', re.DOTALL)
_STRING_END = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def elements(head: bytes, stream: IO[bytes]) -> Iterator[bytes | Refusal]:
    """The bytes of each element of the array that begins with `head` (whose first byte is ``[``) and goes on in `stream`.

    An element that is longer than 64 MiB, one that the file ends in, and text after the array are each a `Refusal`.
    """
    return _Array(head, stream).elements()


class _Array:
    """A scanner: `buffer[start:at]` is what is known of the element under way; `depth` counts open brackets, the array's own included."""

    def __init__(self, head: bytes, stream: IO[bytes]) -> None:
        self.buffer, self.stream = head, stream
        self.at, self.start, self.depth = 1, 1, 1
        self.long = False  # the element under way is beyond the limit, and its bytes are no longer kept
        self.inside = False  # in a string of such an element
        self.commas = 0

    def elements(self) -> Iterator[bytes | Refusal]:
        while self.depth:
            found = self._token()
            if found is None:
                yield Refusal("json", "the file ends inside this element of its array", _text(self.buffer[self.start :]))
                return
            if found in b"[{":
                self.depth += 1
            elif found in b"]}":
                self.depth -= 1
            if self.depth == 0 or (self.depth == 1 and found == b","):
                yield from self._element(last=self.depth == 0)
        rest = (self.buffer[self.at :] + self.stream.read(_CHUNK)).strip()
        if rest:
            yield Refusal("json", "text follows the end of the array", _text(rest))

    def _element(self, *, last: bool) -> Iterator[bytes | Refusal]:
        body = self.buffer[self.start : self.at - 1].strip()
        if self.long:
            yield Refusal("size", TOO_LONG, _text(body))
        elif body:
            yield body
        elif not last or self.commas:
            yield Refusal("json", "an element of the array is missing beside a comma")
        self.start, self.long = self.at, False
        self.commas += not last

    def _token(self) -> bytes | None:
        """The next bracket or comma outside strings; None at the end of the file."""
        while True:
            found = _STRING_END.match(self.buffer, self.at) if self.inside else _TOKEN.search(self.buffer, self.at)
            if found is None and not self.inside:
                self.at = max(self.at, len(self.buffer))
            complete = found is not None and (self.inside or found.group(1) != b"")
            if found is None or not complete:
                if not self._more(found.start() if found is not None and not self.inside else self.at):
                    return None
                continue
            self.at, self.inside = found.end(), False
            if found.group()[-1:] != b'"':
                return found.group()

    def _more(self, at: int) -> bool:
        """Reads on from `at`, which is where the unfinished token begins."""
        pending = len(self.buffer) - self.start
        if pending > LIMIT and not self.long:
            self.long = True
        if self.long:
            self._forget(at)
        else:
            self.buffer, self.at, self.start = self.buffer[self.start :], at - self.start, 0
        more = self.stream.read(max(_CHUNK, min(pending, _STEP)))
        self.buffer += more
        return bool(more)

    def _forget(self, at: int) -> None:
        """Drops the bytes of a long element; of a string under way only whether its last byte is a lone backslash matters."""
        if self.inside or self.buffer[at : at + 1] == b'"':
            first = at if self.inside else at + 1
            last = len(self.buffer)
            while last > first and self.buffer[last - 1] == _BACKSLASH:
                last -= 1
            self.inside = True
            rest = b"\\" if (len(self.buffer) - last) % 2 else b""
        else:
            rest = self.buffer[at:]
        self.buffer, self.at, self.start = rest, 0, 0


def _text(body: bytes) -> str:
    return body[:400].decode("utf-8", "replace")
