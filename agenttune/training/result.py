"""What a finished run leaves: the adapter (or model) with its card, ``summary.json`` and ``loss.png``."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from agenttune import __version__
from agenttune.config import TrainConfig, config_to_json
from agenttune.files import replacing, write_text
from agenttune.models.card import write_card
from agenttune.owned_folders import MARKER, PART, adopt, remove_owned
from agenttune.training.checkpoint import rotate_best
from agenttune.training.distributed.zero3_weights import full_state_dict
from agenttune.training.events import TrainSummary
from agenttune.training.output_folder import SUMMARY
from agenttune.training.peft_model import save_weights
from agenttune.training.prepare import Prepared
from agenttune.values.adapter import Card

LIBRARIES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes")


def summarise(
    config: TrainConfig,
    prepared: Prepared,
    records: Sequence[Mapping[str, Any]],
    *,
    interrupted: bool,
    kept: Mapping[str, Any] | None = None,
) -> TrainSummary:
    """The run's summary from its step records; `kept` is the record of the check whose weights are the result."""
    saved: Counter[str] = Counter()
    for one in records:
        saved.update(one["saved"])
    return TrainSummary(
        output=config.output,
        method=config.method,
        steps=int(records[-1]["step"]) if records else 0,
        samples=sum(one["samples"] for one in records),
        tokens_total=sum(one["tokens_total"] for one in records),
        tokens_computed=sum(one["tokens_computed"] for one in records),
        tokens_supervised=sum(one["tokens_supervised"] for one in records),
        saved=dict(saved),
        seconds=round(sum(one["seconds"] for one in records), 3),
        peak_rss_mb=round(peak_rss_mb(), 1),
        peak_gpu_mb=round(torch.cuda.max_memory_allocated() / 2**20, 1) if torch.cuda.is_available() else 0.0,
        loss_first=records[0]["loss"] if records else float("nan"),
        loss_last=records[-1]["loss"] if records else float("nan"),
        rejected=prepared.rejected(),
        rejected_too_long=prepared.corpus.counts.get("too_long", 0),
        pack=prepared.pack,
        attention=prepared.attention,
        device=prepared.device,
        dtype=prepared.dtype,
        threads=torch.get_num_threads(),
        versions=versions(),
        interrupted=interrupted,
        kept={"step": kept["step"], **kept["check"]} if kept else {},
        extra=prepared.changed(),
    )


def peak_rss_mb() -> float:
    """The most memory this process has held, in MB (2**20 bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def versions() -> dict[str, str]:
    """Of this program, Python, and the libraries that decide a number."""
    found = {"agenttune": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def save_result(
    config: TrainConfig,
    prepared: Prepared,
    summary: TrainSummary,
    records: Sequence[Mapping[str, Any]],
    *,
    weights: Path | None = None,
    write: bool = True,
) -> None:
    """Writes the weights, the card, the plot, and last the summary, which says that the rest is whole.

    `records` are those of steps and checks; `weights` is a folder to take the weights from, else they are the model's. All ranks
    come here, because sharded weights are gathered; those without `write` write nothing.
    """
    folder = Path(config.output)
    state = full_state_dict(prepared.model, trained_only=config.method != "full", keep=write) if weights is None else None
    if not write:
        return
    if weights is None:
        _save_into(folder, lambda aside: save_weights(prepared.model, aside, state))
    else:
        shutil.copytree(weights, folder, ignore=shutil.ignore_patterns(MARKER), dirs_exist_ok=True)
    if config.method == "full":
        prepared.tokenizer.save_pretrained(str(folder))
    write_card(folder, card_of(config, prepared, summary))
    plot_loss(folder / "loss.png", records)
    plain = dataclasses.asdict(summary)
    for key in ("loss_first", "loss_last"):
        plain[key] = round(plain[key], 6)
    write_text(folder / SUMMARY, json.dumps(plain, ensure_ascii=False, indent=2, allow_nan=False) + "\n")
    rotate_best(folder, [])


def _save_into(folder: Path, save: Callable[[Path], None]) -> None:
    """Files of libraries that rewrite and remove what lies beside them (a README, other shards), moved into `folder` when whole."""
    for left in folder.glob(f".result.*{PART}"):  # of a run that was killed here
        remove_owned(left)
    aside = Path(tempfile.mkdtemp(prefix=".result.", suffix=PART, dir=folder))
    adopt(aside)
    try:
        save(aside)
        for path in sorted(aside.iterdir()):
            if path.name != MARKER:
                os.replace(path, folder / path.name)
    finally:
        remove_owned(aside)


def card_of(config: TrainConfig, prepared: Prepared, summary: TrainSummary) -> Card:
    """The card: how the result must be spoken to, and what it was made from."""
    hashes = [sha for sha, _ in prepared.data_hashes]
    data = {
        "files": [{"path": one.path, "weight": one.weight, "sha256": sha} for one, sha in zip(config.data, hashes, strict=True)],
        "samples": len(prepared.corpus),
        "counts": dict(prepared.corpus.counts),
        "trained": {"samples": summary.samples, "tokens": summary.tokens_total, "supervised": summary.tokens_supervised},
        **({"kept": dict(summary.kept)} if summary.kept else {}),
    }
    return Card(
        base=config.model,
        base_fingerprint=prepared.base_fingerprint,
        protocol=prepared.protocol,
        template=config.template,
        method=config.method,
        stops=prepared.template.stops,
        template_options=dict(config.template_options),
        observation_role=prepared.template.observation_role,
        argument_orders=prepared.argument_orders,
        length=config.length,
        config=config_to_json(config),
        data=data,
        versions=dict(summary.versions),
    )


def plot_loss(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """The loss by step as a picture: each step, a running mean, and the held-out loss where checks measured one."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps = [one["step"] for one in records if "loss" in one]
    losses = [one["loss"] for one in records if "loss" in one]
    checks = [(one["step"], one["check"]["loss"]) for one in records if "loss" in one.get("check", {})]
    width = max(1, len(losses) // 20)
    smooth = [sum(losses[max(0, at - width) : at + 1]) / len(losses[max(0, at - width) : at + 1]) for at in range(len(losses))]
    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(steps, losses, color="#9db4d0", linewidth=1, label="each step")
    axes.plot(steps, smooth, color="#1f4e8c", linewidth=2, label=f"mean of {width + 1} steps")
    if checks:
        axes.plot(*zip(*checks, strict=True), color="#b5532a", marker="o", linewidth=1.5, label="held-out samples")
    axes.set(xlabel="optimizer step", ylabel="loss (mean over the weights of trained tokens, nats)")
    axes.legend(frameon=False)
    axes.grid(alpha=0.25)
    with replacing(path, "wb") as file:
        figure.savefig(file, format="png")
