"""What evaluation reads and says: a case with its accepted answers, one judgement, and estimates with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agenttune.values.sample import Sample
from agenttune.values.trajectory import ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One step to predict. `sample` ends in the turn whose output is asked for (it is empty there).

    `accepted` holds the calls that count as right; empty means that the model must not call (it answers or asks back).
    `compare` maps an argument's name to how its values are compared (see `evaluation.score`). `clusters` are labels that it shares
    with others, one a way of clustering, for intervals (e.g. tool and pattern); `tags` select slices of a report (e.g. ``half=unseen``).
    """

    id: str
    sample: Sample
    accepted: tuple[ToolCall, ...] = ()
    compare: Mapping[str, str] = field(default_factory=dict)
    reference: str = ""
    clusters: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One judgement. `tool` and `call` are None where the case expects no call, `abstained` where it expects one."""

    case: str
    valid: bool
    tool: bool | None
    arguments: bool | None
    call: bool | None
    abstained: bool | None
    reason: str
    output: str = ""
    stop: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    clusters: tuple[str, ...] = ()


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
