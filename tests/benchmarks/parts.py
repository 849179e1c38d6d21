"""Where a conversion's time goes: each part of the work by itself, over the same records, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TypeVar

from agenttune import protocols
from agenttune.data.convert.converted import digest_of, line_of
from agenttune.data.quality import doctor
from agenttune.protocols.base import write
from agenttune.sources.base import ReadOptions
from agenttune.sources.msagent import source as msagent
from agenttune.sources.reading import files
from agenttune.sources.reading.records import parse
from agenttune.values.sample import sample_to_json

R = TypeVar("R")


def show(raw: Path, count: int) -> None:
    """Prints microseconds a record for each part, the best of three rounds of processor time."""
    records = list(islice(files.read(files.expand([str(raw)])[0]), count))
    found: dict[str, float] = {}

    def part(name: str, work: Callable[[], R]) -> R:
        best = float("inf")
        for _ in range(3):
            start = time.process_time()
            made = work()
            best = min(best, time.process_time() - start)
        found[name] = 1e6 * best / len(records)
        return made

    options, react = ReadOptions(file=str(raw), line=1), protocols.get("react")
    values = part("parse the line", lambda: [parse(one) for one in records])
    texts = part("read the messages", lambda: [msagent.messages_of(one, []) for one in values])
    read = part("read the record", lambda: [next(msagent.read(one, options)) for one in values])
    found["read the record"] -= found["read the messages"]
    part("examine it", lambda: [doctor.examine(one) for one in read])
    samples = part("write it as turns", lambda: [write(one, react) for one in read])
    part("make its line", lambda: [line_of(sample_to_json(one)) for one in samples])
    part("its digest", lambda: [digest_of(one) for one in read])
    total = sum(found.values())
    shares = ", ".join(f"{name} {100 * cost / total:.0f} %" for name, cost in found.items())
    print(f"of {total:.0f} µs of a record in {len(texts):,}: {shares}")
