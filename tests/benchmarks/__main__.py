"""``make bench [BENCH=convert|train]``: ratios measured in one run, with versions and threads beside them. Not a test.

``python -m tests.benchmarks NAME… [--quick]``; `data` is no measurement but the account of every file of real data, run when it is named.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.benchmarks import convert, data

ROUNDS = 3


def main(names: list[str]) -> int:
    """Runs the named benchmarks, or all that measure; ``--quick`` (or ``AGENTTUNE_QUICK=1``) runs a small part of those that know one."""
    import torch
    import transformers

    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {torch.get_num_threads()} threads, medians of {ROUNDS}")
    quick = "--quick" in names or bool(os.environ.get("AGENTTUNE_QUICK"))
    names = [name for name in names if name != "--quick"]
    benches: dict[str, Callable[[Path], None]] = {"convert": partial(convert.run, quick=quick), "train": train}
    known = {**benches, "data": partial(data.run, quick=quick)}
    for name in names or list(benches):
        if name not in known:
            print(f'there is no benchmark "{name}"; known: {", ".join(known)}', file=sys.stderr)
            return 2
        with tempfile.TemporaryDirectory() as folder:
            print(f"== {name}")
            known[name](Path(folder))
    return 0


def desk(folder: Path) -> Path:
    """The desk suite's training records."""
    import runpy

    from agenttune.files import shipped

    runpy.run_path(str(shipped("evals") / "desk" / "build" / "build.py"))["main"](["-o", str(folder)])
    return folder / "train.msagent.jsonl"


def train(folder: Path) -> None:
    """Samples a second of the same twenty Packs, shared, packed without sharing, and one sample at a time."""
    from agenttune.config import load_config
    from agenttune.data.convert import convert as run
    from agenttune.training.events import Event, StepLogged
    from agenttune.training.train import train as fit

    run("msagent", [str(desk(folder))], str(folder / "desk.jsonl"))
    found: dict[str, float] = {}
    for pack in ("share", "pack", "none"):
        seen: list[tuple[float, int]] = []

        def note(event: Event, seen: list[tuple[float, int]] = seen) -> None:
            if isinstance(event, StepLogged):
                seen.append((time.perf_counter(), event.step))

        steps = 20 if pack != "none" else 60
        overrides = [f"data={folder}/desk.jsonl", f"output={folder}/{pack}", f"pack={pack}", f"trainer.max_steps={steps}"]
        summary = fit(load_config("smollm2_135m_lora_desk", overrides), events=note)
        (first, start), (last, end) = seen[1], seen[-1]
        found[pack] = (end - start) / steps * summary.samples / (last - first)
        share = summary.tokens_computed / summary.tokens_total
        print(f"pack={pack:5} {found[pack]:.2f} samples/s, {summary.dtype}, {100 * share:.0f} % of the tokens computed")
    print(f"share / none {found['share'] / found['none']:.2f}, share / pack {found['share'] / found['pack']:.2f}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
