"""The attention mask of a Pack's prefix tree as blocks: which query rows attend to which key ranges. No ``[T, T]`` mask is made.

Token q attends to token k exactly when k is q itself, an earlier token of q's segment, or a token of a segment above it. With tokens in
depth-first order that is ``k <= q < ends[k]``, where ``ends[k]`` is the end of the subtree of k's segment (the same mask as tree
attention's in SpecInfer, Miao et al., arXiv 2305.09781).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch

from agenttune.values.pack import Pack, Segment

CUT = 128  # tokens: longer segments are split into a chain of pieces, because a CPU kernel does not skip the masked half
SMALL = 64  # tokens: sibling subtrees up to this many in all are one block with a mask of its own, which is cheaper than a call for each


@dataclass(frozen=True, slots=True)
class DiagonalBlock:
    """Query rows ``start:end`` against keys ``start:end``: causal, or by `mask` (bool ``[n, n]``, true where a row attends)."""

    start: int
    end: int
    mask: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class PrefixBlock:
    """Query rows ``start:end`` against all keys of the ranges `keys`, the segments above them; nothing is masked."""

    start: int
    end: int
    keys: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class QueryBlock:
    """Query rows ``start:end`` against every key they attend to: the ranges `keys`, the last of which ends with the rows' own keys.

    `masked` (bool ``[n, n]``) is true where a row does not attend to one of the rows' own keys; no key above them is masked.
    """

    start: int
    end: int
    keys: tuple[tuple[int, int], ...]
    masked: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """The mask of one Pack of `size` tokens, three ways. Each row is in one `DiagonalBlock`, at most one `PrefixBlock`, one `QueryBlock`.

    Diagonal and prefix blocks together say the same as query blocks, and as ``ends[T]`` does by the rule above. `depth` is the longest
    path in tokens. `shared` is true where a segment has two children.
    """

    size: int
    diagonal_blocks: tuple[DiagonalBlock, ...]
    prefix_blocks: tuple[PrefixBlock, ...]
    query_blocks: tuple[QueryBlock, ...]
    ends: tuple[int, ...]
    depth: int
    shared: bool


def tree_of(pack: Pack, small: int = SMALL, cut: int = CUT) -> Tree:
    """The blocks of a Pack's segments."""
    return tree_of_segments(cut_long(pack.segments, cut), small)


def cut_long(segments: Sequence[Segment], most: int) -> list[Segment]:
    """The same tree with no segment longer than `most` tokens."""
    found: list[Segment] = []
    last: list[int] = []  # index of the last piece of each segment
    for one in segments:
        parent = last[one.parent] if one.parent >= 0 else -1
        for start in range(one.start, one.end, most):
            found.append(Segment(start=start, end=min(start + most, one.end), parent=parent))
            parent = len(found) - 1
        last.append(parent)
    return found


def tree_of_segments(segments: Sequence[Segment], small: int = SMALL) -> Tree:
    """The blocks of segments that lie in depth-first order."""
    stops = _subtree_ends(segments)
    diagonal: list[DiagonalBlock] = []
    prefix: list[PrefixBlock] = []
    queries: list[QueryBlock] = []
    index = 0
    while index < len(segments):
        after = _sibling_group(segments, stops, index, small)
        start, end = segments[index].start, segments[after - 1].end
        mask = _mask(segments[index:after], stops[index:after]) if after - index > 1 else None
        diagonal.append(DiagonalBlock(start, end, mask))
        keys = _ancestors(segments, segments[index].parent)
        queries.append(QueryBlock(start, end, _with_own(keys, start, end), _causal(end - start) if mask is None else ~mask))
        if keys and prefix and prefix[-1].keys == keys and prefix[-1].end == start:
            prefix[-1] = PrefixBlock(prefix[-1].start, end, keys)
        elif keys:
            prefix.append(PrefixBlock(start, end, keys))
        index = after
    ends = tuple(stop for segment, stop in zip(segments, stops, strict=True) for _ in range(segment.end - segment.start))
    size = segments[-1].end if segments else 0
    return Tree(size, tuple(diagonal), tuple(prefix), tuple(queries), ends, _depth(segments), _branches(segments))


def _with_own(keys: tuple[tuple[int, int], ...], start: int, end: int) -> tuple[tuple[int, int], ...]:
    """`keys` and the rows' own range, as one where they touch."""
    if keys and keys[-1][1] == start:
        return (*keys[:-1], (keys[-1][0], end))
    return (*keys, (start, end))


@cache
def _causal(size: int) -> torch.Tensor:
    return torch.ones(size, size, dtype=torch.bool).triu_(1)


def _depth(segments: Sequence[Segment]) -> int:
    depths: list[int] = []
    for one in segments:
        depths.append((depths[one.parent] if one.parent >= 0 else 0) + one.end - one.start)
    return max(depths, default=0)


def _branches(segments: Sequence[Segment]) -> bool:
    parents = [one.parent for one in segments if one.parent >= 0]
    return len(parents) != len(set(parents))


def _subtree_ends(segments: Sequence[Segment]) -> list[int]:
    """Where the subtree below each segment ends (itself included)."""
    stops = [one.end for one in segments]
    for index in range(len(segments) - 1, -1, -1):
        parent = segments[index].parent
        if parent >= 0:
            stops[parent] = max(stops[parent], stops[index])
    return stops


def _sibling_group(segments: Sequence[Segment], stops: Sequence[int], index: int, small: int) -> int:
    """The index after the segments that form one block with segment `index`: whole subtrees under one parent, `small` tokens in all."""
    start, parent, after = segments[index].start, segments[index].parent, index + 1
    probe = index
    while probe < len(segments) and segments[probe].parent == parent and stops[probe] - start <= small:
        stop = stops[probe]
        while probe < len(segments) and segments[probe].start < stop:
            probe += 1
        after = probe
    return after


def _ancestors(segments: Sequence[Segment], parent: int) -> tuple[tuple[int, int], ...]:
    """Ranges of the segments from the root down to `parent`; neighbours are joined."""
    ranges: list[tuple[int, int]] = []
    while parent >= 0:
        one = segments[parent]
        if ranges and ranges[-1][0] == one.end:
            ranges[-1] = (one.start, ranges[-1][1])
        else:
            ranges.append((one.start, one.end))
        parent = one.parent
    return tuple(reversed(ranges))


def _mask(segments: Sequence[Segment], stops: Sequence[int]) -> torch.Tensor:
    """``[n, n]``: which row attends to which key inside a block of whole subtrees."""
    start = segments[0].start
    lengths = torch.tensor([one.end - one.start for one in segments])
    ends = torch.repeat_interleave(torch.tensor([stop - start for stop in stops]), lengths)
    row = torch.arange(len(ends))
    return (row[None, :] <= row[:, None]) & (row[:, None] < ends[None, :])
