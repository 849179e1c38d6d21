"""One evaluation by whole conversations, from its options to a run's folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from agenttune import __version__, protocols
from agenttune.agent.agent import Agent
from agenttune.agent.guards import Guards
from agenttune.agent.ladder import RUNGS
from agenttune.agent.step import StepOptions
from agenttune.agent.toolbox.run import Toolbox
from agenttune.data.native import resolve
from agenttune.errors import UserError
from agenttune.evaluation.evaluate import CasesScored, EvaluationEvent
from agenttune.evaluation.live.cases import LiveCase, batches, cases_hash, part, read
from agenttune.evaluation.live.converse import converse
from agenttune.evaluation.live.report import LiveReport, LiveScore, prepare, report_of, save, score, write_cases
from agenttune.evaluation.options import EvalOptions, check, other_than
from agenttune.evaluation.shots import shots
from agenttune.folder_lock import made_and_locked
from agenttune.models.base import Model
from agenttune.values.tokens import SamplingParams

BATCH = 64  # conversations side by side
MAX_NEW_TOKENS = 160


def run_live(options: EvalOptions, events: Callable[[EvaluationEvent], None] | None = None) -> LiveReport:
    """Holds every conversation and writes ``options.out``: ``meta.json``, ``report.json``, and ``cases.jsonl``, a judgement and its
    trajectory a line.

    A conversation is held as in chat: calls under the grammar, guards, the repair ladder, unless `options` say otherwise. `events` is
    told after each batch. Raises `UserError` for whatever a person must change.
    """
    check(options)
    _refuse(options)
    with made_and_locked(options.out):
        return _run(options, events)


def _run(options: EvalOptions, events: Callable[[EvaluationEvent], None] | None) -> LiveReport:
    from agenttune import models

    cases = part(read(options.suite), options.limit)
    loaded = models.load(options.model, adapter=options.adapter, device=options.device, dtype=options.dtype, bits=options.bits)
    other = other_than(loaded.card, options)
    agent = agent_of(loaded, options)
    worked = shots(agent.protocol.name, options.shots)
    meta = {**_meta(agent, options, cases), "dtype": str(loaded.hf.dtype).removeprefix("torch.")}
    meta |= {"card_ignored": other} if other else {}
    meta |= {"shots": options.shots} if options.shots else {}
    prepare(options.out, meta, options.overwrite)
    scores: list[LiveScore] = []
    for batch in batches(cases, min(options.batch_size, BATCH)):
        scores += [score(case, ended) for case, ended in zip(batch, converse(batch, agent, worked), strict=True)]
        write_cases(scores, options.out)
        if events is not None:
            events(CasesScored(done=len(scores), total=len(cases), right=sum(one.right for one in scores)))
    report = report_of(options.suite, scores, meta)
    save(report, options.out)
    return report


def _refuse(options: EvalOptions) -> None:
    if os.environ.get("AGENTTUNE_SEARCH_DB"):
        raise UserError("AGENTTUNE_SEARCH_DB names other articles than the suite asks about; unset it for this evaluation")
    given = {
        "--base-url": options.base_url is not None,
        "--sample": options.sample < 1,
        "--fail-under": bool(options.fail_under),
    }
    if not options.model:
        raise UserError(f"{options.suite} needs a model: --model NAME")
    wrong = [name for name, used in given.items() if used]
    if wrong:
        raise UserError(f"{options.suite} holds whole conversations and takes no {' and no '.join(wrong)}")


def agent_of(model: Model, options: EvalOptions) -> Agent:
    """The agent that is evaluated; each case brings its tools. Raises `UserError` for an unknown template or protocol."""
    from agenttune import templates

    card = model.card
    template = templates.load_for(card, options.template or (card.template if card else "auto"), model.tokenizer)
    return Agent(
        model=model,
        adapter=options.adapter or "",
        template=template,
        protocol=protocols.get(resolve(options.protocol or (card.protocol if card else "react"), template)),
        toolbox=Toolbox([], inline=True),
        sampling=SamplingParams(max_new_tokens=options.max_new_tokens or MAX_NEW_TOKENS),
        options=StepOptions(constrain=options.constrain is not False, repairs=RUNGS if options.repair else ()),
        guards=Guards() if options.guards else None,
    )


def _meta(agent: Agent, options: EvalOptions, cases: list[LiveCase]) -> Mapping[str, Any]:
    return {
        "suite": options.suite,
        "model": options.model,
        "adapter": options.adapter or "",
        "version": __version__,
        "fingerprint": agent.model.fingerprint,
        "protocol": agent.protocol.name,
        "template": agent.template.name,
        "cases": len(cases),
        "cases_hash": cases_hash(cases),
        "max_new_tokens": agent.sampling.max_new_tokens,
        "max_steps": agent.max_steps,
        "constrain": agent.options.constrain,
        "repairs": list(agent.options.repairs),
        "guards": asdict(agent.guards) if agent.guards is not None else None,
    }
