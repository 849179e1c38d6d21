"""Are the scorers honest? Models that know everything, nothing or only noise are judged, and must come out where they belong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from agenttune import protocols
from agenttune.errors import Refusal, UserError
from agenttune.evaluation import baselines, suites
from agenttune.evaluation.evaluate import score_cases
from agenttune.evaluation.metrics import DETAILS, METRICS, UNBOUNDED, estimate
from agenttune.protocols.base import Protocol
from agenttune.values.case import Case, Estimate, Score
from agenttune.values.trajectory import Malformed, Step, ToolCall

# Metrics that say how often something was done, not how often it was right; and the lenient figures that stand beside ours to be seen.
DESCRIBE = frozenset(
    ("valid", "called", "invented_tool", "invented_argument", "wrong_type_argument", "invented_observation", "irrelevance_bfcl")
)
Answers = Callable[[Sequence[Case]], list[Step]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """What each model got on a suite, by metric; cases that not even whoever knows the answers gets right, and why; what is wrong."""

    suite: str
    cases: int
    values: Mapping[str, Mapping[str, Estimate]]
    unattainable: tuple[tuple[str, str], ...] = ()
    faults: tuple[str, ...] = ()


def selftest(name: str) -> SelfTest:
    """Judges `MODELS` on a suite of single steps. Raises `UserError` as `suites.load` does."""
    suite = suites.load(name)
    if suite.hold is not None:
        raise UserError(f"{name} holds whole conversations; the self-test is of single steps")
    return check(name, suite.cases, suite.judge)


def check(name: str, cases: Sequence[Case], judge: suites.Judge) -> SelfTest:
    """The same on cases at hand."""
    scores = {model: score_cases(cases, answers, judge) for model, answers in MODELS.items()}
    values = {model: _estimates(some) for model, some in scores.items()}
    wrong = tuple((one.case, one.reason) for one in scores["oracle"] if one.reason != "ok")
    faults = [*_above_one(values), *_oracle(values["oracle"], cases, wrong), *_above_chance(values)]
    return SelfTest(suite=name, cases=len(cases), values=values, unattainable=wrong, faults=tuple(faults))


def _estimates(scores: Sequence[Score]) -> dict[str, Estimate]:
    own = sorted({metric for one in scores for metric in one.counts} - set(DETAILS))
    return {metric: found for metric in (*METRICS, *DETAILS, *own) if (found := estimate(scores, metric)) is not None}


def _above_one(values: Mapping[str, Mapping[str, Estimate]]) -> list[str]:
    return [
        f"{model}: {metric} is {one.value:.3f}, which no share can be"
        for model, some in values.items()
        for metric, one in some.items()
        if metric not in UNBOUNDED and not 0.0 <= one.value <= 1.0 + 1e-9
    ]


def _oracle(found: Mapping[str, Estimate], cases: Sequence[Case], wrong: Sequence[tuple[str, str]]) -> list[str]:
    """Whoever knows the answers is right in every case, but for those that the protocol cannot write and those without an answer."""
    reached = {case.id for case in cases if _oracle_step(case) is not None}
    faults = [f"oracle: {case} is {reason}" for case, reason in wrong if case in reached and not _empty_answer(case, cases)]
    full = {} if wrong else {name: one for name, one in found.items() if name not in DESCRIBE and name in (*METRICS, *DETAILS)}
    return faults + [f"oracle: {name} is {one.value:.3f}, not 1" for name, one in full.items() if one.value < 1.0 - 1e-9]


def _empty_answer(name: str, cases: Sequence[Case]) -> bool:
    """Whether a case demands an argument for which no value is accepted: a fault of the suite."""
    case = next(one for one in cases if one.id == name)
    return any(not values for answer in case.answers for call in answer for values in call.arguments.values())


def _above_chance(values: Mapping[str, Mapping[str, Estimate]]) -> list[str]:
    faults = []
    for model in ("empty", "random tool", "repeated call", "garbage"):
        for metric, one in values[model].items():
            chance = values["chance"].get(metric)
            if metric not in DESCRIBE and one.low > (chance.high if chance else 0.0):
                faults.append(f"{model}: {metric} is {one.value:.3f}, above chance ({chance.value if chance else 0.0:.3f})")
    return faults


def _oracle_step(case: Case) -> Step | None:
    """The answer as the case's protocol writes and reads it; None where it cannot be written."""
    protocol = protocols.get(case.sample.protocol)
    calls = tuple(one.call for one in case.answers[0]) if case.answers else ()
    if case.tags.get("kind") == "any_call":
        calls = _drawn(case, 1)
    try:
        return _read(protocol, protocol.write_step(Step(calls=calls, answer=None if calls else case.reference or "I cannot tell.")))
    except Refusal:
        return None


def _read(protocol: Protocol, text: str) -> Step:
    step = protocol.parse(text)
    bad = any(isinstance(call, Malformed) for call in step.calls)
    return replace(step, raw=text, outcome="malformed" if bad else step.outcome)


def oracle(cases: Sequence[Case]) -> list[Step]:
    """Whoever knows the answers, through the protocol; nothing where it cannot be written."""
    return [_oracle_step(case) or Step(outcome="final") for case in cases]


def empty(cases: Sequence[Case]) -> list[Step]:
    """Nothing at all."""
    return [Step(outcome="final") for _ in cases]


def random_tool(cases: Sequence[Case]) -> list[Step]:
    """Always a call, of a tool drawn at random, with no arguments."""
    return [Step(calls=_drawn(case, 1), outcome="call") for case in cases]


def repeated_call(cases: Sequence[Case]) -> list[Step]:
    """The same drawn call four times over."""
    return [Step(calls=_drawn(case, 4), outcome="call") for case in cases]


def garbage(cases: Sequence[Case]) -> list[Step]:
    """The beginning of a call that is never finished, with every marker that there is."""
    return [_read(protocols.get(case.sample.protocol), 'Action: <tool_call>{"name": "x", "arguments": {"y": [}') for case in cases]


def _drawn(case: Case, times: int) -> tuple[ToolCall, ...]:
    names = [tool.name for tool in case.sample.tools] or ["none"]
    return (ToolCall(name=Random(case.id).choice(names), arguments={}),) * times


MODELS: Mapping[str, Answers] = {
    "oracle": oracle,
    "chance": baselines.chance,
    "empty": empty,
    "random tool": random_tool,
    "repeated call": repeated_call,
    "garbage": garbage,
}
