"""One evaluation as a person names it: a suite or file, a model with or without an adapter, a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttune import __version__
from agenttune.evaluation import baselines, suites
from agenttune.evaluation.evaluate import (
    TOKENS,
    EvaluationEvent,
    Predict,
    evaluate,
    measure_prompts,
    model_predictor,
    prompt_token_limit,
    subset,
)
from agenttune.evaluation.options import EvalOptions, check
from agenttune.evaluation.run_folder import read_meta
from agenttune.files import file_hash
from agenttune.values.case import Case, Report
from agenttune.values.tokens import SamplingParams

if TYPE_CHECKING:
    from agenttune.models.hf import HFModel

# Of a model's or adapter's folder: what decides its outputs.
WEIGHTS = ("*.safetensors", "adapter_config.json")


def run_eval(options: EvalOptions, events: Callable[[EvaluationEvent], None] | None = None) -> Report:
    """Evaluates, and writes the run's folder. Raises `UserError` for whatever a person must change."""
    check(options)
    suite = suites.load(options.suite, protocol=options.protocol)
    if options.model in baselines.BASELINES:
        cases = subset(suite.cases, options.max_cases)
        meta = _meta(suite, cases, options.model)
        return _evaluate(cases, baselines.BASELINES[options.model], options, meta, events)
    from agenttune import models, templates

    dtype = options.dtype if options.overwrite else _dtype(options.out, options.dtype)
    model = models.load(options.model, adapter=options.adapter, device=options.device, dtype=dtype, bits=options.bits)
    card = model.card
    if card and options.protocol is None and card.protocol != suite.cases[0].sample.protocol:
        suite = suites.load(options.suite, protocol=card.protocol)
    cases = subset(suite.cases, options.max_cases)
    template = templates.load(options.template or (card.template if card else "auto"), model.tokenizer)
    prompts = measure_prompts(cases, template, model.tokenizer)
    meta = {
        **_meta(suite, cases, options.model),
        **_made_by(model, options),
        "protocol": cases[0].sample.protocol,
        "template": template.name,
        "prompts_hash": prompts.hash,
        "max_new_tokens": options.max_new_tokens,
    }
    predict = model_predictor(model, template, SamplingParams(max_new_tokens=options.max_new_tokens), events)
    return _evaluate(cases, predict, options, meta, events, lengths=prompts.lengths, tokens=prompt_token_limit(model.token_bytes))


def _evaluate(
    cases: Sequence[Case],
    predict: Predict,
    options: EvalOptions,
    meta: Mapping[str, Any],
    events: Callable[[EvaluationEvent], None] | None,
    *,
    lengths: Mapping[str, int] | None = None,
    tokens: int = TOKENS,
) -> Report:
    return evaluate(
        cases,
        predict,
        suite=options.suite,
        meta=meta,
        out=options.out,
        lengths=lengths,
        batch_size=options.batch_size,
        tokens=tokens,
        overwrite=options.overwrite,
        events=events,
    )


def _meta(suite: suites.Suite, cases: Sequence[Case], model: str) -> dict[str, Any]:
    meta: dict[str, Any] = {"model": model, "version": __version__, "chance": baselines.expected_by_slice(cases)}
    return {**meta, "left_out": suite.left_out} if suite.left_out else meta


def _dtype(out: Path, dtype: str) -> str:
    """The number format that the run in `out` was begun in, where none is asked for: ``auto`` measures, and may choose anew."""
    begun = read_meta(out).get("dtype")
    return begun if dtype == "auto" and isinstance(begun, str) else dtype


def _made_by(loaded: HFModel, options: EvalOptions) -> dict[str, Any]:
    return {
        "fingerprint": loaded.fingerprint,
        "weights_hash": _weights_hash(options.model),
        "adapter": options.adapter or "",
        "adapter_hash": _weights_hash(options.adapter) if options.adapter else "",
        "dtype": str(loaded.hf.dtype).removeprefix("torch."),
        "device": str(loaded.hf.device),
        "bits": options.bits or 0,
    }


def _weights_hash(name: str) -> str:
    """A hash of the weights in a folder or file that a person named; empty for a name that is none."""
    path = Path(name)
    files = [path] if path.is_file() else sorted(one for pattern in WEIGHTS for one in path.glob(pattern))
    return ",".join(file_hash(one)[:16] for one in files)
