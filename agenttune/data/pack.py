"""Several renderings as one token trie: what they have in common is computed once, and every token counts as often as it is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agenttune.values.pack import Pack, Segment, Shared
from agenttune.values.tokens import Rendered, common_prefix

Ints = npt.NDArray[np.int64]


def trained_length(rendered: Rendered) -> int:
    """How many leading tokens must be computed: all before the last trained one, which is itself only predicted (0: nothing is trained)."""
    weights = rendered.weights
    return next((index for index in range(len(weights) - 1, 0, -1) if weights[index]), 0)


def build(renderings: Sequence[Rendered], *, share: bool = True) -> Pack:
    """The token trie of `renderings`, depth first, with its triples; without `share`, each rendering is a tree of its own.

    Trained one at a time, the renderings would give the same loss (a sum over weights) and the same gradient.
    """
    lengths = {id(one): trained_length(one) for one in renderings}
    order = sorted(renderings, key=lambda one: one.token_ids[: lengths[id(one)]])
    paths: list[Ints] = []
    ids: list[int] = []
    parents: list[int] = []
    saved: Counter[str] = Counter(system=0, history=0, branches=0, tail=0)
    before: Rendered | None = None
    for rendered in order:
        length = lengths[id(rendered)]
        own = rendered.token_ids[:length]
        common = common_prefix(before.token_ids[: lengths[id(before)]], own) if before and share else 0
        start = len(ids)
        path = np.concatenate([paths[-1][:common] if paths else np.empty(0, np.int64), np.arange(start, start + length - common)])
        if common < length:
            ids += own[common:]
            parents += [int(path[common - 1]) if common else -1, *range(start, start + length - common - 1)]
        paths.append(path)
        _count(saved, rendered, before, common, length)
        before = rendered
    predictors, labels, weights = _triples(order, paths)
    total = sum(len(one.token_ids) for one in order)
    supervised = sum(sum(1 for weight in one.weights[1:] if weight) for one in order)
    return Pack(
        token_ids=tuple(ids),
        positions=tuple(_positions(parents)),
        segments=_segments(np.asarray(parents, np.int64)),
        predictors=predictors,
        labels=labels,
        weights=weights,
        ids=tuple(one.id for one in order),
        shared=Shared(total=total, computed=len(ids), supervised=supervised, saved=dict(saved)),
    )


def _count(saved: Counter[str], rendered: Rendered, before: Rendered | None, common: int, length: int) -> None:
    prompt = min(common, rendered.prompt_ends[0] if rendered.prompt_ends else common)
    same = before is not None and bool(rendered.id) and rendered.id == before.id
    saved["system"] += prompt
    saved["history" if same else "branches"] += common - prompt
    saved["tail"] += len(rendered.token_ids) - length


def _positions(parents: Sequence[int]) -> list[int]:
    depths: list[int] = []
    for parent in parents:
        depths.append(depths[parent] + 1 if parent >= 0 else 0)
    return depths


def _segments(parents: Ints) -> tuple[Segment, ...]:
    """Maximal runs: a token opens a segment where it does not follow its parent directly, or its parent has another child."""
    size = len(parents)
    if not size:
        return ()
    children = np.bincount(parents[parents >= 0], minlength=size)
    branches = (parents < 0) | (parents != np.arange(size) - 1) | (children[np.maximum(parents, 0)] > 1)
    starts = np.flatnonzero(branches)
    owner = np.cumsum(branches) - 1
    ends = [*starts[1:].tolist(), size]
    return tuple(
        Segment(start=start, end=end, parent=int(owner[parents[start]]) if parents[start] >= 0 else -1)
        for start, end in zip(starts.tolist(), ends, strict=True)
    )


def _triples(order: Sequence[Rendered], paths: Sequence[Ints]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[float, ...]]:
    """(predictor, label, weight), one for each distinct pair, in the predictors' order."""
    sums: dict[tuple[int, int], float] = {}
    for rendered, path in zip(order, paths, strict=True):
        for depth, place in enumerate(path.tolist(), 1):
            weight = rendered.weights[depth]
            if weight:
                pair = (place, rendered.token_ids[depth])
                sums[pair] = sums.get(pair, 0.0) + weight
    pairs = sorted(sums)
    return tuple(one for one, _ in pairs), tuple(label for _, label in pairs), tuple(sums[pair] for pair in pairs)
