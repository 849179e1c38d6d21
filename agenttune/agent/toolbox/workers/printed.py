"""What a tool printed while it worked: kept up to a limit, counted beyond it."""

from __future__ import annotations


class Printed:
    """Bytes of standard output and of standard error, at most `limit` of each."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = (bytearray(), bytearray())
        self._dropped = [0, 0]

    def add(self, piece: bytes, is_output: bool) -> None:
        """Takes in a piece; nothing of what lies beyond the limit is held."""
        place = 0 if is_output else 1
        room = self._limit - len(self._kept[place])
        self._kept[place].extend(piece[:room])
        self._dropped[place] += max(len(piece) - room, 0)

    @property
    def output(self) -> str:
        """What went to standard output."""
        return self._text(0)

    @property
    def everything(self) -> str:
        """Standard output, then standard error."""
        return "\n".join(text for text in (self._text(0), self._text(1)) if text)

    def _text(self, place: int) -> str:
        text = self._kept[place].decode("utf-8", "replace").rstrip("\n")
        return f"{text}\n[… {self._dropped[place]} more bytes were printed …]" if self._dropped[place] else text
