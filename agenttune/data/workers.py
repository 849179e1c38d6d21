"""A function over chunks in several processes: results in the order of the chunks, and never more of them under way than keeps all busy."""

from __future__ import annotations

import gc
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain
from typing import TypeVar

from agenttune.errors import UserError

S = TypeVar("S")
C = TypeVar("C")
R = TypeVar("R")
_AHEAD = 3  # chunks under way for each worker
_HEAVY = 64 << 20  # bytes under way, beyond which the oldest chunk is waited for
_OBJECTS = 20_000  # new objects between two searches; a chunk's own are freed without one
_FEW = 8  # fewer chunks are done before a process has started


def in_order(work: Callable[[S, C], R], shared: S, chunks: Iterator[C], workers: int, weigh: Callable[[C], int]) -> Iterator[tuple[C, R]]:
    """``(chunk, work(shared, chunk))`` for each chunk, in order; in this process with one worker or few chunks.

    `weigh` tells a chunk's bytes: where chunks are large fewer of them are under way, so that memory does not grow with `workers`.
    Raises `UserError` if a worker dies.
    """
    head, more = _head(chunks, weigh) if workers > 1 else ([], False)
    chunks = chain(head, chunks)
    if not more:
        for chunk in chunks:
            yield chunk, work(shared, chunk)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy this process's threads and locks in whatever state they are
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_quiet)
    waiting: deque[tuple[C, Future[R]]] = deque()
    heavy = 0
    try:
        for chunk in chunks:
            waiting.append((chunk, pool.submit(work, shared, chunk)))
            heavy += weigh(chunk)
            while waiting and (len(waiting) >= workers * _AHEAD or heavy > _HEAVY):
                done, future = waiting.popleft()
                heavy -= weigh(done)
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    except BrokenProcessPool as error:
        raise UserError("a worker process died (out of memory?); try again with --workers 1") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _head(chunks: Iterator[C], weigh: Callable[[C], int]) -> tuple[list[C], bool]:
    """The first chunks, and whether they are so many, or so large, that processes are worth their start."""
    head: list[C] = []
    heavy = 0
    for chunk in chunks:
        head.append(chunk)
        heavy += weigh(chunk)
        if len(head) >= _FEW or heavy > _HEAVY:
            return head, True
    return head, False


def _quiet() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the main process, which stops the workers
    gc.freeze()  # the modules stay: the search for lost objects need not pass them each time
    gc.set_threshold(_OBJECTS)
