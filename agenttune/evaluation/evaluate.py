"""Cases to judgements: decoded in batches, each judged case a line on the disk."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agenttune.errors import UserError
from agenttune.evaluation.metrics import report as make_report
from agenttune.evaluation.options import BATCH
from agenttune.evaluation.predict import Generating
from agenttune.evaluation.run_folder import append, prepare, write_report
from agenttune.evaluation.score import score
from agenttune.values.case import Case, Report, Score, exactly
from agenttune.values.trajectory import Step

Predict = Callable[[Sequence[Case]], list[Step]]
Judge = Callable[[Case, Step], Score]
ScoreBatch = Callable[[Sequence[Case]], list[Score]]  # asks and judges
TOKENS = 1 << 15  # prompt tokens in one batch, at most
CACHE = 1 << 32  # bytes of key-value cache for the prompts of one batch, at most
# What names a run for a person, and what follows from the rest: neither makes another run of it.
LABELS = frozenset(("suite", "adapter", "device", "cases", "chance", "left_out"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CasesScored:
    """Progress: so many of `total` cases are judged, and so many of them are right (None: that is told at the end)."""

    done: int
    total: int
    right: int | None = None


EvaluationEvent = CasesScored | Generating


def evaluate(
    cases: Sequence[Case],
    score_batch: ScoreBatch,
    *,
    suite: str,
    meta: Mapping[str, Any],
    out: Path,
    lengths: Mapping[str, int] | None = None,
    batch_size: int = BATCH,
    tokens: int = TOKENS,
    overwrite: bool = False,
    events: Callable[[EvaluationEvent], None] | None = None,
) -> Report:
    """Judges every case that the run in `out` has not judged yet, by `score_batch`, and writes its report.

    A batch has at most `batch_size` cases and, where `lengths` are given, `tokens` prompt tokens.
    `meta` says what is run, and with the cases' hash is its key: a run made otherwise is refused (`UserError`) unless
    `overwrite`. A KeyboardInterrupt keeps what is judged, and is raised again with a sentence that says how to go on.
    """
    meta = {**meta, "suite": suite, "cases": len(cases), "cases_hash": cases_hash(cases)}
    done = prepare(out, key_of(meta), meta, overwrite=overwrite)
    try:
        for batch in batches([case for case in cases if case.id not in done], batch_size, lengths or {}, tokens):
            scores = [one for one in score_batch(batch) if one.outcome != "infra_error"]
            append(out, scores)
            done |= {one.case: one for one in scores}
            if events is not None:
                right = sum(one.reason == "ok" for one in done.values())
                events(CasesScored(done=len(done), total=len(cases), right=right))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; {len(done)} of {len(cases)} cases are kept in {out}, the same command goes on") from None
    if missing := len(cases) - len(done):
        raise UserError(f"{missing} of {len(cases)} cases got no reply, and nothing is kept of them; the same command asks again")
    made = make_report(suite, [done[case.id] for case in cases], meta)
    write_report(out, made)
    return made


def key_of(meta: Mapping[str, Any]) -> str:
    """A hash of all that decides a run's outcome."""
    decides = {name: value for name, value in meta.items() if name not in LABELS}
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def batches(cases: Sequence[Case], size: int, lengths: Mapping[str, int], tokens: int = TOKENS) -> Iterator[list[Case]]:
    """Cases that begin alike (the same tool list) side by side, so that decoding reads what they share once.

    Tool lists stand by their longest prompt, and a list's cases by their own, so that a batch is nearly a rectangle: at most
    `size` rows, and at most `tokens` tokens where `lengths` (case id → prompt tokens) says how long they are.
    """
    shared: dict[str, list[Case]] = {}
    for case in sorted(cases, key=lambda case: (-lengths.get(case.id, 0), case.id)):
        shared.setdefault(case.sample.turns[0].system, []).append(case)
    batch: list[Case] = []
    widest = 0
    for case in (case for group in shared.values() for case in group):
        widest = max(widest, lengths.get(case.id, 0))
        if batch and (len(batch) >= size or widest * (len(batch) + 1) > tokens):
            yield batch
            batch, widest = [], lengths.get(case.id, 0)
        batch.append(case)
    if batch:
        yield batch


def prompt_token_limit(token_bytes: int) -> int:
    """Prompt tokens in one batch, at most, of a model whose key-value cache takes so many bytes for each."""
    return min(TOKENS, CACHE // max(1, token_bytes))


def cases_hash(cases: Sequence[Case]) -> str:
    """A hash of what is asked and what is right, whatever protocol it is written in."""
    digest = hashlib.sha256()
    for case in cases:
        asked = (case.id, case.sample.tools, case.sample.turns[0].input, case.clusters, sorted(case.tags.items()))
        digest.update(repr((asked, _accepted(case), sorted(case.compare.items()))).encode())
    return digest.hexdigest()


def _accepted(case: Case) -> object:
    """The answers, as plain calls where each is one plain call: so they were hashed before there were others."""
    if all(len(answer) == 1 and answer == exactly([answer[0].call]) for answer in case.answers):
        return tuple(answer[0].call for answer in case.answers)
    # Not the answers themselves: the order in which a set is printed is another in every process.
    told = [[(call.name, sorted(call.arguments.items()), sorted(call.optional)) for call in answer] for answer in case.answers]
    return told, case.ordered


def subset(cases: Sequence[Case], most: int | None) -> list[Case]:
    """At most `most` cases, drawn by a hash of their ids: the same in every run, and growing with `most`."""
    if most is None or most >= len(cases):
        return list(cases)
    kept = {case.id for case in sorted(cases, key=_draw)[:most]}
    return [case for case in cases if case.id in kept]


def stratified(cases: Sequence[Case], part: float) -> list[Case]:
    """A share of the cases, as near as may be the same of each combination of tags and never none of one; drawn as `subset` draws."""
    strata: dict[tuple[tuple[str, str], ...], list[Case]] = {}
    for case in cases:
        strata.setdefault(tuple(sorted(case.tags.items())), []).append(case)
    kept = {case.id for one in strata.values() for case in subset(one, max(1, round(part * len(one))))}
    return [case for case in cases if case.id in kept]


def _draw(case: Case) -> bytes:
    return hashlib.sha256(case.id.encode()).digest()


def record(scores: Sequence[Score], *, suite: str, meta: Mapping[str, Any], out: Path, overwrite: bool = False) -> Report:
    """Keeps judgements that were made elsewhere as a run. Raises `UserError` where `out` holds another."""
    asked = hashlib.sha256(repr(sorted((one.case, one.clusters) for one in scores)).encode()).hexdigest()
    told = hashlib.sha256(repr([asdict(one) for one in scores]).encode()).hexdigest()
    meta = {**meta, "suite": suite, "cases": len(scores), "cases_hash": asked, "scores_hash": told}
    done = prepare(out, key_of(meta), meta, overwrite=overwrite)
    append(out, [one for one in scores if one.case not in done])
    made = make_report(suite, scores, meta)
    write_report(out, made)
    return made


def judged_by(predict: Predict, judge: Judge = score) -> ScoreBatch:
    """Steps of `predict`, each judged by itself."""
    return functools.partial(score_cases, predict=predict, judge=judge)


def score_cases(cases: Sequence[Case], predict: Predict, judge: Judge = score) -> list[Score]:
    """Judgements with nothing written."""
    return [judge(case, step) for case, step in zip(cases, predict(cases), strict=True)]
