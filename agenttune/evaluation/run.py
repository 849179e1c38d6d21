"""One evaluation as a person names it: a suite or file, a model with or without an adapter, a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttune import __version__, protocols
from agenttune.errors import UserError
from agenttune.evaluation import baselines, suites
from agenttune.evaluation.evaluate import BATCH, EvaluationEvent, by_model, evaluate, part, prompts, room
from agenttune.evaluation.run_files import read_meta
from agenttune.files import file_hash
from agenttune.values.case import Case, Report
from agenttune.values.tokens import SamplingParams

if TYPE_CHECKING:
    from agenttune.models.hf import HFModel

# Of a model's or adapter's folder: what decides its outputs.
WEIGHTS = ("*.safetensors", "adapter_config.json")


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
    batch_size: int = BATCH,
    overwrite: bool = False,
    events: Callable[[EvaluationEvent], None] | None = None,
) -> Report:
    """Evaluates and writes `out`. `protocol` and `template` default to the adapter's card, else to the suite's and ``auto``.

    `model` may be one of `baselines.BASELINES`, which need no model. Raises `UserError` for whatever a person must change.
    """
    _check(max_cases, max_new_tokens, batch_size, protocol)
    found = suites.load(suite, protocol=protocol)
    options: dict[str, Any] = {"suite": suite, "out": out, "batch_size": batch_size, "overwrite": overwrite, "events": events}
    if model in baselines.BASELINES:
        cases = part(found.cases, max_cases)
        return evaluate(cases, baselines.BASELINES[model], meta=_meta(found, cases, model), **options)
    from agenttune import models, templates

    loaded = models.load(model, adapter=adapter, device=device, dtype=dtype if overwrite else _dtype(out, dtype), bits=bits)
    card = loaded.card
    if card and protocol is None and card.protocol != found.cases[0].sample.protocol:
        found = suites.load(suite, protocol=card.protocol)
    cases = part(found.cases, max_cases)
    used = templates.load(template or (card.template if card else "auto"), loaded.tokenizer)
    asked = prompts(cases, used, loaded.tokenizer)
    meta = {
        **_meta(found, cases, model),
        **_made_by(loaded, model, adapter, bits),
        "protocol": cases[0].sample.protocol,
        "template": used.name,
        "prompts_hash": asked.hash,
        "max_new_tokens": max_new_tokens,
    }
    options |= {"lengths": asked.lengths, "tokens": room(loaded.token_bytes)}
    return evaluate(cases, by_model(loaded, used, SamplingParams(max_new_tokens=max_new_tokens), events), meta=meta, **options)


def _check(max_cases: int | None, max_new_tokens: int, batch_size: int, protocol: str | None) -> None:
    for name, value in (("--max-cases", max_cases), ("--max-new-tokens", max_new_tokens), ("--batch-size", batch_size)):
        if value is not None and value < 1:
            raise UserError(f"{name} must be 1 or more, not {value}")
    if protocol is not None:
        protocols.get(protocol)


def _meta(suite: suites.Suite, cases: Sequence[Case], model: str) -> dict[str, Any]:
    meta: dict[str, Any] = {"model": model, "version": __version__, "chance": baselines.expected_by_slice(cases)}
    return {**meta, "left_out": suite.left_out} if suite.left_out else meta


def _dtype(out: Path, dtype: str) -> str:
    """The number format that the run in `out` was begun in, where none is asked for: ``auto`` measures, and may choose anew."""
    begun = read_meta(out).get("dtype")
    return begun if dtype == "auto" and isinstance(begun, str) else dtype


def _made_by(loaded: HFModel, model: str, adapter: str | None, bits: int | None) -> dict[str, Any]:
    return {
        "fingerprint": loaded.fingerprint,
        "weights_hash": _weights_hash(model),
        "adapter": adapter or "",
        "adapter_hash": _weights_hash(adapter) if adapter else "",
        "dtype": str(loaded.hf.dtype).removeprefix("torch."),
        "device": str(loaded.hf.device),
        "bits": bits or 0,
    }


def _weights_hash(name: str) -> str:
    """A hash of the weights in a folder or file that a person named; empty for a name that is none."""
    path = Path(name)
    files = [path] if path.is_file() else sorted(one for pattern in WEIGHTS for one in path.glob(pattern))
    return ",".join(file_hash(one)[:16] for one in files)
