"""Processes that a test watches."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


def living(pid: int) -> bool:
    """Whether a process still runs. One that has ended may be in the table for a while, where nobody waits for orphans."""
    try:
        if not Path("/proc/self/stat").exists():  # not Linux
            os.kill(pid, 0)
            return True
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def within(true: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether something becomes true in that time."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()
