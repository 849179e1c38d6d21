"""In which order the calls of the training data name their arguments, so that a grammar need not allow, or forbid, another one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from agenttune import protocols
from agenttune.values.sample import Sample
from agenttune.values.trajectory import ToolCall

TOOLS = 1000  # those called most; a card stays small
MIXED = 6  # orders kept of a tool whose calls disagree

Order = tuple[str, ...]


def argument_orders(samples: Sequence[Sample]) -> dict[str, tuple[Order, ...]]:
    """By tool name, the orders of its arguments: one where all trained calls agree, else the commonest.

    Calls that leave optional arguments out agree where one order fits them all. A tool that was never called with two arguments is left
    out: any order is right.
    """
    seen: dict[str, Counter[Order]] = {}
    for sample in samples:
        protocol = protocols.get(sample.protocol)
        for turn in sample.turns:
            if turn.output and turn.weight > 0:
                for call in protocol.parse(turn.output).calls:
                    if isinstance(call, ToolCall) and len(call.arguments) > 1:
                        seen.setdefault(call.name, Counter())[tuple(call.arguments)] += 1
    most = sorted(seen, key=lambda name: (-seen[name].total(), name))[:TOOLS]
    return {name: _agreed(seen[name]) for name in sorted(most)}


def _agreed(found: Mapping[Order, int]) -> tuple[Order, ...]:
    """One order that all fit, else the commonest as they are."""
    graph: dict[str, set[str]] = {}
    for order in found:
        for before, after in pairwise(order):
            graph.setdefault(before, set())
            graph.setdefault(after, set()).add(before)
    try:
        return (tuple(TopologicalSorter(graph).static_order()),)
    except CycleError:
        return tuple(sorted(found, key=lambda order: (-found[order], order))[:MIXED])
