"""What evaluation reads and says: a case and its accepted answers, one judgement, and estimates with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agenttune.values.sample import Sample
from agenttune.values.trajectory import Json, ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedCall:
    """A call that is wanted: its tool, for each argument the values that count as right, and the arguments that may be left out.

    ``ExpectedCall(name="add", arguments={"n": (1, 2), "unit": ("km",)}, optional=frozenset({"unit"}))`` accepts ``add(n=1)``,
    ``add(n=2)``, and both with ``unit="km"``.
    """

    name: str
    arguments: Mapping[str, tuple[Json, ...]] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()

    @property
    def call(self) -> ToolCall:
        """The call itself, with the first value of each argument that must be there."""
        return ToolCall(name=self.name, arguments={name: some[0] for name, some in self.arguments.items() if name not in self.optional})


Answer = tuple[ExpectedCall, ...]  # calls of one step, which must all be made, and no other


def exactly(calls: Sequence[ToolCall]) -> Answer:
    """The answer that accepts these calls and nothing else."""
    return tuple(ExpectedCall(name=call.name, arguments={name: (value,) for name, value in call.arguments.items()}) for call in calls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One step to predict. `sample` ends in the turn whose output is asked for (it is empty there).

    `answers` are the ways to be right, of which one is enough; none means that the model must not call (it answers or asks back).
    `ordered` says that the calls of an answer must be made in its order. `compare` maps an argument's name to how its values are
    compared (see `evaluation.value_matching`). `reference` is the text of a reference answer. `clusters` are labels that the case
    shares with others, one a way of clustering, for intervals (e.g. tool and pattern); `tags` select slices of a report (e.g.
    ``half=unseen``).
    """

    id: str
    sample: Sample
    answers: tuple[Answer, ...] = ()
    ordered: bool = False
    compare: Mapping[str, str] = field(default_factory=dict)
    reference: str = ""
    clusters: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One judgement. `tool` and `call` are None where the case expects no call, `abstained` where it expects one.

    `outcome` is one of `evaluation.score.OUTCOMES`, whether right or wrong. `counts` holds every further metric that speaks of the
    case as (numerator, denominator): the metric over several cases is the sum of the one over the sum of the other.
    """

    case: str
    valid: bool
    tool: bool | None
    arguments: bool | None
    call: bool | None
    abstained: bool | None
    reason: str
    outcome: str = ""
    output: str = ""
    stop: str = ""
    tokens: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    clusters: tuple[str, ...] = ()
    counts: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A metric over `n` cases in `clusters` clusters: its value and its 95 % confidence interval."""

    name: str
    value: float
    low: float
    high: float
    n: int
    clusters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Estimates by slice, and what was run."""

    suite: str
    estimates: Mapping[str, tuple[Estimate, ...]]
    meta: Mapping[str, Any] = field(default_factory=dict)
