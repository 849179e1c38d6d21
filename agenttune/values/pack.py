"""A pack: several renderings as one token trie, and what its tokens must predict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Tokens ``start:end`` of the flat sequence: a run without a branch. `parent` is the index of the segment it continues, -1 for none."""

    start: int
    end: int
    parent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Where tokens went. ``total`` = ``computed`` + the sum of `saved`.

    `total` counts the renderings' tokens, `computed` those of the trie, `supervised` the trained ones (a token trained in two
    renderings counts twice). `saved` is by cause: ``system`` (system text, tool list and request before the first output),
    ``history`` (earlier turns of the same conversation), ``branches`` (turns that another conversation has too) and ``tail``
    (tokens that no trained token comes after: each rendering's last).
    """

    total: int
    computed: int
    supervised: int
    saved: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """A forest of shared prefixes in depth-first order.

    `token_ids[T]` and `positions[T]` (depth on the token's own path, from 0) lie flat; `segments` cover them in order.
    Training is in triples: the hidden state at `predictors[k]` (an index into the flat sequence) must predict `labels[k]`,
    with `weights[k]`, the sum of the weights that this token has in the renderings it stands in. A token with nothing before
    it has no predictor and is never trained. `ids` names the renderings.

    Two answers, ids 4 5 and 6 5, to one prompt, ids 1 2 3. The prompt is computed once; the last token of each answer is only predicted:

    >>> from agenttune.data.pack import build
    >>> from agenttune.values.tokens import Rendered
    >>> first = Rendered(token_ids=(1, 2, 3, 4, 5), weights=(0, 0, 0, 1, 1), kinds=(), id="a")
    >>> second = Rendered(token_ids=(1, 2, 3, 6, 5), weights=(0, 0, 0, 1, 1), kinds=(), id="b")
    >>> pack = build([first, second])
    >>> pack.token_ids, pack.positions
    ((1, 2, 3, 4, 6), (0, 1, 2, 3, 3))
    >>> [(segment.start, segment.end, segment.parent) for segment in pack.segments]
    [(0, 3, -1), (3, 4, 0), (4, 5, 0)]
    >>> list(zip(pack.predictors, pack.labels, pack.weights))
    [(2, 4, 1.0), (2, 6, 1.0), (3, 5, 1.0), (4, 5, 1.0)]
    """

    token_ids: tuple[int, ...]
    positions: tuple[int, ...]
    segments: tuple[Segment, ...]
    predictors: tuple[int, ...]
    labels: tuple[int, ...]
    weights: tuple[float, ...]
    ids: tuple[str, ...] = ()
    shared: Shared = Shared(total=0, computed=0, supervised=0)
