"""How many requests a backend has in hand: at most so many, none once it closes."""

from __future__ import annotations

import threading
import time

from agenttune.serving.backends.base import Busy, Counts


class Admission:
    """At most `batch` requests at once and `waiting` behind them; each that comes in is told to `counts`. From any thread."""

    def __init__(self, batch: int, waiting: int, counts: Counts) -> None:
        self._batch, self._most, self._counts = max(1, batch), batch + waiting, counts
        self._lock = threading.Lock()
        self._open = 0
        self._closing = False

    def enter(self) -> None:
        """One more. Raises `Busy` when too many wait, or nothing new is taken."""
        with self._lock:
            if self._closing or self._open >= self._most:
                raise Busy(max(1, self._open // self._batch))
            self._open += 1
            self._counts.requests += 1

    def leave(self) -> None:
        """One that came in has ended."""
        with self._lock:
            self._open -= 1

    def close(self, seconds: float) -> bool:
        """Takes nothing new, and waits so long for those inside; whether all have left."""
        with self._lock:
            self._closing = True
        end = time.monotonic() + seconds
        while self._open and time.monotonic() < end:
            time.sleep(0.02)
        return not self._open
