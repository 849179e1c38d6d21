"""What needs no model: chance, and a picker that takes the tool with the most words in common with the request."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

from agenttune.evaluation.metrics import slices
from agenttune.evaluation.score import score
from agenttune.values.case import Case
from agenttune.values.trajectory import Step, ToolCall

COIN = 0.5  # by convention: chance of abstaining where that is right


def overlap(cases: Sequence[Case]) -> list[Step]:
    """Calls the tool whose name and description share most words with the last request (ties: the first), with no arguments.

    It answers where no word is shared. So its full-call share is 0 but for calls without arguments; its tool share is the
    bar that reading the list must pass.
    """
    return [_overlap(case) for case in cases]


def _overlap(case: Case) -> Step:
    asked = words(next((turn.input for turn in reversed(case.sample.turns) if turn.input), ""))
    ranked = [(len(asked & words(f"{tool.name} {tool.description}")), -index) for index, tool in enumerate(case.sample.tools)]
    most, index = max(ranked, default=(0, 0))
    return _call(case.sample.tools[-index].name) if most else _answer()


def words(text: str) -> frozenset[str]:
    """Lower-case words (letters and digits; names are split at case, hyphen and underscore; each Chinese character is one)."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return frozenset(re.findall(r"[\u4e00-\u9fff]|[a-z0-9]+", parted.lower()))


def chance(cases: Sequence[Case]) -> list[Step]:
    """Draws, seeded by the case's id, of a guesser whose expected shares are those of `expected`.

    Where a call is expected it calls one of the tools, drawn uniformly, with no arguments; where none is, a fair coin says
    whether it calls all the same.
    """
    return [_chance(case, Random(case.id)) for case in cases]


def _chance(case: Case, random: Random) -> Step:
    calls = bool(case.sample.tools) and (bool(case.answers) or random.random() >= COIN)
    return _call(random.choice(case.sample.tools).name) if calls else _answer()


def expected(cases: Sequence[Case]) -> dict[str, float]:
    """What `chance` is right in on average, by metric: a tool in one of as many as are offered, abstention by a fair coin."""
    shares = [_right(case) for case in cases if case.answers]
    found = {"tool": sum(shares) / len(shares)} if shares else {}
    return found if len(shares) == len(cases) else {**found, "abstained": COIN}


def expected_by_slice(cases: Sequence[Case]) -> dict[str, dict[str, float]]:
    """`expected` of each slice of a report."""
    by_id = {case.id: case for case in cases}
    parts = slices([score(case, Step()) for case in cases])
    return {name: {key: round(value, 4) for key, value in expected([by_id[one.case] for one in part]).items()} for name, part in parts}


def _right(case: Case) -> float:
    offered = [tool.name for tool in case.sample.tools]
    single = {answer[0].name for answer in case.answers if len(answer) == 1}  # one call cannot be right where several are wanted
    return len(single & set(offered)) / len(offered) if offered else 0.0


def _call(name: str) -> Step:
    return Step(calls=(ToolCall(name=name, arguments={}),), outcome="call")


def _answer() -> Step:
    return Step(answer="No tool fits.", outcome="final")


BASELINES: dict[str, Callable[[Sequence[Case]], list[Step]]] = {"chance": chance, "overlap": overlap}
