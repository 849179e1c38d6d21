"""Judged conversations: their rates by slice, how they went, and the run's folder."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agenttune.agent.events import RunFinished
from agenttune.agent.ladder import CONSTRAINED, RUNGS
from agenttune.errors import UserError
from agenttune.evaluation.live.cases import LiveCase
from agenttune.evaluation.live.judge import answered, repeated, verdict
from agenttune.evaluation.stats import proportion
from agenttune.evaluation.trajectory_metrics import invented_observations, recovered, steps_of
from agenttune.files import read_text, write_text
from agenttune.folder_lock import is_empty
from agenttune.own_json import from_json, parsed
from agenttune.values.case import Estimate
from agenttune.values.trajectory import ToolCall, Trajectory
from agenttune.values.trajectory_json import trajectory_from_json, trajectory_to_json

GUARDS = {
    "repeated_call": "repeated call",
    "forced_answer": "forced answer",
    "observation_cut": "result cut",
    "context_full": "context full",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveScore:
    """One judged conversation.

    `reason` is ``ok`` or says why not. `forced` counts answers that a guard asked for, `guards` how often each guard acted, `calls`
    those that were made, `constrained` replies of which the grammar changed a token, `repaired` replies that the ladder had to read.
    """

    case: str
    right: bool
    reason: str
    stop: str
    answer: str
    steps: int
    repeated: int
    forced: int
    tags: Mapping[str, str]
    clusters: tuple[str, ...]
    trajectory: Trajectory
    guards: Mapping[str, int] = field(default_factory=dict)
    calls: int = 0
    constrained: int = 0
    repaired: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveReport:
    """The share of right conversations by slice, each run's ends, and the judgements themselves."""

    suite: str
    rates: Mapping[str, Estimate]
    counts: Mapping[str, float]
    scores: tuple[LiveScore, ...]
    meta: Mapping[str, Any]


def score(case: LiveCase, ended: RunFinished) -> LiveScore:
    """One finished conversation against its case."""
    trajectory = ended.trajectory
    steps = [step for one in trajectory.rounds for step in one.steps]
    cut = len(trajectory.rounds) < len(case.users)  # an earlier question got no answer
    reason = trajectory.stop if cut else verdict(trajectory, case.how, case.accepted, case.quiet)
    return LiveScore(
        case=case.id,
        right=reason == "ok",
        reason=reason,
        stop=trajectory.stop,
        answer=(steps[-1].answer or "") if steps else "",
        steps=len(steps),
        repeated=repeated(trajectory),
        forced=sum(step.outcome == "forced" for step in steps),
        tags=case.tags,
        clusters=case.clusters,
        trajectory=trajectory,
        guards=ended.guards,
        calls=sum(isinstance(call, ToolCall) for step in steps for call in step.calls),
        constrained=sum(CONSTRAINED in step.repairs for step in steps),
        repaired=sum(any(rung in RUNGS for rung in step.repairs) for step in steps),
    )


def report_of(name: str, scores: Sequence[LiveScore], meta: Mapping[str, Any]) -> LiveReport:
    """Rates by slice (all, each half, each kind), and how the conversations went."""
    parts: dict[str, list[LiveScore]] = {"all": list(scores)}
    for tag in ("half", "kind"):
        for value in sorted({one.tags[tag] for one in scores}):
            parts.setdefault(f"{tag} {value}", [one for one in scores if one.tags[tag] == value])
    reasons = Counter(one.reason for one in scores)
    errors = [recovered(one.trajectory) for one in scores]
    counts = {
        "steps a conversation": round(sum(one.steps for one in scores) / max(1, len(scores)), 2),
        "calls": sum(one.calls for one in scores),
        "calls changed by the grammar": sum(one.constrained for one in scores),
        "replies repaired": sum(one.repaired for one in scores),
        "repeated calls": sum(one.repeated for one in scores),
        **{f"guard: {told}": sum(one.guards.get(name, 0) for one in scores) for name, told in GUARDS.items()},
        "answers that a guard asked for": sum(one.forced for one in scores),
        "errors of tools": sum(seen for _, seen in errors),
        "errors got over": sum(over for over, _ in errors),
        "invented results": sum(invented_observations(steps_of(one.trajectory))[0] for one in scores),
        "ended in no answer": sum(not answered(one.trajectory) for one in scores),
        **{f"reason {reason}": count for reason, count in reasons.most_common()},
    }
    return LiveReport(suite=name, rates={key: _rate(own) for key, own in parts.items()}, counts=counts, scores=tuple(scores), meta=meta)


def _rate(scores: Sequence[LiveScore]) -> Estimate:
    clusters = [one.clusters[-1] for one in scores]
    mean, low, high = proportion([one.right for one in scores], [clusters])
    return Estimate(name="right answers", value=mean, low=low, high=high, n=len(scores), clusters=len(set(clusters)))


def prepare(out: Path, meta: Mapping[str, Any], overwrite: bool) -> None:
    """Makes a run's folder. Raises `UserError` for one that is not a run's, or is and may not be overwritten."""
    if out.exists() and (not out.is_dir() or not is_empty(out)) and not overwrite:
        raise UserError(f"{out} is there already; choose another folder, or --overwrite")
    if out.is_dir() and not is_empty(out) and not (out / "meta.json").is_file():
        raise UserError(f"{out} is not the folder of a run; choose another")
    (out / "report.json").unlink(missing_ok=True)
    write_text(out / "meta.json", json.dumps(meta, ensure_ascii=False, indent=1))


def save(report: LiveReport, out: Path) -> None:
    """Writes what was judged, and the rates."""
    write_cases(report.scores, out)
    rates = {name: {"value": one.value, "low": one.low, "high": one.high, "n": one.n} for name, one in report.rates.items()}
    made = {"suite": report.suite, "rates": rates, "counts": report.counts, "meta": report.meta}
    write_text(out / "report.json", json.dumps(made, ensure_ascii=False, indent=1))


def write_cases(scores: Sequence[LiveScore], out: Path) -> None:
    """``cases.jsonl``: a judgement and its trajectory a line."""
    write_text(out / "cases.jsonl", "".join(json.dumps(_line(one), ensure_ascii=False) + "\n" for one in scores))


def _line(one: LiveScore) -> dict[str, Any]:
    names = ("case", "right", "reason", "stop", "answer", "steps", "repeated", "forced", "calls", "constrained", "repaired")
    told = {name: getattr(one, name) for name in names}
    return {
        **told,
        "tags": dict(one.tags),
        "clusters": list(one.clusters),
        "guards": dict(one.guards),
        "trajectory": trajectory_to_json(one.trajectory),
    }


def read_report(out: Path) -> LiveReport:
    """The report of a run's folder. Raises `UserError` for a folder that holds none."""
    if not (out / "report.json").is_file():
        raise UserError(f"{out} holds no finished run of conversations; agenttune eval desk:live makes one")
    meta = parsed(read_text(out / "meta.json", "run"), str(out / "meta.json"))
    if not isinstance(meta, dict) or not isinstance(meta.get("suite"), str):
        raise UserError(f"{out / 'meta.json'} does not name its suite: it is damaged; run agenttune eval again")
    lines = read_text(out / "cases.jsonl", "run").split("\n")[:-1]
    places = (f"{out / 'cases.jsonl'}:{number}" for number in range(1, len(lines) + 1))
    return report_of(meta["suite"], [_score(line, place) for line, place in zip(lines, places, strict=True)], meta)


def _score(line: str, where: str) -> LiveScore:
    return from_json(parsed(line, where), LiveScore, where, read={Trajectory: trajectory_from_json})
