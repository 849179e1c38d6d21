"""Cases to judgements: prompts from the training renderer, decoded in batches, a line on the disk for each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agenttune.evaluation.rates import report as make_report
from agenttune.evaluation.run_files import append, prepare, write_report
from agenttune.evaluation.score import score
from agenttune.values.case import Case, Report, Score
from agenttune.values.trajectory import Step

if TYPE_CHECKING:
    from agenttune.models.base import Model
    from agenttune.templates import Template
    from agenttune.values.tokens import Limits

Predict = Callable[[Sequence[Case]], list[Step]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Progress: so many of `total` cases are judged."""

    done: int
    total: int


def evaluate(
    cases: Sequence[Case],
    predict: Predict,
    *,
    suite: str,
    meta: Mapping[str, Any],
    out: Path,
    batch_size: int = 16,
    overwrite: bool = False,
    events: Callable[[Judged], None] | None = None,
) -> Report:
    """Judges every case that the run in `out` has not judged yet, and writes its report.

    `meta` says what is run, and with the cases' hash is its key: a run made otherwise is refused unless `overwrite`.
    """
    meta = {**meta, "suite": suite, "cases": len(cases), "cases_hash": cases_hash(cases)}
    key = hashlib.sha256(repr(sorted(meta.items())).encode()).hexdigest()
    done = prepare(out, key, meta, overwrite=overwrite)
    left = [case for case in cases if case.id not in done]
    for batch in batches(left, batch_size):
        scores = [score(case, step) for case, step in zip(batch, predict(batch), strict=True)]
        append(out, scores)
        done |= {one.case: one for one in scores}
        if events is not None:
            events(Judged(done=len(done), total=len(cases)))
    made = make_report(suite, [done[case.id] for case in cases], dict(meta))
    write_report(out, made)
    return made


def batches(cases: Sequence[Case], size: int) -> Iterator[list[Case]]:
    """Cases that begin alike (the same tool list) side by side, so that decoding reads what they share once."""
    ordered = sorted(cases, key=lambda case: (case.sample.turns[0].system, len(case.sample.turns), case.id))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


def by_model(model: Model, template: Template, limits: Limits) -> Predict:
    """Steps that a model takes, each from its own case."""
    from agenttune.agent.step import take_steps

    return lambda cases: take_steps(model, [case.sample for case in cases], template, limits)


def cases_hash(cases: Sequence[Case]) -> str:
    """A hash of the cases, their accepted answers and how these are compared."""
    digest = hashlib.sha256()
    for case in cases:
        digest.update(repr((case.id, case.sample.turns, case.accepted, sorted(case.compare.items()))).encode())
    return digest.hexdigest()


def part(cases: Sequence[Case], most: int | None) -> list[Case]:
    """At most `most` cases, drawn by a hash of their ids: the same in every run, and growing with `most`."""
    if most is None or most >= len(cases):
        return list(cases)
    chosen = sorted(cases, key=lambda case: hashlib.sha256(case.id.encode()).digest())[:most]
    kept = {case.id for case in chosen}
    return [case for case in cases if case.id in kept]


def scores_of(cases: Sequence[Case], predict: Predict) -> list[Score]:
    """Judgements with nothing written."""
    return [score(case, step) for case, step in zip(cases, predict(cases), strict=True)]
