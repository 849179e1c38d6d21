"""``make bench BENCH=share``: dev loss of ``pack=share`` against ``pack=none`` at equal supervised tokens, over three seeds.

Sharing changes which samples meet in a step and nothing else; this asks whether that costs anything. Both see every training sample
once, in the same number of steps at the same learning rates: sharing takes as many steps as its Packs fill, and the other as many samples
a step as that makes on average. A run of a dozen steps says little: there each step counts for much, and what meets in it too.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks import rows

if TYPE_CHECKING:
    from agenttune.training.events import TrainSummary

SEEDS = (0, 1, 2)
PACK, PACKS = 3, 2  # samples of one tool list, and such Packs a step
A_STEP = PACK * PACKS
STEPS = 12  # at least
BATCH = 8  # development samples at once


def main(folder: Path, minutes: float) -> None:
    """Prints a line a run, then the difference of the modes beside the spread of the seeds."""
    train, dev = files(folder, samples_for(minutes))
    found: dict[str, list[float]] = {"share": [], "none": []}
    for seed in SEEDS:
        a_step = A_STEP
        for mode in found:
            start = time.perf_counter()
            loss, summary = run(folder, train, dev, mode, seed, a_step)
            found[mode].append(loss)
            a_step = round(summary.samples / summary.steps)
            print(
                f"  seed {seed}, {mode:5}: dev loss {loss:.4f} after {summary.tokens_supervised:,} trained tokens in {summary.steps} steps,"
                f" {summary.tokens_computed:,} computed, {time.perf_counter() - start:.0f} s",
                flush=True,
            )
    pairs = [one - other for one, other in zip(found["share"], found["none"], strict=True)]
    spread = statistics.stdev(found["none"])
    print(f"share - none: {statistics.mean(pairs):+.4f} ({', '.join(f'{one:+.4f}' for one in pairs)})")
    print(f"seeds of none spread by {spread:.4f} (standard deviation), of share by {statistics.stdev(found['share']):.4f}")


def samples_for(minutes: float) -> int:
    """Training samples for six runs in so many minutes, at some 16 a minute for all six; a whole number of steps."""
    return max(A_STEP * STEPS, int(minutes * 16) // A_STEP * A_STEP)


# LoRA's and Adam's usual settings, whatever the shipped config has found for its own number of steps.
PLAIN = (
    "lora.lr_ratio=1", "trainer.learning_rate=2e-3", "trainer.lr_scheduler_type=cosine",
    "trainer.adam_beta1=0.9", "trainer.adam_beta2=0.999",
)  # fmt: skip


def files(folder: Path, count: int) -> tuple[Path, Path]:
    """(training, development) samples of the desk suite: different records, whole groups in each."""
    lines = rows.desk_file(folder).read_text(encoding="utf-8").splitlines()
    held = [line for line in lines if _held(line)][: max(32, count // 6)]
    kept = [line for line in lines if not _held(line)][:count]
    for name, chosen in (("train", kept), ("dev", held)):
        (folder / f"share-{name}.jsonl").write_text("\n".join(chosen) + "\n", encoding="utf-8")
    return folder / "share-train.jsonl", folder / "share-dev.jsonl"


def _held(line: str) -> bool:
    """Whether a sample's group (its tool list) is a development one: a tenth, by the text of the first system turn."""
    system = json.loads(line)["conversation"][0]["system"]
    return sum(system.encode()) % 10 == 0


def run(folder: Path, train: Path, dev: Path, mode: str, seed: int, a_step: int) -> tuple[float, TrainSummary]:
    """(dev loss, summary) of one run of up to `a_step` samples a step."""
    from agenttune.config import load_config
    from agenttune.training.train import train as fit

    packs = {"share": (PACK, PACKS), "none": (1, a_step)}[mode]  # samples a Pack, Packs a step
    output = folder / f"{mode}-{seed}"
    overrides = [
        f"model={os.environ.get('BENCH_MODEL') or 'smollm2-135m'}",
        f"data={train}", f"output={output}", f"pack={mode}", f"seed={seed}", f"pack_samples={packs[0]}", "pack_tokens=8192",
        f"trainer.gradient_accumulation_steps={packs[1]}", "trainer.max_steps=-1", "trainer.num_train_epochs=1",
        "trainer.warmup_steps=4", *PLAIN,
    ]  # fmt: skip
    summary = fit(load_config("smollm2_135m_lora_desk", overrides), events=lambda _: None)
    return dev_loss(output, dev), summary


def dev_loss(adapter: Path, dev: Path) -> float:
    """Mean loss of the development samples' trained tokens, by the trainer's own rendering and head."""
    import torch

    from agenttune import templates
    from agenttune.config import DataFile
    from agenttune.data.pack import build, trained_length
    from agenttune.data.render import render
    from agenttune.models.hf import load_pretrained, wrap_tokenizer
    from agenttune.training.corpus import read_samples
    from agenttune.training.kernels.attention import use_tree_attention
    from agenttune.training.kernels.supervised_head import use_supervised_head
    from agenttune.training.peft_model import base_model_of
    from agenttune.training.trainer import collate

    model, hf = load_pretrained(os.environ.get("BENCH_MODEL") or "smollm2-135m", device="cpu", dtype="float32")
    use_tree_attention(model)
    model = _with(model, adapter)
    use_supervised_head(base_model_of(model))
    tokenizer = wrap_tokenizer(hf)
    template = templates.load("auto", tokenizer)
    made = [one for sample in read_samples([DataFile(path=str(dev))]).samples for one in render(sample, template, tokenizer)]
    made = sorted((one for one in made if trained_length(one)), key=lambda one: one.token_ids)
    total = weight = 0.0
    for start in range(0, len(made), BATCH):
        pack = build(made[start : start + BATCH])
        batch: dict[str, Any] = collate([pack])
        batch.pop("pack")
        with torch.no_grad():
            total += float(model.eval()(**batch, normaliser=1.0)["loss"])
        weight += _sum(pack.weights)
    return total / weight


def _with(model: Any, adapter: Path) -> Any:
    import peft

    return peft.PeftModel.from_pretrained(model, str(adapter))


def _sum(weights: Sequence[float]) -> float:
    return float(sum(weights))
