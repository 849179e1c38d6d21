"""Work in several processes: results in order, and no more under way than memory allows."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from agenttune.data import workers


def work(shared: int, chunk: bytes) -> tuple[int, int]:
    return len(chunk) * shared, os.getpid()


@pytest.mark.parametrize(("count", "most"), [(1, 1), (2, 7)])
def test_results_come_in_order_and_large_chunks_wait(monkeypatch: pytest.MonkeyPatch, count: int, most: int) -> None:
    monkeypatch.setattr(workers, "_HEAVY", 5000)
    given: list[int] = []

    def chunks() -> Iterator[bytes]:
        for size in [*range(1, 31), 4000, 4000, 4000, 4000, 1]:
            given.append(size)
            yield b"x" * size

    ahead, pids = [], set()
    for done, (chunk, (length, pid)) in enumerate(workers.in_order(work, 3, chunks(), count, len), 1):
        assert length == 3 * len(chunk)
        pids.add(pid)
        ahead.append((len(given) - done, sum(given[done:])))
    assert len(ahead) == 35
    assert (pids == {os.getpid()}) == (count == 1)
    # The first eight are taken at once, to see whether there are few.
    assert max(number for number, _ in ahead[8:]) <= most
    assert max(heavy for _, heavy in ahead) <= 5000 + 4000
