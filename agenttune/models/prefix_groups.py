"""Which prompts of a batch read their beginning together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from agenttune.values.tokens import common_prefix

PASS = 8  # tokens; what one more forward pass costs whatever it reads, because it goes through all the weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rows whose first `prefix` ids are the same."""

    prefix: int
    rows: tuple[int, ...]


def group_by_prefix(prompts: Sequence[Sequence[int]]) -> tuple[Group, ...]:
    """The grouping that costs the least: each group's prefix is read once, then every row's remainder. Empty: sharing does not pay.

    A batch is a rectangle, so the cost of a pass is its rows times its widest row; a second pass costs a little by itself.
    Prompts in lexicographic order are split wherever two neighbours share fewer than a threshold of ids; every threshold
    that changes anything is tried.
    """
    ids = [list(prompt) for prompt in prompts]
    order = sorted(range(len(ids)), key=ids.__getitem__)
    shared = [min(common_prefix(ids[a], ids[b]), len(ids[a]) - 1, len(ids[b]) - 1) for a, b in itertools.pairwise(order)]
    best: tuple[Group, ...] = ()
    least = len(prompts) * max(map(len, prompts))
    for threshold in sorted(set(shared) - {0}):
        groups = _groups(prompts, order, shared, threshold)
        cost = _cost(prompts, groups)
        if cost < least:
            best, least = groups, cost
    return best


def _groups(prompts: Sequence[Sequence[int]], order: Sequence[int], shared: Sequence[int], threshold: int) -> tuple[Group, ...]:
    found: list[tuple[int, list[int]]] = [(len(prompts[order[0]]), [order[0]])]
    for row, alike in zip(order[1:], shared, strict=True):
        if alike >= threshold:
            prefix, rows = found[-1]
            found[-1] = (min(prefix, alike), [*rows, row])
        else:
            found.append((len(prompts[row]), [row]))
    remainder = max(len(prompts[row]) - prefix for prefix, rows in found if len(rows) > 1 for row in rows)
    # A row alone is cut where its remainder makes the second pass no wider.
    return tuple(Group(prefix=prefix if len(rows) > 1 else max(0, prefix - remainder), rows=tuple(sorted(rows))) for prefix, rows in found)


def _cost(prompts: Sequence[Sequence[int]], groups: Sequence[Group]) -> int:
    first = sum(1 for group in groups if group.prefix) * max(group.prefix for group in groups)
    second = len(prompts) * max(len(prompts[row]) - group.prefix for group in groups for row in group.rows)
    return first + second + PASS
