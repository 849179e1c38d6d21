"""What a Ctrl-C means, by what goes on and when the last one was."""

from __future__ import annotations

import time
from typing import Literal

AGAIN = 2.0  # seconds in which a second Ctrl-C leaves
PART_OF_IT = 0.3  # seconds in which a Ctrl-C belongs to the one that stopped something
HINT = "(Ctrl-C again or Ctrl-D leaves; Ctrl-C stops a step)"

Meaning = Literal["stop", "stop and leave", "clear", "leave", "hint", "nothing"]


class CtrlC:
    """While something works a press stops it, and another one, where it has not stopped, leaves too. At rest a press clears what is
    typed; on an empty line it is a hint, and twice it leaves."""

    def __init__(self) -> None:
        self._busy = self._told = False
        self._pressed = self._stopped = float("-inf")

    def works(self, busy: bool) -> None:
        """Something begins to work, or has ended."""
        self._busy, self._told = busy, False

    @property
    def busy(self) -> bool:
        """Whether something works."""
        return self._busy

    def press(self, typed: bool) -> Meaning:
        """What this one means; `typed`: the line is not empty."""
        now, before = time.monotonic(), self._pressed
        self._pressed = now
        if now - self._stopped <= PART_OF_IT:
            return "nothing"
        if self._busy:
            told, self._told, self._stopped = self._told, True, now
            return "stop and leave" if told else "stop"
        if typed:
            self._pressed = float("-inf")
            return "clear"
        return "leave" if now - before <= AGAIN else "hint"
