"""The scorers are honest; and if one of twenty faults is put into them, the self-test or a case by hand says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from agenttune import protocols
from agenttune.evaluation import call_matching, metrics, score, selftest, stats, text_overlap, value_matching
from agenttune.evaluation.selftest import SelfTest, check
from agenttune.protocols.base import write
from agenttune.values.case import Case, Score, exactly
from agenttune.values.trajectory import Malformed, Round, Step, ToolCall, ToolSpec, Trajectory

SCHEMA = {
    "type": "object",
    "properties": {"zip": {"type": "string"}, "count": {"type": "integer"}, "unit": {"type": "string", "default": "km"}},
    "required": ["zip"],
}
TOOLS = tuple(ToolSpec(name=name, parameters=SCHEMA) for name in ("post", "find", "sell", "count_up"))


def call(name: str = "post", **arguments: Any) -> ToolCall:
    return ToolCall(name=name, arguments=arguments)


def case(name: str, *calls: ToolCall, reference: str = "") -> Case:
    sample = write(Trajectory(tools=TOOLS, rounds=(Round(user="u"),)), protocols.get("hermes"))
    return Case(id=name, sample=sample, answers=(exactly(calls),) if calls else (), reference=reference, clusters=(name[:2],))


A, B = call(zip="01234", count=2), call("find", zip="1.10")
CASES = [
    *(case(f"a{at}", A) for at in range(30)),
    *(case(f"b{at}", A, B) for at in range(10)),
    *(case(f"n{at}", reference="It is two words") for at in range(20)),
]


def run_selftest() -> SelfTest:
    return check("made", CASES, score.score)


def test_the_scorers_are_honest() -> None:
    found = run_selftest()
    assert found.faults == ()
    assert found.unattainable == ()
    assert {name: some["call"].value for name, some in found.values.items()} == {
        "oracle": 1.0, "chance": 0.0, "empty": 0.0, "random tool": 0.0, "repeated call": 0.0, "garbage": 0.0,
    }  # fmt: skip
    assert found.values["garbage"]["abstained"].value == 0.0
    assert found.values["empty"]["abstained"].value == 0.0


def judged(made: Case, *calls: ToolCall, answer: str | None = None) -> Score:
    return score.score(made, Step(calls=calls, answer=answer, outcome="ok"))


def by_hand() -> Iterator[bool]:
    """What must hold of a few steps, each seen through the scorer as a whole."""
    one, two, none = case("a", A), case("b", A, B), case("n", reference="It is two words")
    yield judged(one, A).reason == "ok"
    yield judged(one, call(zip=1234, count=2)).reason == "wrong_type"
    yield judged(one, call(zip="1234", count=2)).reason == "wrong_value"
    yield judged(one, call(zip="01234", count="2")).reason == "wrong_type"
    yield judged(one, call(zip="01234", count=2, unit="km")).reason == "ok"
    yield judged(one, call(zip="01234", count=2, unit="m")).reason == "extra_argument"
    yield judged(one, call(zip="01234")).reason == "missing_argument"
    yield judged(one, call("sell", zip="01234", count=2)).reason == "wrong_tool"
    yield judged(one, call("nobody", zip="01234", count=2)).reason == "invented_tool"
    yield judged(one, A, A).reason == "extra_call"
    yield judged(two, B, A).reason == "ok"
    yield judged(two, A).reason == "missing_call"
    yield judged(two, A, A, A, A).counts["call_recall"] == (1, 2)
    yield judged(two, A, A, A, A).counts["call_f1"][0] == pytest.approx(2 / 6)
    yield judged(one, call(zip="01234", count=3)).counts["argument_f1"][0] == pytest.approx(0.75)
    yield judged(one, call("nobody", odd=1)).counts["invented_tool"] == (1, 1)
    yield judged(one, call(zip="01234", odd=1)).counts["invented_argument"] == (1, 2)
    yield judged(none, answer="It is two words").counts["rouge_l"] == (1, 1)
    yield judged(none, answer="It was two").counts["rouge_l"][0] == pytest.approx(4 / 7)
    yield judged(none, answer="天气很好").counts["rouge_l"][0] == 0.0
    yield judged(none, answer='post(zip="1")').outcome == "malformed"
    yield judged(none, answer="Action: post").abstained is False
    yield score.score(none, Step(calls=(Malformed(text="", reason=""),), outcome="malformed")).abstained is False
    yield score.score(one, Step(calls=(A,), outcome="truncated")).call is False
    yield score.score(one, Step(outcome="infra_error")).outcome == "infra_error"
    half = [judged(none, answer="no"), judged(one, answer="no")]
    made = metrics.estimate(half, "decision_f1")
    yield made is not None and made.value == pytest.approx((0 + 2 / 3) / 2)
    yield stats.mcnemar([True] * 30 + [False] * 50, [False] * 30 + [True] * 50) == pytest.approx(0.033, abs=1e-3)
    yield stats.wilson(16, 16)[0] == pytest.approx(0.8064, abs=1e-4)
    yield stats.holm([0.01, 0.04]) == pytest.approx([0.02, 0.04])
    yield stats.pass_hat_k(3, 4, 2) == 0.5


def test_what_must_hold_holds() -> None:
    assert all(by_hand())
    assert len(list(by_hand())) == 30


def swapped(module: Any, name: str, make: Callable[[Any], Any]) -> tuple[Any, str, Callable[[Any], Any]]:
    return module, name, make


FAULTS = {
    "a text of a number is the number": swapped(value_matching, "is_type", lambda real: lambda value, name: True),
    "types are not looked at": swapped(value_matching, "of_other_type", lambda real: lambda *_: False),
    "values are always the same": swapped(call_matching, "matches", lambda real: lambda *_: True),
    "values are never the same": swapped(call_matching, "matches", lambda real: lambda *_: False),
    "a default counts as an extra": swapped(call_matching, "_says_nothing", lambda real: lambda *_: False),
    "any argument says nothing": swapped(call_matching, "_says_nothing", lambda real: lambda *_: True),
    "calls match more than once": swapped(
        score, "best_matching", lambda real: lambda rows: float(sum(max(row, default=0) for row in rows))
    ),
    "a matching is one too few": swapped(score, "best_matching", lambda real: lambda rows: real(rows) - 1),
    "half matches count whole": swapped(score, "argument_f1", lambda real: lambda *some: min(1.0, 2 * real(*some))),
    "argument F1 is halved": swapped(score, "argument_f1", lambda real: lambda *some: real(*some) / 2),
    "only the first call is looked at": swapped(score, "_calls", lambda real: lambda step: real(step)[:1]),
    "calls are doubled": swapped(score, "_calls", lambda real: lambda step: real(step) * 2),
    "what cannot be read is an answer": swapped(
        score, "outcome_of", lambda real: lambda *some: "final" if real(*some) == "malformed" else real(*some)
    ),
    "what is empty is an answer": swapped(
        score, "outcome_of", lambda real: lambda *some: "final" if real(*some) == "empty" else real(*some)
    ),
    "what was cut counts": swapped(
        score, "outcome_of", lambda real: lambda *some: "call_ok" if real(*some) == "truncated" else real(*some)
    ),
    "a try to call is an answer": swapped(score, "tries_to_call", lambda real: lambda *_: False),
    "extra calls are free": swapped(
        score, "_against", lambda real: lambda case, table: real(case, replace(table, calls=table.calls[: len(table.answer)]))
    ),
    "text overlap counts words in any order": swapped(
        score, "rouge_l", lambda real: lambda a, b: 2 * len(set(a.split()) & set(b.split())) / (len(a.split()) + len(b.split())) + 0.1
    ),
    "Chinese has no words": swapped(text_overlap, "tokens", lambda real: lambda text: text.split()[:1]),
    "decisions are right by luck": swapped(metrics, "_decision", lambda real: lambda one: (1.0, 1.0, 1.0, 0.0, 0.0, 0.0)),
    "unknown arguments are not counted": swapped(score, "mismatches", lambda real: lambda *_: iter(())),
    "the pairs that agree are tested too": swapped(stats, "mcnemar", lambda real: lambda a, b: real(a, b) * 2),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_deliberate_fault_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, attribute, make = FAULTS[name]
    monkeypatch.setattr(module, attribute, make(getattr(module, attribute)))
    assert not all(by_hand()) or run_selftest().faults


def test_at_least_twenty_faults_are_tried() -> None:
    assert len(FAULTS) >= 20


def test_a_value_above_one_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four copies of a right call gave an F1 of 1.6 where repeats were counted each time."""
    monkeypatch.setattr(score, "best_matching", lambda rows: sum(map(sum, rows)))
    monkeypatch.setitem(selftest.MODELS, "repeated call", lambda cases: [Step(calls=(A,) * 4, outcome="ok") for _ in cases])  # type: ignore[arg-type]
    assert any("which no share can be" in fault for fault in run_selftest().faults)


def test_a_case_that_its_protocol_cannot_write_is_named() -> None:
    sample = write(Trajectory(tools=TOOLS, rounds=(Round(user="u"),)), protocols.get("react"))
    found = check("made", [Case(id="two", sample=sample, answers=(exactly([A, B]),))], score.score)
    assert found.unattainable == (("two", "empty"),)
    assert found.faults == ()
