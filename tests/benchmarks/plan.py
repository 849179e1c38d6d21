"""The plan's constants from three measured runs, and what they say of three others: ``make bench BENCH=plan``."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from agenttune.training.memory.activations import activation_bytes
from agenttune.training.memory.estimate import CPU, AllocatorConstants, dequantized_bytes, device_bytes, memory_items
from agenttune.training.memory.model_shape import ModelShape, shape_from
from agenttune.training.memory.settings import MemorySettings

ROOT = Path(__file__).resolve().parents[2]
FIT = (("lora", 512), ("qlora", 512), ("full", 1200))
TEST = (("lora", 1200), ("qlora", 1200), ("full", 512))
REPEATS = 3  # the peak of one and the same run varies by a few percent, of QLoRA's by seven


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A run in a process of its own: tokens of a pack, resident bytes before its first step, and their peak while it trained.

    Of a run that was repeated these are medians, and `peaks` are all of them.
    """

    method: str
    tokens: int
    supervised: int
    start: int
    peak: int
    peaks: tuple[int, ...] = ()

    @property
    def run(self) -> MemorySettings:
        """As the plan sees it."""
        return MemorySettings(
            method=self.method, rank=16, tokens=self.tokens, supervised=self.supervised, half=False, checkpointing=False,
            accumulation=2, state=8.0, gpu=False,
        )  # fmt: skip


def measure(model: str, method: str, words: int) -> Measured:
    """Starts one run and waits for it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.benchmarks.plan_run", model, method, str(words), folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=1500, check=False, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    told = json.loads(done.stdout.splitlines()[-1])
    return Measured(method=method, tokens=told["tokens"], supervised=told["supervised"], start=told["start"], peak=told["peak"])


def repeated(model: str, method: str, words: int, times: int = REPEATS) -> Measured:
    """The same run several times, one after the other."""
    return middle([measure(model, method, words) for _ in range(times)])


def middle(runs: list[Measured]) -> Measured:
    """One run's repeats as one: the median of what was resident before, and of the peaks."""
    peaks = tuple(sorted(one.peak for one in runs))
    return replace(runs[0], start=round(median(one.start for one in runs)), peak=round(median(peaks)), peaks=peaks)


def planned(shape: ModelShape, one: Measured) -> int:
    """What the plan says of a measured run."""
    return device_bytes(memory_items(shape, one.run))


def fitted(shape: ModelShape, runs: list[Measured]) -> AllocatorConstants:
    """The constants of three runs, one a method.

    `context` is what is resident before the first step beside the weights (LoRA and full; a quantised base leaves traces of its
    loading); `slack` gives the least squares of relative errors of these two; `fragmentation` gives the quantised run its peak.
    """
    lora, qlora, full = (next(one for one in runs if one.method == method) for method in ("lora", "qlora", "full"))
    context = sum(one.start - _weights(shape, one) for one in (lora, full)) // 2
    pairs = [(activation_bytes(shape, one.run) / one.peak, 1 - _rest(shape, one, context) / one.peak) for one in (lora, full)]
    slack = sum(share * wanted for share, wanted in pairs) / sum(share * share for share, _ in pairs)
    fragmentation = (qlora.peak - _rest(shape, qlora, context) - slack * activation_bytes(shape, qlora.run)) / dequantized_bytes(
        shape, qlora.run
    )
    return AllocatorConstants(context=context, slack=slack, fragmentation=fragmentation)


def _weights(shape: ModelShape, one: Measured) -> int:
    return sum(part.size for part in memory_items(shape, one.run) if "weights" in part.name)


def _rest(shape: ModelShape, one: Measured, context: int) -> int:
    """All that is planned beside the activations, with this context."""
    return sum(part.size for part in memory_items(shape, one.run) if part.name not in ("activations", "fragmentation", "context")) + context


def plan(folder: Path, *, quick: bool = False) -> None:
    """Measures all six, says which constants the first three give, and how far the plan in force is from each; `quick`: one run only."""
    from agenttune.training.memory.published import published_figures
    from tests.benchmarks.plan_model import SHAPE, write

    shape = shape_from(SHAPE, "the benchmark's model")
    model = str(write(folder / "model"))
    if quick:
        show(shape, "quick", repeated(model, *FIT[0]))
        return
    runs = {kind: [repeated(model, *spec) for spec in specs] for kind, specs in (("fitted", FIT), ("tested", TEST))}
    found = fitted(shape, runs["fitted"])
    print(f"constants of these runs: context {found.context >> 20} MiB, slack {found.slack:.2f}, fragmentation {found.fragmentation:.2f}")
    print(f"constants in force:      context {CPU.context >> 20} MiB, slack {CPU.slack:.2f}, fragmentation {CPU.fragmentation:.2f}")
    for kind, measured in runs.items():
        for one in measured:
            show(shape, kind, one)
    for point in published_figures():
        print(f"{point.what}: published {point.published:.0f} GB, planned {point.planned:.1f}; {point.why}")


def show(shape: ModelShape, kind: str, one: Measured) -> None:
    """A line: the median peak, what the plan says of it, and between which peaks the repeats lay."""
    said, low, high = planned(shape, one), one.peaks[0] >> 20, one.peaks[-1] >> 20
    print(
        f"{kind} {one.method:6}{one.tokens:6} tokens: {one.peak >> 20:6} MiB, planned {said >> 20:6} ({said / one.peak - 1:+.1%}); "
        f"{len(one.peaks)} runs, {low} to {high} MiB ({one.peaks[-1] / one.peaks[0] - 1:.1%} apart)",
        flush=True,
    )
