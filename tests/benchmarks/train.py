"""``make bench BENCH=train``: our trainer beside others', on the same base weights, samples, LoRA, dtype and threads, in turn."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks import peers, rows
from tests.benchmarks.arena import Contender, Died
from tests.benchmarks.rows import Data, Row

TRL = "trl==1.16.0"
NAMES = {"ours": "agenttune", "trainer": "transformers Trainer", "trl": TRL.replace("==", " ") + " SFTTrainer"}
ROUNDS = 3
TRIAL = 4096  # tokens by which a peer's settings are told apart: more would cost the rounds their time
Setting = dict[str, Any]


@dataclass(slots=True)
class Bench:
    """What all parts of a run share.

    `began` is when the run began, `shares` what parts that are not begun have of its time.
    `settings` holds each peer's fastest setting by dtype, found once; `too_large` the batches that a peer ran out of memory with.
    """

    folder: Path
    model: Path
    shape: Any
    threads: int
    minutes: float
    pythons: dict[str, str]
    settings: dict[tuple[str, str], Setting] = field(default_factory=dict)
    too_large: set[tuple[str, int]] = field(default_factory=set)
    began: float = field(default_factory=time.perf_counter)
    shares: float = 1.0

    def start(self, kind: str, dtype: str) -> Contender:
        return Contender(kind, self.model, dtype, self.threads, self.pythons[kind], self.folder)

    def seconds(self, share: float) -> float:
        """What a part may take: its share of the time that is left for it and the parts after it."""
        left = max(0.0, self.minutes * 60 - (time.perf_counter() - self.began))
        found = left * share / self.shares
        self.shares -= share
        return found


def main(folder: Path, minutes: float) -> None:
    """The whole table. Each line says what it compares; ratios are medians over rounds, with the least and the largest beside."""
    bench, tokenizer = prepare(folder, minutes)
    first, second = dtypes()
    desk = rows.load(rows.desk_file(folder), tokenizer)
    real_file = rows.real_file(folder)
    real = rows.load(real_file, tokenizer, None if minutes >= 20 else 300) if real_file else None
    if real is None:
        print("no real data (AGENTTUNE_DATA): the desk suite stands in for it")
    shown = real or desk
    print(
        f"{len(shown.renderings)} trajectories, {len(desk.renderings)} of the desk suite; after {time.perf_counter() - bench.began:.0f} s"
    )
    preparation(bench, shown, first)
    shown, said = rows.typical(shown)
    print(f"natural proportions: {said}", flush=True)
    where(bench, shown, first)
    race(bench, "natural proportions, plain", shown, rows.plain, first, 0.28)
    race(bench, "natural proportions, one step a sample", shown, rows.exploded, first, 0.22)
    race(bench, "best case (one scenario), plain", rows.one_group(shown), rows.plain, first, 0.12)
    race(bench, "desk suite, plain", desk, rows.plain, first, 0.08)
    race(bench, "natural proportions, plain", shown, rows.plain, second, 0.18)
    growth(bench, first, 0.12)
    print(f"{(time.perf_counter() - bench.began) / 60:.1f} minutes in all")


def prepare(folder: Path, minutes: float) -> tuple[Bench, Any]:
    """Base weights in one folder for all, environments, versions."""
    import sys

    import peft
    import torch

    from agenttune.models.hf import load_pretrained, wrap_tokenizer

    model, tokenizer = load_pretrained(os.environ.get("BENCH_MODEL") or "smollm2-135m", device="cpu", dtype="float32")
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    pythons = {"ours": sys.executable, "trainer": sys.executable}
    python = peers.environment("trl", ["--no-deps", TRL], above_ours=True)
    if python:
        pythons["trl"] = python
    print(f"peft {peft.__version__}, {', '.join(NAMES[one] for one in pythons)}; SmolLM2-135M, LoRA r=16, eight samples a step")
    return Bench(folder, folder / "base", model.config, torch.get_num_threads(), minutes, pythons), wrap_tokenizer(tokenizer)


def dtypes() -> tuple[str, str]:
    """The dtype that this CPU multiplies faster, by the project's own rule, and the other."""
    from agenttune.models.device import pick_dtype

    first = str(pick_dtype("auto", "cpu")).removeprefix("torch.")
    return first, "float32" if first == "bfloat16" else "bfloat16"


def race(bench: Bench, name: str, data: Data, make: Callable[[Any, int], list[Row]], dtype: str, share: float) -> None:
    """Samples a second and peak memory of all contenders over the same rows, a round each in turn."""
    began, budget = time.perf_counter(), bench.seconds(share)
    with ExitStack() as stack:
        contenders = {kind: stack.enter_context(bench.start(kind, dtype)) for kind in bench.pythons}
        packs = [make([data.renderings[index] for index in pack], number) for number, pack in enumerate(data.packs[:64])]
        speed, losses = warm(bench, contenders, packs, dtype)
        chosen, rounds = _afford(packs, speed, budget)
        file = rows.write([row for pack in chosen for row in pack], bench.folder / "race.jsonl")
        found: dict[str, list[float]] = {kind: [] for kind in contenders}
        answers: dict[str, Any] = {}
        peaks: list[float] = []
        first = time.perf_counter()
        for number in range(rounds):
            now = time.perf_counter()
            if number and now - began + (now - first) / number > budget:
                break  # long rows cost more a token than the short ones that `warm` saw
            for kind, one in list(contenders.items()):
                try:
                    answers[kind] = held(bench, one, dtype, file)
                except Died as error:
                    if kind == "ours":
                        raise
                    print(f"  {NAMES[kind]} is left out of what follows here: it ended ({error.why()})", flush=True)
                    del contenders[kind], found[kind]
                    continue
                found[kind].append(answers[kind]["seconds"])
            peaks.append(contenders["ours"].ask("peak")["flops"])
    flat = [row for pack in chosen for row in pack]
    _table(bench, f"{name}, {dtype}", flat, found, answers, dtype)
    work, best = rows.operations(flat, bench.shape), statistics.median(found["ours"])
    peak = max(peaks)  # what the machine can, not what it did on average
    reach = f"{100 * work / best / peak:.0f} % of the {peak / 1e9:.0f} GFLOP/s that a large product reaches"
    print(f"  useful work: {work / best / 1e9:.0f} GFLOP/s, {reach}; first losses {', '.join(f'{one:.4f}' for one in losses)}")


def warm(bench: Bench, contenders: dict[str, Contender], packs: Sequence[list[Row]], dtype: str) -> tuple[float, list[float]]:
    """(seconds a token of all contenders together, first loss of each), by a small step in each peer's settings."""
    rows_ = sorted(packs[0], key=lambda row: len(row["ids"]))[:4]
    while len(rows_) > 2 and sum(len(row["ids"]) for row in rows_) > TRIAL:
        rows_.pop()
    file = rows.write(rows_, bench.folder / "warm.jsonl")
    tokens = sum(len(row["ids"]) for row in rows_)
    total, losses = 0.0, []
    for kind, one in contenders.items():
        options = [bench.settings[kind, dtype]] if (kind, dtype) in bench.settings else _options(kind, dtype)
        loss, tried = attempts(bench, one, file, options, dtype)
        losses.append(loss)
        seconds, bench.settings[kind, dtype] = min(tried, key=lambda pair: pair[0])
        if len(tried) > 1:
            said = ", ".join(f"{_said(option)} {tokens / spent:.0f} tokens/s" for spent, option in tried)
            print(f"  {NAMES[kind]}, {dtype}, settings tried: {said}")
        total += seconds
    return total / tokens, losses


def attempts(bench: Bench, one: Contender, file: Path, options: Sequence[Setting], dtype: str) -> tuple[float, list[tuple[float, Setting]]]:
    """(first loss, seconds of each setting that it gets through)."""
    loss, tried = math.nan, list[tuple[float, Setting]]()
    for option in options:
        if (one.kind, option.get("batch", 1)) in bench.too_large:
            continue
        try:
            seen = one.ask("train", rows=str(file), **option)
            loss = seen["loss"] if math.isnan(loss) else loss
            tried.append((seen["seconds"], option))
        except Died as error:
            print(f"  {NAMES[one.kind]}, {dtype}, {_said(option)}: ended ({error.why()})", flush=True)
            bench.too_large.add((one.kind, option.get("batch", 1)))
            one.start()
    if not tried:
        raise Died(f"{NAMES[one.kind]} got through with no setting")
    return loss, tried


def held(bench: Bench, one: Contender, dtype: str, file: Path) -> dict[str, Any]:
    """The answer over `file`; a setting under which its process ends gives way to one sample at a time, from here on."""
    setting = bench.settings[one.kind, dtype]
    try:
        return one.ask("train", rows=str(file), **setting)
    except Died as error:
        if setting.get("batch", 1) == 1:
            raise
        print(f"  {NAMES[one.kind]}, {dtype}, {_said(setting)}: ended ({error.why()}); now one at a time", flush=True)
        one.start()
        bench.settings[one.kind, dtype] = {**setting, "batch": 1}
        return one.ask("train", rows=str(file), **bench.settings[one.kind, dtype])


def _options(kind: str, dtype: str) -> list[Setting]:
    if kind == "ours":
        return [{}]
    casts = [False] if dtype == "float32" else [False, True]
    return [{"batch": batch, "a_step": 8, "autocast": cast} for cast in casts for batch in (4, 1)]


def _said(option: Setting) -> str:
    return f"batch {option['batch']} of {option['a_step']}{', autocast' if option['autocast'] else ''}"


def _afford(packs: Sequence[list[Row]], speed: float, budget: float) -> tuple[list[list[Row]], int]:
    """As many Packs as three rounds can hold, one at least; fewer rounds where even one is too much."""
    chosen: list[list[Row]] = []
    spent = 0.0
    for pack in packs:
        cost = speed * sum(len(row["ids"]) for row in pack)
        if chosen and (spent + cost) * ROUNDS > budget:
            break
        chosen.append(pack)
        spent += cost
    return chosen, max(1, min(ROUNDS, int(budget // max(spent, 1e-9))))


def _table(bench: Bench, title: str, flat: Sequence[Row], found: dict[str, list[float]], answers: dict[str, Any], dtype: str) -> None:
    tokens = sum(len(row["ids"]) for row in flat)
    trained = sum(label >= 0 for row in flat for label in row["labels"])
    computed = answers["ours"]["computed"]
    print(f"== {title}, {len(found['ours'])} rounds")
    print(f"  {len(flat)} samples, {tokens:,} tokens, {100 * trained / tokens:.1f} % trained; agenttune computes {computed:,.0f}")
    for kind, seconds in found.items():
        line = f"  {NAMES[kind]:24} {len(flat) / statistics.median(seconds):6.2f} samples/s  {answers[kind]['peak_mib']:7,.0f} MiB"
        if kind != "ours":
            ratios = [theirs / ours for theirs, ours in zip(seconds, found["ours"], strict=True)]
            memory = answers["ours"]["peak_mib"] / answers[kind]["peak_mib"]
            line += (
                f"   agenttune is {statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f}) with {memory:.2f}x the memory"
            )
            line += f"   ({_said(bench.settings[kind, dtype])})"
        print(line)


def growth(bench: Bench, dtype: str, share: float) -> None:
    """Seconds by steps of a trajectory, one step a sample; the exponent is that of the last doubling. One peer stands for those alike."""
    budget, spent = bench.seconds(share), time.perf_counter()
    print(f"== cost by steps a trajectory, one step a sample, {dtype}")
    with ExitStack() as stack:
        contenders = {kind: stack.enter_context(bench.start(kind, dtype)) for kind in ("ours", "trainer")}
        found: dict[str, list[tuple[int, float]]] = {kind: [] for kind in contenders}
        for steps in (1, 2, 4, 8, 16, 32):
            start = time.perf_counter()
            file = rows.write(rows.growing(steps), bench.folder / "growth.jsonl")
            for kind, one in contenders.items():
                taken = held(bench, one, dtype, file)["seconds"]
                found[kind].append((steps, taken))
            now = time.perf_counter()
            if now - spent + 3.5 * (now - start) > budget:  # twice the steps cost peers up to 3.4 times as much
                break
    for kind, pairs in found.items():
        (before, early), (after, late) = pairs[-2:]
        power = math.log(late / early) / math.log(after / before)
        print(f"  {NAMES[kind]:24} {', '.join(f'{steps}: {seconds:.2f} s' for steps, seconds in pairs)}   grows as n^{power:.2f}")


def preparation(bench: Bench, data: Data, dtype: str) -> None:
    """Samples a second from records on disk to what the loop reads."""
    count = 1000 if bench.minutes >= 20 else 100
    file = rows.messages(data.samples[:count], bench.folder / "messages.jsonl")
    kinds = [kind for kind in ("ours", "trl") if kind in bench.pythons]
    with ExitStack() as stack:
        contenders = {kind: stack.enter_context(bench.start(kind, dtype)) for kind in kinds}
        found: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
        for _ in range(ROUNDS):
            for kind, one in contenders.items():
                found[kind].append(one.ask("prepare", file=str(file)))
    print(f"== preparation of {len(data.samples[:count])} samples, by the clock")
    for kind, answers in found.items():
        speed = len(data.samples[:count]) / statistics.median(one["seconds"] for one in answers)
        line = f"  {NAMES[kind]:24} {speed:7,.0f} samples/s, {answers[0]['tokens']:,.0f} tokens"
        if kind != "ours":
            pairs = list(zip(answers, found["ours"], strict=True))
            clock, processor = (statistics.median(a[which] / b[which] for a, b in pairs) for which in ("seconds", "processor"))
            line += f"   agenttune is {clock:.2f}x, by processor seconds {processor:.2f}x"
        print(line, flush=True)


def where(bench: Bench, data: Data, dtype: str) -> None:
    """The profile of one of our steps."""
    file = rows.write(rows.plain([data.renderings[index] for index in data.packs[0]], 0), bench.folder / "where.jsonl")
    with bench.start("ours", dtype) as ours:
        seen = ours.ask("where", rows=str(file))
    whole = sum(seen["kinds"].values())
    print(f"== where a step's {seen['seconds']:.2f} s go, {dtype}")
    print("  " + ", ".join(f"{kind} {100 * seconds / whole:.0f} %" for kind, seconds in seen["kinds"].items()))
    print("  " + ", ".join(f"{name} {100 * seconds / whole:.1f} %" for name, seconds in seen["names"]))
