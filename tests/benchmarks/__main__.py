"""``make bench [BENCH=convert|train|masks|share|plan|data|eval|agent|serve]``: ratios in one run, versions and threads by them.

``BENCH_MINUTES`` bounds the training benchmark (40 unless given); ``--quick`` (or ``AGENTTUNE_QUICK=1``) makes it 4, and runs a small part
of the converter's and one case of the plan's. `data` is no measurement but the account of every file of real data. None of it is a test.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

NAMES = ("convert", "train", "masks", "share", "plan", "data", "eval", "agent", "serve")


def main(given: list[str]) -> int:
    """Runs the named benchmarks; without a name those of speed."""
    import torch
    import transformers

    quick = "--quick" in given or bool(os.environ.get("AGENTTUNE_QUICK"))
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
            run(name, Path(folder), minutes, quick)
    return 0


def run(name: str, folder: Path, minutes: float, quick: bool) -> None:
    """One benchmark; its imports are its own."""
    if name == "convert":
        from tests.benchmarks import convert

        convert.run(folder, quick=quick)
    elif name == "data":
        from tests.benchmarks import data

        data.run(folder, quick=quick)
    elif name == "eval":
        from tests.benchmarks import evals

        evals.run(quick=quick)
    elif name == "agent":
        from tests.benchmarks import agent

        agent.run(quick=quick)
    elif name == "serve":
        import torch

        from tests.benchmarks import serve

        serve.run(quick=quick, threads=torch.get_num_threads())
    elif name == "train":
        from tests.benchmarks import train

        train.main(folder, minutes)
    elif name == "masks":
        from tests.benchmarks import masks

        masks.main(folder)
    elif name == "plan":
        from tests.benchmarks import plan

        plan.plan(folder, quick=quick)
    else:
        from tests.benchmarks import share

        share.main(folder, minutes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
