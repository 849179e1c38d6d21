"""Ctrl-C by a person who means it once, and presses it more often."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType

PAUSE = 0.3  # seconds in which further ones are part of the last


class DebouncedInterrupts:
    """While it is entered, a KeyboardInterrupt that follows another within `PAUSE` seconds is not raised.

    So the code that handles the first is not interrupted by the second. A later one is always raised. Only in the main thread,
    which alone may set signal handlers, and only where Ctrl-C is handled by Python's own handler.
    """

    def __init__(self) -> None:
        self._last = float("-inf")
        self._set = False

    def __enter__(self) -> DebouncedInterrupts:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._on)
            self._set = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._set:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def seen(self) -> None:
        """One is being handled."""
        self._last = time.monotonic()

    def _on(self, number: int, frame: FrameType | None) -> None:
        if time.monotonic() - self._last >= PAUSE:
            self.seen()
            raise KeyboardInterrupt
