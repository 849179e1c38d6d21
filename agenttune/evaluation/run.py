"""One evaluation as a person names it: a suite or file, a model with or without an adapter, a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from agenttune import __version__, protocols
from agenttune.evaluation import baselines, suites
from agenttune.evaluation.evaluate import Judged, Predict, by_model, evaluate, part
from agenttune.files import file_hash
from agenttune.values.case import Report
from agenttune.values.tokens import Limits


def run_eval(
    suite: str,
    *,
    model: str,
    out: Path,
    adapter: str | None = None,
    protocol: str | None = None,
    template: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    bits: int | None = None,
    max_cases: int | None = None,
    max_new_tokens: int = 96,
    batch_size: int = 48,
    overwrite: bool = False,
    events: Callable[[Judged], None] | None = None,
) -> Report:
    """Evaluates and writes `out`. `protocol` and `template` default to the adapter's card, else ``react`` and ``auto``.

    `model` may be ``overlap``, the baseline without a model. Raises `UserError` for whatever a person must change.
    """
    suites.locate(suite)
    if model in baselines.NAMES:
        cases = part(suites.read(suite, protocol=protocol or "react"), max_cases)
        meta: dict[str, Any] = {"model": model, "version": __version__}
        return evaluate(cases, baselines.overlap, suite=suite, meta=_with_chance(meta, cases), out=out, overwrite=overwrite, events=events)
    predict, meta, spoken = _predictor(model, adapter, protocol, template, device, dtype, bits, max_new_tokens)
    cases = part(suites.read(suite, protocol=spoken), max_cases)
    return evaluate(
        cases, predict, suite=suite, meta=_with_chance(meta, cases), out=out, batch_size=batch_size, overwrite=overwrite, events=events
    )


def _with_chance(meta: dict[str, Any], cases: list[Any]) -> dict[str, Any]:
    return {**meta, "chance": round(baselines.chance(cases), 4)}


def _predictor(
    name: str,
    adapter: str | None,
    protocol: str | None,
    template: str | None,
    device: str,
    dtype: str,
    bits: int | None,
    max_new_tokens: int,
) -> tuple[Predict, dict[str, Any], str]:
    from agenttune import models, templates

    if protocol is not None:
        protocols.get(protocol)
    model = models.load(name, adapter=adapter, device=device, dtype=dtype, bits=bits)
    card = model.card
    spoken = protocol or (card.protocol if card else "react")
    used = template or (card.template if card else "auto")
    meta = {
        "model": name,
        "fingerprint": model.fingerprint,
        "adapter": adapter or "",
        "adapter_hash": _adapter_hash(adapter),
        "protocol": spoken,
        "template": used,
        "bits": bits or 0,
        "max_new_tokens": max_new_tokens,
        "version": __version__,
    }
    limits = Limits(max_new_tokens=max_new_tokens)
    return by_model(model, templates.load(used, model.tokenizer), limits), meta, spoken


def _adapter_hash(adapter: str | None) -> str:
    files = sorted(Path(adapter).glob("*.safetensors")) if adapter else []
    return ",".join(file_hash(path)[:16] for path in files)
