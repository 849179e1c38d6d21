"""``make bench [BENCH=convert|train|masks|share|plan]``: measurements as ratios in one run, versions and threads beside them. Not a test.

``BENCH_MINUTES`` bounds the training benchmark (40 unless given), ``--quick`` makes it 4.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 3
NAMES = ("convert", "train", "masks", "share", "plan")


def main(given: list[str]) -> int:
    """Runs the named benchmarks; without a name those of speed."""
    import torch
    import transformers

    quick = "--quick" in given
    names = [one for one in given if not one.startswith("-")] or ["convert", "train"]
    minutes = float(os.environ.get("BENCH_MINUTES") or (4 if quick else 40))
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(2, os.cpu_count() or 2))
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {torch.get_num_threads()} threads")
    for name in names:
        if name not in NAMES:
            print(f'there is no benchmark "{name}"; known: {", ".join(NAMES)}', file=sys.stderr)
            return 2
        with tempfile.TemporaryDirectory() as folder:
            print(f"== {name}", flush=True)
            run(name, Path(folder), minutes)
    return 0


def run(name: str, folder: Path, minutes: float) -> None:
    """One benchmark; its imports are its own."""
    if name == "convert":
        convert(folder)
    elif name == "train":
        from tests.benchmarks import train

        train.main(folder, minutes)
    elif name == "masks":
        from tests.benchmarks import masks

        masks.main(folder)
    elif name == "plan":
        from tests.benchmarks import plan

        plan.plan(folder)
    else:
        from tests.benchmarks import share

        share.main(folder, minutes)


def convert(folder: Path) -> None:
    """Conversion of MSAgent records with every check on, against merely parsing the same file."""
    import orjson

    from agenttune.data.convert import convert as go
    from tests.benchmarks.rows import desk_file

    desk_file(folder)
    raw = folder / "train.msagent.jsonl"
    parse, ours = [], []
    for number in range(ROUNDS):
        start = time.perf_counter()
        with open(raw, "rb") as file:
            records = sum(1 for line in file if orjson.loads(line))
        parse.append(time.perf_counter() - start)
        start = time.perf_counter()
        go("msagent", [str(raw)], str(folder / f"out{number}.jsonl"))
        ours.append(time.perf_counter() - start)
    one, two = statistics.median(parse), statistics.median(ours)
    print(f"{records} records: orjson alone {records / one:,.0f} a second, convert {records / two:,.0f}: {two / one:.0f} times parsing")


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.exit(main(sys.argv[1:]))
