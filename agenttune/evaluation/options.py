"""What a person asks of one evaluation: the command line fills it, `run_eval` takes it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agenttune import protocols
from agenttune.errors import UserError
from agenttune.evaluation.metrics import DETAILS, FEWER, METRICS
from agenttune.values.adapter import Card

BATCH = 128  # rows: a small model on a CPU decodes a token of each in little more time than a token of one


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalOptions:
    """One evaluation: `suite` (a name or a file), `model` (a name, or a baseline that needs none), the run's folder `out`.

    A recorded run (``tau:FILE``) has no `model`; a model behind `base_url` (an OpenAI-compatible server) is called by its name there, and
    `price` is what a million tokens read and a million written cost there.
    `limit` draws so many cases and `sample` such a share of them, of every slice alike; both draw the same in every run. `shots` puts
    so many worked examples before each prompt. `fail_under` maps metrics to the least value with which a run passes.
    `protocol` and `template` default to the adapter's card, else to the suite's own and ``auto``; `max_new_tokens` to the suite's.
    `batch_size` counts cases that are decoded at once, at most; it decides nothing else. `overwrite` replaces a run that was made
    otherwise. With `constrain` a call can only be one of an offered tool with arguments that fit its schema (None: in whole conversations,
    not in single steps); whole conversations also have the agent's `guards` and `repair` ladder. The run's meta says what was used. A
    protocol or template other than the adapter's card has is refused unless `ignore_card`, and then in the report.
    What the same weights said to the same prompts in any run is taken from the generation cache, unless `no_cache`.

        EvalOptions(suite="desk", model="smollm2-135m", adapter="runs/adapter", out=Path("runs/eval"))
    """

    suite: str
    out: Path
    model: str = ""
    base_url: str | None = None
    workers: int = 8
    price: tuple[float, float] | None = None
    adapter: str | None = None
    protocol: str | None = None
    template: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    bits: int | None = None
    limit: int | None = None
    sample: float = 1.0
    shots: int = 0
    max_new_tokens: int | None = None
    batch_size: int = BATCH
    overwrite: bool = False
    fail_under: Mapping[str, float] = field(default_factory=dict)
    constrain: bool | None = None
    guards: bool = True
    repair: bool = True
    ignore_card: bool = False
    no_cache: bool = False


def check(options: EvalOptions) -> None:
    """Raises `UserError` for a number that is none and for a protocol that does not exist, before anything is loaded."""
    counts = (
        ("--limit", options.limit),
        ("--max-new-tokens", options.max_new_tokens),
        ("--batch-size", options.batch_size),
        ("--workers", options.workers),
    )
    for name, value in counts:
        if value is not None and value < 1:
            raise UserError(f"{name} must be 1 or more, not {value}")
    if not 0 < options.sample <= 1:
        raise UserError(f"--sample must be a share above 0 and at most 100 %, not {100 * options.sample:g} %")
    if options.price is not None and options.base_url is None:
        raise UserError("--price is of a server's model: it goes with --base-url")
    if options.shots < 0:
        raise UserError(f"--shots must be 0 or more, not {options.shots}")
    if options.protocol is not None:
        protocols.check(options.protocol)


def other_than(card: Card | None, options: EvalOptions) -> dict[str, str]:
    """What the adapter's card says where the options say otherwise. Raises `UserError` unless that is wanted."""
    asked = {"protocol": options.protocol, "template": options.template}
    known = {"protocol": card.protocol, "template": card.template} if card else {}
    other = {name: value for name, value in known.items() if asked[name] not in (None, value)}
    if other and not options.ignore_card:
        named = " and ".join(f"{name} {value}" for name, value in other.items())
        raise UserError(f"the adapter was trained with {named}; leave that out here, or measure it all the same with --ignore-card")
    return other


def share(text: str) -> float:
    """``10%`` or ``0.1`` as 0.1. Raises `UserError`."""
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError as error:
        raise UserError(f'"{text}" is no share such as 10% or 0.1') from error


def price(text: str) -> tuple[float, float]:
    """``0.15,0.6`` as the price of a million tokens read and of a million written. Raises `UserError`."""
    try:
        read, written = (float(one) for one in text.split(","))
    except ValueError:
        read = written = -1.0
    if not (0 <= read < math.inf and 0 <= written < math.inf):
        raise UserError(f'--price takes two prices of a million tokens, read and written, such as 0.15,0.6, not "{text}"')
    return read, written


def threshold(text: str) -> tuple[str, float]:
    """``tool=0.8`` as a metric and its least value. Raises `UserError`."""
    metric, separator, value = text.partition("=")
    known = (*METRICS, *DETAILS)
    if not separator or (metric not in known and not metric.replace("_", "").replace("^", "").isalnum()):
        raise UserError(f'--fail-under takes METRIC=SHARE such as tool=0.8, not "{text}"; metrics: {", ".join(known)}')
    if metric in FEWER:
        raise UserError(f"--fail-under {metric}: the less of it the better, so a least value says nothing")
    return metric, share(value)
