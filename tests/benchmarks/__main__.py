"""``make bench [BENCH=convert|train|plan]``: ratios measured in one run, with versions and threads beside them. Not a test."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROUNDS = 3


def main(names: list[str]) -> int:
    """Runs the named benchmarks, or all."""
    import torch
    import transformers

    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {torch.get_num_threads()} threads, medians of {ROUNDS}")
    benches: dict[str, Callable[[Path], None]] = {"convert": convert, "train": train, "plan": plan}
    for name in names or list(benches):
        if name not in benches:
            print(f'there is no benchmark "{name}"; known: {", ".join(benches)}', file=sys.stderr)
            return 2
        with tempfile.TemporaryDirectory() as folder:
            print(f"== {name}")
            benches[name](Path(folder))
    return 0


def plan(folder: Path) -> None:
    """Measured peak memory beside what `agenttune plan` says."""
    from tests.benchmarks.plan import plan as measure

    measure(folder)


def desk(folder: Path) -> Path:
    """The desk suite's training records."""
    import runpy

    from agenttune.files import shipped

    runpy.run_path(str(shipped("evals") / "desk" / "build" / "build.py"))["main"](["-o", str(folder)])
    return folder / "train.msagent.jsonl"


def convert(folder: Path) -> None:
    """Conversion of MSAgent records with every check on, against merely parsing the same file."""
    import orjson

    from agenttune.data.convert import convert as run

    raw = desk(folder)
    parse, ours = [], []
    for number in range(ROUNDS):
        start = time.perf_counter()
        with open(raw, "rb") as file:
            records = sum(1 for line in file if orjson.loads(line))
        parse.append(time.perf_counter() - start)
        start = time.perf_counter()
        run("msagent", [str(raw)], str(folder / f"out{number}.jsonl"))
        ours.append(time.perf_counter() - start)
    one, two = statistics.median(parse), statistics.median(ours)
    print(f"{records} records: orjson alone {records / one:,.0f} a second, convert {records / two:,.0f}: {two / one:.0f} times parsing")


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
