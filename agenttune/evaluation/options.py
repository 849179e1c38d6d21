"""What a person asks of one evaluation: the command line fills it, `run_eval` takes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agenttune import protocols
from agenttune.errors import UserError

BATCH = 128  # rows: a small model on a CPU decodes a token of each in little more time than a token of one


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalOptions:
    """One evaluation: `suite` (a name or a file of samples), `model` (a name, or a baseline that needs none), the run's folder `out`.

    `protocol` and `template` default to the adapter's card, else to the suite's own and ``auto``. `batch_size` counts cases that are
    decoded at once, at most; it decides nothing else. `overwrite` replaces a run that was made otherwise.

        EvalOptions(suite="desk", model="smollm2-135m", adapter="runs/adapter", out=Path("runs/eval"))
    """

    suite: str
    model: str
    out: Path
    adapter: str | None = None
    protocol: str | None = None
    template: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    bits: int | None = None
    max_cases: int | None = None
    max_new_tokens: int = 96
    batch_size: int = BATCH
    overwrite: bool = False


def check(options: EvalOptions) -> None:
    """Raises `UserError` for a number that is none and for a protocol that does not exist, before anything is loaded."""
    counts = (
        ("--max-cases", options.max_cases),
        ("--max-new-tokens", options.max_new_tokens),
        ("--batch-size", options.batch_size),
    )
    for name, value in counts:
        if value is not None and value < 1:
            raise UserError(f"{name} must be 1 or more, not {value}")
    if options.protocol is not None:
        protocols.get(options.protocol)
