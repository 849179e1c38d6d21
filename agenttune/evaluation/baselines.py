"""What needs no model: chance, and a picker that takes the tool with the most words in common with the request."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agenttune.values.case import Case
from agenttune.values.trajectory import Step, ToolCall, ToolSpec

NAMES = ("overlap",)


def overlap(cases: Sequence[Case]) -> list[Step]:
    """Calls the tool whose name and description share the most words with the request (ties: the first), with no arguments.

    It answers where no word is shared. So its full-call share is 0 but for calls without arguments; its tool share is the
    bar that reading the list must pass.
    """
    return [_overlap(case) for case in cases]


def _overlap(case: Case) -> Step:
    asked = words(case.sample.turns[-1].input)
    ranked = [(len(asked & words(f"{tool.name} {tool.description}")), -index) for index, tool in enumerate(case.sample.tools)]
    most, index = max(ranked, default=(0, 0))
    if not most:
        return Step(answer="", outcome="ok")
    return Step(calls=(ToolCall(name=case.sample.tools[-index].name, arguments={}),), outcome="ok")


def words(text: str) -> frozenset[str]:
    """Lower-case words (letters and digits; names are split at case, hyphen and underscore; each Chinese character is one)."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return frozenset(re.findall(r"[\u4e00-\u9fff]|[a-z0-9]+", parted.lower()))


def chance(cases: Sequence[Case]) -> float:
    """Expected tool accuracy of a uniform guess among the offered tools, over the cases that expect a call."""
    offered: list[tuple[ToolSpec, ...]] = [case.sample.tools for case in cases if case.accepted and case.sample.tools]
    return sum(1 / len(tools) for tools in offered) / len(offered) if offered else 0.0
