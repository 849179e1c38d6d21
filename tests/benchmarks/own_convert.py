"""Our side of the converter's benchmark, in a process of its own: ``FILE OUT WORKERS ROUNDS``; a round more than asked for, to warm up."""

from __future__ import annotations

import json
import os
import sys
import time

from agenttune.data.convert.options import ConvertOptions
from agenttune.data.convert.run import convert


def main() -> None:
    """Prints ``[[seconds by the clock, seconds of processors in this process and those it waited for], …]``."""
    raw, out, workers, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    times = []
    for _ in range(rounds + 1):
        start, used = time.perf_counter(), sum(os.times()[:4])
        report = convert("msagent", [raw], out, options=ConvertOptions(workers=workers))
        times.append((time.perf_counter() - start, sum(os.times()[:4]) - used))
        assert report.records == report.samples, "the generated file holds only records that both can keep"
    print(json.dumps(times))


if __name__ == "__main__":
    main()
