"""``make bench BENCH=convert``: records a second against XTuner's pipeline and against parsing, where the time goes, memory, linearity."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson

from tests.benchmarks import msagent_file, parts, peers

ROUNDS = 3
GOAL = 3.0
PEER = Path(__file__).with_name("peer_convert.py")


def run(folder: Path, *, quick: bool) -> None:
    """All measurements. `quick`: a tenth of the records, and memory at 10 and 50 thousand instead of a million."""
    workers = os.cpu_count() or 1
    records = 4_000 if quick else 20_000
    raw = msagent_file.write(folder / "raw.jsonl", records)
    size = raw.stat().st_size / 1e6
    print(f"{records:,} generated MSAgent records, {size:.0f} MB; {workers} workers, every check on; medians of {ROUNDS}")
    parsed = timed(lambda: parse(raw))
    ours = alone(raw, folder / "ours.jsonl", workers)
    one = alone(raw, folder / "one.jsonl", 1)
    print(f"agenttune: {records / ours[0]:,.0f} records a second, {records / one[0]:,.0f} with one worker, {processor(ours, records)}")
    print(f"orjson alone: {records / parsed[0]:,.0f} a second, {one[0] / parsed[0]:.0f} times as many, {processor(parsed, records)}")
    against_xtuner(raw, workers, records, ours)
    parts.show(raw, 1_000 if quick else 4_000)
    memory(folder, (10_000, 50_000) if quick else (10_000, 1_000_000), workers)


def alone(raw: Path, out: Path, workers: int) -> tuple[float, float]:
    """One conversion in a process of its own that has imported what it needs, as XTuner's side is measured too."""
    command = [sys.executable, "-m", "tests.benchmarks.own_convert", str(raw), str(out), str(workers), str(ROUNDS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    took, used = (statistics.median(one) for one in zip(*json.loads(done.stdout)[1:], strict=True))
    return took, used


def parse(raw: Path) -> int:
    """The least that anybody must do."""
    with open(raw, "rb") as file:
        return sum(1 for line in file if orjson.loads(line))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of processors in this process and those it waited for: medians of some rounds after one that counts not."""
    times = []
    for _ in range(ROUNDS + 1):
        start, used = time.perf_counter(), sum(os.times()[:4])
        work()
        times.append((time.perf_counter() - start, sum(os.times()[:4]) - used))
    return statistics.median(one for one, _ in times[1:]), statistics.median(one for _, one in times[1:])


def processor(seconds: tuple[float, float], records: int) -> str:
    """The cost of a record, which other work on the machine changes least."""
    return f"{1e6 * seconds[1] / records:,.0f} µs of processor time a record"


def against_xtuner(raw: Path, workers: int, records: int, ours: tuple[float, float]) -> None:
    """Its map function under `datasets.map`, with as many processes, over the same file."""
    python = peers.environment("xtuner-convert", ["--no-deps", "xtuner==0.1.11"], ["datasets==5.2.0"])
    if python is None:
        return
    done = subprocess.run([python, str(PEER), str(raw), str(workers), str(ROUNDS)], capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"XTuner's pipeline did not run: {done.stderr.strip().splitlines()[-1:]}")
        return
    said = json.loads(done.stdout.strip().splitlines()[-1])
    assert said["records"] == records
    load, mapped, used = (statistics.median(one) for one in zip(*said["times"], strict=True))
    versions = ", ".join(f"{name} {version}" for name, version in said["versions"].items())
    print(f"XTuner ({versions}): {records / (load + mapped):,.0f} records a second, {records / mapped:,.0f} in datasets.map alone,")
    print(f"  {processor((0.0, used), records)}; {said['kept']:,} of {records:,} kept")
    print(f"agenttune / XTuner {(load + mapped) / ours[0]:.2f} by the clock, {used / ours[1]:.2f} in processor time (goal {GOAL:.0f});")
    print(f"  against its map alone {mapped / ours[0]:.2f} by the clock")


def memory(folder: Path, sizes: tuple[int, int], workers: int) -> None:
    """Peak resident memory and time of the command at two sizes, over small records: what grows with their number shows."""
    seconds = []
    for records in sizes:
        raw = msagent_file.write(folder / f"{records}.jsonl", records, scale=0.25)
        size = raw.stat().st_size / 1e6
        took, main, others = watched([str(raw), "-o", str(folder / f"{records}.out.jsonl"), "--workers", str(workers)])
        seconds.append(took)
        print(f"{records:9,} records, {size:,.0f} MB: {took:.1f} s, peak {main:.0f} MB in the main process, {others:.0f} in a worker")
        for path in folder.glob(f"{records}.*"):
            path.unlink()
    print(f"{sizes[1] / sizes[0]:.0f} times the records took {seconds[1] / seconds[0]:.0f} times as long")


def watched(arguments: list[str]) -> tuple[float, float, float]:
    """Seconds of one `agenttune convert`, and the peak of its process and of its largest worker in MB, as Linux keeps them."""
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-m", "agenttune", "convert", "msagent", *arguments], stdout=subprocess.DEVNULL)
    main = others = 0.0
    while child.poll() is None:
        main = max(main, peak(child.pid))
        others = max([others, *(peak(pid) for pid in children(child.pid))])
        time.sleep(0.1)
    assert child.returncode == 0, f"agenttune convert ended with {child.returncode}"
    return time.perf_counter() - start, main, others


def peak(pid: int) -> float:
    """The most memory a process has held so far, in MB; 0 where that cannot be known."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM")), 0.0)


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except OSError:
        return []
