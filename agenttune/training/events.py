"""What a training run says while it runs, and at its end. Plain values: whoever shows them needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A sentence for a person: what was chosen and why, what was skipped, what went wrong without ending the run."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStarted:
    """The run as planned, just before its first step. `step` is above 0 where it was resumed. Token counts are of one epoch.

    `tokens_total` counts every sample by itself, `tokens_computed` after sharing.
    """

    model: str
    method: str
    output: str
    samples: int
    packs: int
    step: int
    steps: int
    epochs: float
    trainable: int
    parameters: int
    tokens_total: int
    tokens_computed: int
    tokens_supervised: int
    pack: str
    attention: str
    device: str
    dtype: str
    processes: int = 1
    deepspeed: str = ""
    rejected: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLogged:
    """An optimizer step. `tokens_per_second` counts samples' tokens (shared ones as often as they stand in a sample), over recent steps."""

    step: int
    total: int
    loss: float
    learning_rate: float
    grad_norm: float
    tokens_per_second: float
    seconds_left: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A check after a step: the held-out loss (None: not asked), `right` of `cases` judged cases, calls right as (yes, asked)."""

    step: int
    total: int
    loss: float | None
    cases: int
    right: int
    calls: tuple[int, int]
    best: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A checkpoint or, at the end, the adapter (or model) is complete in `path`."""

    path: str
    step: int
    final: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSummary:
    """What ``summary.json`` holds. Token counts are of what was trained, over all epochs; `saved` counts tokens not computed, by cause.

    `kept` is the check whose weights are the result; empty where they are those of the last step.
    """

    output: str
    method: str
    steps: int
    samples: int
    tokens_total: int
    tokens_computed: int
    tokens_supervised: int
    saved: Mapping[str, int]
    seconds: float
    peak_rss_mb: float
    peak_gpu_mb: float
    loss_first: float
    loss_last: float
    rejected: Mapping[str, int]
    rejected_too_long: int
    pack: str
    attention: str
    device: str
    dtype: str
    threads: int
    versions: Mapping[str, str]
    interrupted: bool = False
    kept: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFinished:
    """The run is over; an interrupted one left a checkpoint and no adapter."""

    summary: TrainSummary


TrainingEvent: TypeAlias = Notice | TrainingStarted | StepLogged | Checked | Saved | TrainingFinished
