"""A reply while it streams, told apart by kind: thought, action, arguments, answer."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TypeVar

from agenttune.agent.events import TextDelta
from agenttune.protocols.base import Protocol

Result = TypeVar("Result")
_MARKER = 24  # characters; longer than any protocol's marker, so a line this long has shown what it is


def by_kind(texts: Generator[tuple[int, str], None, Result], protocol: Protocol) -> Generator[TextDelta, None, Result]:
    """The new texts of one reply as `TextDelta` events; returns what `texts` returns."""
    splitter = KindSplitter(protocol)
    while True:
        try:
            _, text = next(texts)
        except StopIteration as end:
            yield from splitter.flush()
            result: Result = end.value
            return result
        yield from splitter.push(text)


class KindSplitter:
    """Splits a growing text by kind. The start of a line is held back while it may still become a marker."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._text = ""
        self._told = 0

    def push(self, text: str) -> Iterator[TextDelta]:
        """The pieces of the text so far whose kind is certain and which were not told yet."""
        self._text += text
        line = self._text.rfind("\n") + 1
        yield from self._until(line if len(self._text) - line < _MARKER else len(self._text))

    def flush(self) -> Iterator[TextDelta]:
        """The rest."""
        yield from self._until(len(self._text))

    def _until(self, end: int) -> Iterator[TextDelta]:
        if end <= self._told:
            return
        for span in self._protocol.spans(self._text):
            start, stop = max(span.start, self._told), min(span.end, end)
            if start < stop:
                yield TextDelta(delta=self._text[start:stop], kind=span.kind)
        self._told = end
