"""Work that a test watches: seconds of this process's own CPU time, which a busy machine does not change."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable


def cpu_seconds(work: Callable[[], object]) -> float:
    """What `work` takes of the processor."""
    gc.collect()
    began = time.process_time()
    work()
    return time.process_time() - began


def grows_linearly(work: Callable[[int], object], size: int, *, allowed: float = 0.05) -> bool:
    """Whether eight times the size takes no more than sixteen times the work, and `allowed` seconds; a square would take sixty-four."""
    return cpu_seconds(lambda: work(8 * size)) <= 16 * cpu_seconds(lambda: work(size)) + allowed
