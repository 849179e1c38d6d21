"""One evaluation as a person names it: a suite or file, a model with or without an adapter, a folder."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from agenttune import __version__
from agenttune.errors import UserError, nearest
from agenttune.evaluation import baselines, local_run, suites
from agenttune.evaluation.endpoint import Endpoint, messages
from agenttune.evaluation.evaluate import (
    TOKENS,
    EvaluationEvent,
    ScoreBatch,
    evaluate,
    judged_by,
    prompt_token_limit,
    record,
    stratified,
    subset,
)
from agenttune.evaluation.options import EvalOptions, check
from agenttune.evaluation.predict import model_talker, render_prompts
from agenttune.evaluation.shots import shots
from agenttune.files import write_text
from agenttune.folder_lock import made_and_locked
from agenttune.models.remote.server import checked_base
from agenttune.protocols import NATIVE
from agenttune.values.case import Case, Report


def run_eval(options: EvalOptions, events: Callable[[EvaluationEvent], None] | None = None) -> Report:
    """Evaluates, and writes the run's folder. Raises `UserError` for whatever a person must change."""
    check(options)
    if not (options.guards and options.repair):
        raise UserError(f"--no-guards and --no-repair are of desk:live; {options.suite} is read strictly, step by step")
    with made_and_locked(options.out):
        return _run(options, events)


def _run(options: EvalOptions, events: Callable[[EvaluationEvent], None] | None) -> Report:
    recorded = suites.recording(options.suite)
    if recorded is not None:
        meta = {"model": options.model or "recorded", "version": __version__}
        return record(recorded, suite=options.suite, meta=meta, out=options.out, overwrite=options.overwrite)
    if not options.model:
        raise UserError(f"{options.suite} needs a model: --model NAME")
    options = _spoken(options)
    suite = suites.load(options.suite, protocol=options.protocol)
    if options.model in baselines.BASELINES:
        if suite.hold is not None:
            raise UserError(f"{options.suite} holds whole conversations, and {options.model} takes single steps; name a model")
        cases = _drawn(suite, options)
        scored = judged_by(baselines.BASELINES[options.model], suite.judge)
        return _evaluate(cases, scored, options, _meta(suite, cases, options), events)
    if options.base_url is not None:
        return _by_endpoint(suite, options, events)
    return _by_model(suite, options, events)


def _spoken(options: EvalOptions) -> EvalOptions:
    """The options with the family of ``native``, which the model's template tells."""
    if options.protocol != NATIVE:
        return options
    if options.base_url is not None or options.model in baselines.BASELINES:
        raise UserError("--protocol native is that of a model's own chat template; here is none to look at")
    from agenttune.models.token_length import spoken

    return replace(options, protocol=spoken(NATIVE, options.model or "", options.template or "auto"))


def _by_model(suite: suites.Suite, options: EvalOptions, events: Callable[[EvaluationEvent], None] | None) -> Report:
    started = time.monotonic()
    loaded = local_run.load(options)
    model, template = loaded.model, loaded.template
    if options.protocol is None and loaded.protocol not in (None, suite.cases[0].sample.protocol):
        suite = suites.load(options.suite, protocol=loaded.protocol)
    cases = _drawn(suite, options)
    worked = shots(cases[0].sample.protocol, options.shots)
    prompts = render_prompts(worked.cases(cases), template, model.tokenizer)
    most = options.max_new_tokens or suite.max_new_tokens
    meta = {
        **_meta(suite, cases, options),
        **local_run.made_by(model, options),
        "protocol": cases[0].sample.protocol,
        "template": template.name,
        "prompts_hash": prompts.hash,
        "max_new_tokens": most,
        "constrain": bool(options.constrain),
        **({"card_ignored": loaded.card_ignored} if loaded.card_ignored else {}),
    }
    predict = local_run.predictor(loaded, options, prompts, most, events)
    tokens = prompt_token_limit(model.token_bytes)
    scored = judged_by(predict, suite.judge) if suite.hold is None else suite.hold(worked.talker(model_talker(predict)))
    try:
        made = _evaluate(cases, scored, options, meta, events, lengths=prompts.lengths, tokens=tokens)
    finally:
        if predict.cache is not None:
            predict.cache.close()
    local_run.write_usage(options.out, predict, time.monotonic() - started)
    return made


def _by_endpoint(suite: suites.Suite, options: EvalOptions, events: Callable[[EvaluationEvent], None] | None) -> Report:
    cases = _drawn(suite, options)
    url = checked_base(options.base_url or "")
    server = Endpoint(
        base_url=url, model=options.model, max_new_tokens=options.max_new_tokens or suite.max_new_tokens, workers=options.workers
    )
    worked = shots(cases[0].sample.protocol, options.shots)
    asked = hashlib.sha256(repr([(case.id, messages(case.sample)) for case in worked.cases(cases)]).encode()).hexdigest()
    meta = {
        **_meta(suite, cases, options),
        "base_url": url,
        "protocol": cases[0].sample.protocol,
        "template": "the server's",
        "prompts_hash": asked,
        "max_new_tokens": options.max_new_tokens or suite.max_new_tokens,
    }
    if suite.hold is None:
        scored = judged_by(lambda some: server.predict(worked.cases(some)), suite.judge)
    else:
        scored = suite.hold(worked.talker(server.talk))
    made = _evaluate(cases, scored, options, meta, events)
    if server.usage.requests:
        write_text(options.out / "usage.json", json.dumps(asdict(server.usage.told(options.price))))
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
    return subset(cases, options.limit)


def _evaluate(
    cases: Sequence[Case],
    scored: ScoreBatch,
    options: EvalOptions,
    meta: Mapping[str, Any],
    events: Callable[[EvaluationEvent], None] | None,
    *,
    lengths: Mapping[str, int] | None = None,
    tokens: int = TOKENS,
) -> Report:
    return evaluate(
        cases,
        scored,
        suite=options.suite,
        meta=meta,
        out=options.out,
        lengths=lengths,
        batch_size=options.batch_size,
        tokens=tokens,
        overwrite=options.overwrite,
        events=events,
    )


def _meta(suite: suites.Suite, cases: Sequence[Case], options: EvalOptions) -> dict[str, Any]:
    meta: dict[str, Any] = {"model": options.model, "version": __version__}
    if suite.hold is None:
        meta["chance"] = baselines.expected_by_slice(cases)
    else:
        meta["answers_hash"] = suite.answers_hash
    if options.shots:
        meta["shots"] = options.shots
    return {**meta, "left_out": suite.left_out} if suite.left_out else meta
