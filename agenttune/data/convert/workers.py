"""A function over chunks in several processes: results in the order of the chunks, and never more of them under way than keeps all busy."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeVar

from agenttune.errors import UserError

S = TypeVar("S")
C = TypeVar("C")
R = TypeVar("R")
_AHEAD = 3  # chunks under way for each worker
_HEAVY = 64 << 20  # bytes under way, beyond which the oldest chunk is waited for
_OBJECTS = 20_000  # new objects between two searches; a chunk's own are freed without one
_FEW = 8  # fewer chunks are done before a process has started
_SLOW = 1.0  # seconds; what comes more slowly than that is done at once, in this process
_THREADS = Path("/proc/self/task")  # one entry a thread, those of native libraries among them


def in_order(work: Callable[[S, C], R], shared: S, chunks: Iterator[C], workers: int, weigh: Callable[[C], int]) -> Iterator[tuple[C, R]]:
    """``(chunk, work(shared, chunk))`` for each chunk, in order; in this process with one worker, few chunks, or while they come slowly.

    `weigh` tells a chunk's bytes: where chunks are large fewer of them are under way, so that memory does not grow with `workers`.
    Raises `UserError` if a worker dies.
    """
    head: list[C] = []
    heavy, began = 0, time.monotonic()
    for chunk in chunks:
        head.append(chunk)
        heavy += weigh(chunk)
        if workers > 1 and (len(head) >= _FEW or heavy > _HEAVY):
            yield from _pooled(work, shared, chain(head, chunks), workers, weigh)
            return
        if workers > 1 and time.monotonic() - began < _SLOW:
            continue
        yield from ((one, work(shared, one)) for one in head)
        head, heavy, began = [], 0, time.monotonic()
    yield from ((one, work(shared, one)) for one in head)


def _pooled(work: Callable[[S, C], R], shared: S, chunks: Iterator[C], workers: int, weigh: Callable[[C], int]) -> Iterator[tuple[C, R]]:
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context(_start()), initializer=_quiet)
    waiting: deque[tuple[C, Future[R]]] = deque()
    heavy = 0
    try:
        for chunk in chunks:
            waiting.append((chunk, pool.submit(work, shared, chunk)))
            heavy += weigh(chunk)
            while waiting and (len(waiting) >= workers * _AHEAD or heavy > _HEAVY or waiting[0][1].done()):
                done, future = waiting.popleft()
                heavy -= weigh(done)
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    except BrokenProcessPool as error:
        raise UserError("a worker process died (out of memory?); try again with --workers 1") from error
    except BaseException:  # a Ctrl-C, or nobody wants the rest: no record under way is worth waiting for
        _end(pool, before)
        raise
    pool.shutdown()


def _end(pool: ProcessPoolExecutor, before: set[BaseProcess]) -> None:
    """Kills the pool's workers, whatever they are at. A further Ctrl-C meanwhile changes nothing: this takes no time."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    try:
        for child in set(multiprocessing.active_children()) - before:
            child.kill()
        pool.shutdown(cancel_futures=True)
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)


def _start() -> str:
    """``fork`` where this process has one thread, so that workers need not import anew what is here; else ``spawn``.

    A fork copies locks in the state they are in, and of several threads only one: what another one holds would be held for ever.
    """
    if sys.platform != "linux" or threading.active_count() > 1:
        return "spawn"
    try:
        return "fork" if len(list(_THREADS.iterdir())) == 1 else "spawn"
    except OSError:
        return "spawn"


def _quiet() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the main process, which stops the workers
    gc.freeze()  # the modules stay: the search for lost objects need not pass them each time
    gc.set_threshold(_OBJECTS)
    threading.Thread(target=_leave, daemon=True).start()


def _leave() -> None:
    """A worker whose main process was killed would wait for its next chunk for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
