"""Whole conversations with tools that really run: cases to trajectories, side by side, to judgements and rates.

``desk:live`` is ``evals/desk/live``: one JSON object a line, ``{"id", "tools", "users", "judge": {"how", "accepted"}, "tags",
"clusters"[, "system", "quiet", "fault"]}``. A tool is the name of a shipped one, or ``{"use": "agenttune.desk.tools_…:function",
"name", "description", "parameters": {own name: name here}}``. ``fault`` is what the first call of the case fails with, ``quiet``
lists the rounds that must have no call.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FunctionType
from typing import Any, cast

from agenttune import __version__, protocols
from agenttune.agent.agent import Agent
from agenttune.agent.decode import Session
from agenttune.agent.events import StopReason
from agenttune.agent.history import generated_ids, verbatim
from agenttune.agent.react import ATTEMPTS, REPEATS, feedback
from agenttune.agent.step import Outputs, StepOptions, take_steps
from agenttune.agent.toolbox.answers import ToolError
from agenttune.agent.toolbox.find import load
from agenttune.agent.toolbox.functions import Tool
from agenttune.agent.toolbox.run import Toolbox
from agenttune.errors import UserError, nearest
from agenttune.evaluation.evaluate import CasesScored, EvaluationEvent
from agenttune.evaluation.live_judge import HOWS, forced, repeated, verdict
from agenttune.evaluation.options import EvalOptions, check
from agenttune.evaluation.stats import proportion
from agenttune.files import read_text, shipped, write_text
from agenttune.protocols.base import write
from agenttune.values.case import Estimate
from agenttune.values.sample import Sample
from agenttune.values.tokens import SamplingParams
from agenttune.values.trajectory import Observation, Round, Step, ToolCall, Trajectory
from agenttune.values.trajectory_json import trajectory_from_json, trajectory_to_json

BATCH = 64  # conversations side by side
MAX_NEW_TOKENS = 160
_OWN = re.compile(r"agenttune\.desk\.tools_\w+:\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCase:
    """One conversation: its tools, what is typed round by round, how the end is judged, and the first call's failure, if any."""

    id: str
    tools: tuple[Tool, ...]
    users: tuple[str, ...]
    how: str
    accepted: tuple[Any, ...] = ()
    system: str = ""
    quiet: tuple[int, ...] = ()
    fault: str = ""
    clusters: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    def toolbox(self) -> Toolbox:
        """Fresh tools; with a fault the first call of all fails."""
        if not self.fault:
            return Toolbox(self.tools, inline=True)
        failed: list[str] = []
        return Toolbox([_failing(one, self.fault, failed) for one in self.tools], inline=True)


def _failing(one: Tool, fault: str, failed: list[str]) -> Tool:
    @functools.wraps(one.function)
    def run(**keywords: Any) -> Any:
        if not failed:
            failed.append(one.spec.name)
            raise ToolError(fault)
        return one.function(**keywords)

    return replace(one, function=cast(FunctionType, run), origin=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveScore:
    """One judged conversation. `reason` is ``ok`` or says why not; `forced` counts answers that a guard forced."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveReport:
    """The share of right conversations by slice, each run's ends, and the judgements themselves."""

    suite: str
    rates: Mapping[str, Estimate]
    counts: Mapping[str, float]
    scores: tuple[LiveScore, ...]
    meta: Mapping[str, Any]


def is_live(name: str) -> bool:
    """Whether a suite's name (``desk:live``, ``desk:live-dev``) means whole conversations."""
    base, _, split = name.partition(":")
    return split.partition("-")[0] == "live" and (shipped("evals") / base / "live").is_dir()


def read(name: str) -> list[LiveCase]:
    """The cases of ``desk:live`` (its held-out half), ``desk:live-dev``, …. Raises `UserError` for a half or a line that is none."""
    base, _, split = name.partition(":")
    folder = shipped("evals") / base / "live"
    half = split.partition("-")[2] or "heldout"
    halves = sorted(path.stem for path in folder.glob("*.jsonl"))
    if half not in halves:
        raise UserError(f'{base}:live has no half "{half}"{nearest(half, halves)}; it has {", ".join(halves)}')
    path = folder / f"{half}.jsonl"
    lines = read_text(path, "cases").splitlines()
    return [_case(json.loads(line), f"{path}:{number}") for number, line in enumerate(lines, 1)]


def _case(row: Mapping[str, Any], where: str) -> LiveCase:
    if row["judge"]["how"] not in HOWS:
        raise UserError(f'{where} is judged by "{row["judge"]["how"]}"; known: {", ".join(HOWS)}')
    return LiveCase(
        id=row["id"],
        tools=tuple(_tool(one, where) for one in row["tools"]),
        users=tuple(row["users"]),
        how=row["judge"]["how"],
        accepted=tuple(row["judge"]["accepted"]),
        system=row.get("system", ""),
        quiet=tuple(row.get("quiet", ())),
        fault=row.get("fault", ""),
        clusters=tuple(row["clusters"]),
        tags=row["tags"],
    )


def _tool(one: str | Mapping[str, Any], where: str) -> Tool:
    """A shipped tool by its name, or one of the desk's own functions under other names; nothing else is loaded for a file."""
    if isinstance(one, str):
        if not re.fullmatch(r"\w+", one):
            raise UserError(f'{where} names the tool "{one}"; a suite may name shipped tools only')
        return load(one)[0]
    if not _OWN.fullmatch(one["use"]):
        raise UserError(f'{where} uses "{one["use"]}"; a suite may use functions of agenttune.desk.tools_… only')
    (made,) = load(one["use"])
    return made.renamed(one["name"], one["description"], {own: (new, "") for own, new in one["parameters"].items()})


def run_live(options: EvalOptions, events: Callable[[EvaluationEvent], None] | None = None) -> LiveReport:
    """Holds every conversation and writes ``options.out``: ``meta.json``, ``report.json``, and ``cases.jsonl``, a judgement and its
    trajectory a line.

    `events` is told after each batch. Raises `UserError` for whatever a person must change.
    """
    from agenttune import models, templates

    check(options)
    if os.environ.get("AGENTTUNE_SEARCH_DB"):
        raise UserError("AGENTTUNE_SEARCH_DB names other articles than the suite asks about; unset it for this evaluation")
    cases = part(read(options.suite), options.limit)
    loaded = models.load(options.model, adapter=options.adapter, device=options.device, dtype=options.dtype, bits=options.bits)
    card = loaded.card
    spoken = protocols.get(options.protocol or (card.protocol if card else "react"))
    asked = card.template_options if card else None
    used = templates.load(options.template or (card.template if card else "auto"), loaded.tokenizer, asked)
    sampling = SamplingParams(max_new_tokens=options.max_new_tokens or MAX_NEW_TOKENS)
    steps = StepOptions(constrain=options.constrain)
    agent = Agent(model=loaded, template=used, protocol=spoken, toolbox=Toolbox([], inline=True), sampling=sampling, options=steps)
    meta = {
        "suite": options.suite,
        "model": options.model,
        "adapter": options.adapter or "",
        "version": __version__,
        "fingerprint": loaded.fingerprint,
        "dtype": str(loaded.hf.dtype).removeprefix("torch."),
        "protocol": spoken.name,
        "template": used.name,
        "cases": len(cases),
        "cases_hash": _hash(cases),
        "max_new_tokens": options.max_new_tokens or MAX_NEW_TOKENS,
        "max_steps": agent.max_steps,
        "constrain": options.constrain,
    }
    _prepare(options.out, meta, options.overwrite)
    scores: list[LiveScore] = []
    for batch in batches(cases, min(options.batch_size, BATCH)):
        scores += judged(batch, agent)
        _write_cases(scores, options.out)
        if events is not None:
            events(CasesScored(done=len(scores), total=len(cases), right=sum(one.right for one in scores)))
    report = report_of(options.suite, scores, meta)
    _save(report, options.out)
    return report


def part(cases: Sequence[LiveCase], most: int | None) -> list[LiveCase]:
    """At most `most` cases in even shares of the kinds, within a kind drawn by a hash of their ids: the same in every run."""
    kinds: dict[str, list[LiveCase]] = {}
    for case in sorted(cases, key=lambda case: hashlib.sha256(case.id.encode()).digest()):
        kinds.setdefault(case.tags.get("kind", ""), []).append(case)
    turns = [case for row in range(len(cases)) for _, own in sorted(kinds.items()) for case in own[row : row + 1]]
    kept = {case.id for case in turns[:most]}
    return [case for case in cases if case.id in kept]


def batches(cases: Sequence[LiveCase], size: int) -> Iterator[list[LiveCase]]:
    """Cases with the same tools side by side, so that the list is read once."""
    ordered = sorted(cases, key=lambda case: ([one.spec.name for one in case.tools], len(case.users), case.id))
    yield from (ordered[at : at + size] for at in range(0, len(ordered), size))


def judged(cases: Sequence[LiveCase], agent: Agent) -> list[LiveScore]:
    """Judgements with nothing written."""
    return [score(case, trajectory) for case, trajectory in zip(cases, converse(cases, agent), strict=True)]


def score(case: LiveCase, trajectory: Trajectory) -> LiveScore:
    """One finished conversation against its case."""
    steps = [step for one in trajectory.rounds for step in one.steps]
    cut = len(trajectory.rounds) < len(case.users)  # an earlier round did not end in an answer
    reason = trajectory.stop if cut else verdict(trajectory, case.how, case.accepted, case.quiet)
    return LiveScore(
        case=case.id,
        right=reason == "ok",
        reason=reason,
        stop=trajectory.stop,
        answer=(steps[-1].answer or "") if steps else "",
        steps=len(steps),
        repeated=repeated(trajectory),
        forced=forced(steps),
        tags=case.tags,
        clusters=case.clusters,
        trajectory=trajectory,
    )


class _Talk:
    """One conversation as it grows. What a step leads to is `agent.react.run`'s rule; a test compares the two."""

    def __init__(self, case: LiveCase, agent: Agent) -> None:
        self._case, self._agent = case, replace(agent, toolbox=case.toolbox())
        self.session = Session(agent.model)  # what was read of the conversation so far is not read again
        self.trajectory = Trajectory(id=case.id, system=case.system, tools=self._agent.toolbox.specs)
        self._ask(case.users[0])

    def _ask(self, text: str) -> None:
        self.trajectory = replace(self.trajectory, rounds=(*self.trajectory.rounds, Round(user=text)))
        self._failed = self._same = 0
        self._last: tuple[object, ...] = ()

    def prompt(self) -> tuple[Sample, Outputs]:
        """What is sent next, and the ids of what the model said before."""
        outputs = generated_ids(self.trajectory)
        return write(verbatim(self.trajectory), self._agent.protocol), outputs

    def take(self, step: Step) -> None:
        """Takes a step: runs its calls, goes on to the next round after an answer, or ends."""
        if step.outcome == "context" and not step.token_ids:
            self._end("context")
            return
        self.trajectory = self.trajectory.with_step(step)
        if not step.usable:
            self._unusable(step)
        elif step.answer is not None:
            self._answered()
        else:
            self._failed = 0
            self._act(step)
        if not self.trajectory.stop and len(self.trajectory.rounds[-1].steps) >= self._agent.max_steps:
            self._end("max_steps")

    def _answered(self) -> None:
        done = len(self.trajectory.rounds)
        self._ask(self._case.users[done]) if done < len(self._case.users) else self._end("answer")

    def _act(self, step: Step) -> None:
        calls = tuple(replace(call, id="") for call in step.calls if isinstance(call, ToolCall))
        self._same = self._same + 1 if calls == self._last else 1
        self._last = calls
        if self._same >= REPEATS:
            self._end("loop")
        else:
            self._observe(self._agent.toolbox.run(step.calls))

    def _unusable(self, step: Step) -> None:
        reason: StopReason = "context" if step.outcome == "context" else "length" if step.outcome == "truncated" else "malformed"
        self._failed += 1
        if reason == "context" or step.answer is not None or self._failed > ATTEMPTS:
            self._end(reason)
        else:
            self._observe([Observation(text=feedback(step, self._agent.sampling, self._agent.protocol), error=True)])

    def _observe(self, seen: Sequence[Observation]) -> None:
        self.trajectory = self.trajectory.with_observations(seen)

    def _end(self, stop: StopReason) -> None:
        self.trajectory = replace(self.trajectory, stop=stop)


def converse(cases: Sequence[LiveCase], agent: Agent) -> list[Trajectory]:
    """The finished conversations, all advanced one step at a time in one batch; each ends as `agent.react.run` would end it.

    Each case brings its own tools in place of the agent's.
    """
    talks = [_Talk(case, agent) for case in cases]
    while going := [talk for talk in talks if not talk.trajectory.stop]:
        prompts = [talk.prompt() for talk in going]
        samples, outputs = [one for one, _ in prompts], [made for _, made in prompts]
        sessions = [talk.session for talk in going]
        steps = take_steps(agent.model, samples, agent.template, agent.sampling, sessions=sessions, outputs=outputs, options=agent.options)
        for talk, step in zip(going, steps, strict=True):
            talk.take(step)
    return [talk.trajectory for talk in talks]


def report_of(name: str, scores: Sequence[LiveScore], meta: Mapping[str, Any]) -> LiveReport:
    """Rates by slice (all, each half, each kind), and how the conversations went."""
    parts: dict[str, list[LiveScore]] = {"all": list(scores)}
    for tag in ("half", "kind"):
        for value in sorted({one.tags[tag] for one in scores}):
            parts.setdefault(f"{tag} {value}", [one for one in scores if one.tags[tag] == value])
    reasons = Counter(one.reason for one in scores)
    counts = {
        "steps a conversation": round(sum(one.steps for one in scores) / max(1, len(scores)), 2),
        "repeated calls": sum(one.repeated for one in scores),
        "forced answers": sum(one.forced for one in scores),
        "ended in no answer": sum(one.stop != "answer" for one in scores),
        **{f"reason {reason}": count for reason, count in reasons.most_common()},
    }
    return LiveReport(suite=name, rates={key: _rate(own) for key, own in parts.items()}, counts=counts, scores=tuple(scores), meta=meta)


def _rate(scores: Sequence[LiveScore]) -> Estimate:
    clusters = [one.clusters[-1] for one in scores]
    mean, low, high = proportion([one.right for one in scores], [clusters])
    return Estimate(name="right answers", value=mean, low=low, high=high, n=len(scores), clusters=len(set(clusters)))


def _hash(cases: Sequence[LiveCase]) -> str:
    asked = [(case.id, case.users, case.how, case.accepted, [repr(one.spec) for one in case.tools]) for case in cases]
    return hashlib.sha256(repr(asked).encode()).hexdigest()


def _prepare(out: Path, meta: Mapping[str, Any], overwrite: bool) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not overwrite:
        raise UserError(f"{out} is there already; choose another folder, or --overwrite")
    if out.is_dir() and any(out.iterdir()) and not (out / "meta.json").is_file():
        raise UserError(f"{out} is not the folder of a run; choose another")
    (out / "report.json").unlink(missing_ok=True)
    write_text(out / "meta.json", json.dumps(meta, ensure_ascii=False, indent=1))


def _save(report: LiveReport, out: Path) -> None:
    _write_cases(report.scores, out)
    rates = {name: {"value": one.value, "low": one.low, "high": one.high, "n": one.n} for name, one in report.rates.items()}
    made = {"suite": report.suite, "rates": rates, "counts": report.counts, "meta": report.meta}
    write_text(out / "report.json", json.dumps(made, ensure_ascii=False, indent=1))


def _write_cases(scores: Sequence[LiveScore], out: Path) -> None:
    write_text(out / "cases.jsonl", "".join(json.dumps(_line(one), ensure_ascii=False) + "\n" for one in scores))


def _line(one: LiveScore) -> dict[str, Any]:
    names = ("case", "right", "reason", "stop", "answer", "steps", "repeated", "forced")
    told = {name: getattr(one, name) for name in names}
    return {**told, "tags": dict(one.tags), "clusters": list(one.clusters), "trajectory": trajectory_to_json(one.trajectory)}


def read_report(out: Path) -> LiveReport:
    """The report of a run's folder. Raises `UserError` for a folder that holds none."""
    if not (out / "report.json").is_file():
        raise UserError(f"{out} holds no finished run of conversations; agenttune eval desk:live makes one")
    meta = json.loads(read_text(out / "meta.json", "run"))
    lines = read_text(out / "cases.jsonl", "run").splitlines()
    return report_of(meta["suite"], [_score(json.loads(line)) for line in lines], meta)


def _score(row: Mapping[str, Any]) -> LiveScore:
    known = {**row, "clusters": tuple(row["clusters"]), "trajectory": trajectory_from_json(row["trajectory"])}
    return LiveScore(**known)
