"""One evaluation as a person names it: a suite or file, a model with or without an adapter, a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttune import __version__
from agenttune.errors import UserError, nearest
from agenttune.evaluation import baselines, suites
from agenttune.evaluation.endpoint import Endpoint, messages
from agenttune.evaluation.evaluate import (
    TOKENS,
    EvaluationEvent,
    Judge,
    Predict,
    evaluate,
    measure_prompts,
    model_predictor,
    prompt_token_limit,
    record,
    stratified,
    subset,
)
from agenttune.evaluation.options import EvalOptions, check, other_than
from agenttune.evaluation.run_folder import read_meta
from agenttune.evaluation.shots import with_shots
from agenttune.files import file_hash, write_text
from agenttune.models.remote.server import checked_base
from agenttune.values.case import Case, Report
from agenttune.values.tokens import SamplingParams

if TYPE_CHECKING:
    from agenttune.models.hf import HFModel

# Of a model's or adapter's folder: what decides its outputs.
WEIGHTS = ("*.safetensors", "adapter_config.json")


def run_eval(options: EvalOptions, events: Callable[[EvaluationEvent], None] | None = None) -> Report:
    """Evaluates, and writes the run's folder. Raises `UserError` for whatever a person must change."""
    check(options)
    if not (options.guards and options.repair):
        raise UserError(f"--no-guards and --no-repair are of desk:live; {options.suite} is read strictly, step by step")
    recorded = suites.recording(options.suite)
    if recorded is not None:
        meta = {"model": options.model or "recorded", "version": __version__}
        return record(recorded, suite=options.suite, meta=meta, out=options.out, overwrite=options.overwrite)
    if not options.model:
        raise UserError(f"{options.suite} needs a model: --model NAME")
    suite = suites.load(options.suite, protocol=options.protocol)
    if options.model in baselines.BASELINES:
        cases = _drawn(suite, options)
        return _evaluate(cases, baselines.BASELINES[options.model], options, _meta(suite, cases, options), events, judge=suite.judge)
    if options.base_url is not None:
        return _by_endpoint(suite, options, events)
    return _by_model(suite, options, events)


def _by_model(suite: suites.Suite, options: EvalOptions, events: Callable[[EvaluationEvent], None] | None) -> Report:
    from agenttune import models, templates

    dtype = options.dtype if options.overwrite else _dtype(options.out, options.dtype)
    model = models.load(options.model, adapter=options.adapter, device=options.device, dtype=dtype, bits=options.bits)
    card = model.card
    other = other_than(card, options)
    if card and options.protocol is None and card.protocol != suite.cases[0].sample.protocol:
        suite = suites.load(options.suite, protocol=card.protocol)
    cases = _drawn(suite, options)
    asked = card.template_options if card else None
    template = templates.load(options.template or (card.template if card else "auto"), model.tokenizer, asked)
    prompts = measure_prompts(cases, template, model.tokenizer)
    meta = {
        **_meta(suite, cases, options),
        **_made_by(model, options),
        "protocol": cases[0].sample.protocol,
        "template": template.name,
        "prompts_hash": prompts.hash,
        "max_new_tokens": options.max_new_tokens or suite.max_new_tokens,
        "constrain": bool(options.constrain),
        **({"card_ignored": other} if other else {}),
    }
    sampling = SamplingParams(max_new_tokens=options.max_new_tokens or suite.max_new_tokens)
    predict = model_predictor(model, template, sampling, events, constrain=bool(options.constrain))
    tokens = prompt_token_limit(model.token_bytes)
    return _evaluate(cases, predict, options, meta, events, judge=suite.judge, lengths=prompts.lengths, tokens=tokens)


def _by_endpoint(suite: suites.Suite, options: EvalOptions, events: Callable[[EvaluationEvent], None] | None) -> Report:
    cases = _drawn(suite, options)
    url = checked_base(options.base_url or "")
    server = Endpoint(
        base_url=url, model=options.model, max_new_tokens=options.max_new_tokens or suite.max_new_tokens, workers=options.workers
    )
    asked = hashlib.sha256(repr([(case.id, messages(case.sample)) for case in cases]).encode()).hexdigest()
    meta = {
        **_meta(suite, cases, options),
        "base_url": url,
        "protocol": cases[0].sample.protocol,
        "template": "the server's",
        "prompts_hash": asked,
        "max_new_tokens": options.max_new_tokens or suite.max_new_tokens,
    }
    made = _evaluate(cases, server.predict, options, meta, events, judge=suite.judge)
    used = {name: getattr(server.usage, name) for name in ("requests", "retries", "prompt_tokens", "completion_tokens")}
    if server.usage.requests:
        write_text(options.out / "usage.json", json.dumps(used))
    return made


def below(report: Report, least: Mapping[str, float]) -> list[str]:
    """A sentence for each metric over all cases that is below what was asked for. Raises `UserError` for one that the run has not."""
    found = {one.name: one.value for one in report.estimates.get("all", ())}
    missing = next((name for name in least if name not in found), None)
    if missing is not None:
        raise UserError(f'--fail-under: the run has no metric "{missing}"{nearest(missing, found)}; it has {", ".join(found)}')
    return [f"{name} is {found[name]:.3f}, below {value:g}" for name, value in least.items() if found[name] < value]


def _drawn(suite: suites.Suite, options: EvalOptions) -> list[Case]:
    cases = list(suite.cases) if options.sample == 1.0 else stratified(suite.cases, options.sample)
    return with_shots(subset(cases, options.limit), options.shots)


def _evaluate(
    cases: Sequence[Case],
    predict: Predict,
    options: EvalOptions,
    meta: Mapping[str, Any],
    events: Callable[[EvaluationEvent], None] | None,
    *,
    judge: Judge,
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
        judge=judge,
        events=events,
    )


def _meta(suite: suites.Suite, cases: Sequence[Case], options: EvalOptions) -> dict[str, Any]:
    meta: dict[str, Any] = {"model": options.model, "version": __version__, "chance": baselines.expected_by_slice(cases)}
    if options.shots:
        meta["shots"] = options.shots
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
