"""The trie of a Pack says exactly what its renderings say, and planning loses and repeats nothing."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenttune.data.pack import build, trained_length
from agenttune.data.packing import Packing, PackLimits, make_packing
from agenttune.errors import UserError
from agenttune.values.pack import Pack, Segment
from agenttune.values.tokens import Rendered


def rendered(ids: list[int], weights: list[float], name: str = "", prompt: int = 0) -> Rendered:
    return Rendered(token_ids=tuple(ids), weights=tuple(weights), kinds=(), prompt_ends=(prompt,), id=name)


def paths(pack: Pack) -> list[list[int]]:
    """The token path from the root to the end of each segment, and its positions, by walking parents."""
    found = []
    for segment in pack.segments:
        chain = [segment]
        while chain[-1].parent >= 0:
            chain.append(pack.segments[chain[-1].parent])
        flat = [place for one in reversed(chain) for place in range(one.start, one.end)]
        assert [pack.positions[place] for place in flat] == list(range(len(flat)))
        found.append(flat)
    return found


def test_a_shared_prompt_is_computed_once() -> None:
    # One prompt [1 2 3]; answers [4 5] and [6 5]; the last token of each is predicted and never computed.
    pack = build([rendered([1, 2, 3, 4, 5], [0, 0, 0, 1, 1], "a", 3), rendered([1, 2, 3, 6, 5], [0, 0, 0, 1, 2], "b", 3)])
    assert pack.token_ids == (1, 2, 3, 4, 6)
    assert pack.positions == (0, 1, 2, 3, 3)
    assert pack.segments == (Segment(start=0, end=3, parent=-1), Segment(start=3, end=4, parent=0), Segment(start=4, end=5, parent=0))
    # Token 2 (id 3) predicts both 4 and 6: one predictor, two labels.
    assert list(zip(pack.predictors, pack.labels, pack.weights, strict=True)) == [(2, 4, 1.0), (2, 6, 1.0), (3, 5, 1.0), (4, 5, 2.0)]
    assert (pack.shared.total, pack.shared.computed, pack.shared.supervised) == (10, 5, 4)
    assert pack.shared.saved == {"system": 3, "history": 0, "branches": 0, "tail": 2}


def test_a_token_trained_twice_counts_with_the_sum_of_its_weights() -> None:
    # The second sample goes on where the first ends, as a step-exploded conversation does.
    pack = build([rendered([1, 2, 3], [0, 1, 0.5], "a", 1), rendered([1, 2, 3, 4, 5], [0, 0.25, 2, 0, 1], "a", 1)])
    assert pack.token_ids == (1, 2, 3, 4)
    assert pack.segments == (Segment(start=0, end=4, parent=-1),)
    assert list(zip(pack.predictors, pack.labels, pack.weights, strict=True)) == [(0, 2, 1.25), (1, 3, 2.5), (3, 5, 1.0)]
    # [1 2] of the first is shared: one token before its first output (at 1), one of the same conversation's history.
    assert pack.shared.saved == {"system": 1, "history": 1, "branches": 0, "tail": 2}


def test_without_sharing_each_sample_is_its_own_tree() -> None:
    pack = build([rendered([1, 2, 3], [0, 0, 1]), rendered([1, 2, 4], [0, 0, 1])], share=False)
    assert pack.token_ids == (1, 2, 1, 2)
    assert [one.parent for one in pack.segments] == [-1, -1]
    assert pack.positions == (0, 1, 0, 1)


def test_a_first_token_has_no_predictor_and_context_behind_the_last_trained_token_costs_nothing() -> None:
    pack = build([rendered([7, 8, 9, 9, 9], [1, 1, 0, 0, 0])])
    assert (pack.token_ids, pack.predictors, pack.labels) == ((7,), (0,), (8,))
    assert pack.shared.saved["tail"] == 4
    assert build([rendered([7, 8], [1, 0])]).token_ids == ()


samples = st.lists(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.0, 0.0, 1.0, 0.5])), min_size=1, max_size=9), min_size=1, max_size=7
)


@given(samples, st.booleans())
def test_paths_reproduce_each_sample_and_weights_add_up(rows: list[list[tuple[int, float]]], share: bool) -> None:
    renderings = [rendered([token for token, _ in row], [weight for _, weight in row], str(index)) for index, row in enumerate(rows)]
    pack = build(renderings, share=share)
    reached = {tuple(pack.token_ids[place] for place in flat) for flat in paths(pack)}
    wanted: Counter[tuple[tuple[int, ...], int]] = Counter()
    for one in renderings:
        own = one.token_ids[: trained_length(one)]
        assert any(path[: len(own)] == own for path in reached) or not own
        for depth in range(1, len(one.token_ids)):
            if one.weights[depth]:
                wanted[one.token_ids[:depth], one.token_ids[depth]] += one.weights[depth]
    prefix_of = {
        flat[depth]: tuple(pack.token_ids[place] for place in flat[: depth + 1]) for flat in paths(pack) for depth in range(len(flat))
    }
    found: Counter[tuple[tuple[int, ...], int]] = Counter()
    for predictor, label, weight in zip(pack.predictors, pack.labels, pack.weights, strict=True):
        found[prefix_of[predictor], label] += weight
    assert dict(found) == pytest.approx(dict(wanted))
    assert pack.shared.total == pack.shared.computed + sum(pack.shared.saved.values()) == sum(len(one.token_ids) for one in renderings)
    if share:
        assert len({(predictor, label) for predictor, label in zip(pack.predictors, pack.labels, strict=True)}) == len(pack.labels)
        children = Counter(one.parent for one in pack.segments)
        assert all(count > 1 for parent, count in children.items() if parent >= 0), "a segment with one child is not maximal"


def grouped(groups: int, each: int, prefix: int = 40, rest: int = 10) -> list[list[int]]:
    return [[group + 1] * prefix + [100 + group, member] * (rest // 2) for group in range(groups) for member in range(each)]


def test_samples_with_a_common_prefix_sit_together() -> None:
    made = make_packing(grouped(6, 5), PackLimits(tokens=1000, samples=5), seed=3)
    assert len(made.packs) == 6
    for pack, tokens in zip(made.packs, made.tokens, strict=True):
        assert len({index // 5 for index in pack}) == 1
        assert tokens == 40 + 1 + 5 * 9  # the prefix, the shared first token behind it, and what is left of each
    assert sorted(index for pack in made.packs for index in pack) == list(range(30))


def test_the_longest_common_prefix_comes_first() -> None:
    # Two pairs under one system text: each pair shares 80 tokens, all four share 40.
    paths_ = [[1] * 40 + [branch] * 40 + [leaf] * 5 for branch in (2, 3) for leaf in (4, 5)]
    made = make_packing(paths_, PackLimits(tokens=1000, samples=2), seed=0)
    assert sorted(sorted(pack) for pack in made.packs) == [[0, 1], [2, 3]]


def test_groups_are_cut_evenly_and_the_budget_counts_after_sharing() -> None:
    made = make_packing(grouped(1, 7), PackLimits(tokens=1000, samples=5), seed=0)
    assert sorted(len(pack) for pack in made.packs) == [3, 4]
    tight = make_packing(grouped(1, 8), PackLimits(tokens=41 + 9 * 4, samples=8), seed=0)
    assert len(tight.packs) == 2
    assert all(tokens <= 41 + 9 * 4 for tokens in tight.tokens)
    alone = make_packing([[1] * 50, [2] * 90], PackLimits(tokens=60, samples=4), seed=0)
    assert sorted(alone.packs) == [(0,), (1,)]


@given(
    st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=90), min_size=4, max_size=40),
    st.integers(1, 4),
    st.integers(1, 6),
    st.booleans(),
)
def test_every_rank_and_epoch_gets_the_same_number_and_no_sample_is_lost(rows: list[list[int]], world: int, most: int, share: bool) -> None:
    made = make_packing(rows, PackLimits(tokens=120, samples=most), seed=1, world=world, share=share)
    assert sorted(index for pack in made.packs for index in pack) == list(range(len(rows)))
    assert all(len(pack) <= most for pack in made.packs)
    assert all(tokens <= 120 or len(pack) == 1 for pack, tokens in zip(made.packs, made.tokens, strict=True))
    for pack, tokens in zip(made.packs, made.tokens, strict=True):
        # A last token that is only predicted makes the rendering's trie equal to the path's.
        built = build([rendered([*rows[index], 9], [0.0] * len(rows[index]) + [1.0]) for index in pack], share=share)
        assert len(built.token_ids) == tokens
    for epoch in range(2):
        orders = [made.order(epoch, rank) for rank in range(world)]
        assert len({len(order) for order in orders}) == 1
        assert sorted(index for order in orders for index in order) == list(range(len(made.packs)))
    assert made == make_packing(rows, PackLimits(tokens=120, samples=most), seed=1, world=world, share=share)


def test_epochs_differ_seeds_differ_and_steps_do_not() -> None:
    made = make_packing(grouped(12, 4), PackLimits(tokens=1000, samples=4), seed=0)
    other = make_packing(grouped(12, 4), PackLimits(tokens=1000, samples=4), seed=1)
    assert made.order(0) != made.order(1)
    assert made.order(0) == made.order(0)
    assert made.order(0) != other.order(0)
    assert isinstance(made, Packing)
    assert (made.steps(5), made.steps(1)) == (3, 12)


def test_fewer_samples_than_processes_is_said() -> None:
    with pytest.raises(UserError, match="1 samples to train on and 2 processes"):
        make_packing([[1]], PackLimits(tokens=9, samples=1), seed=0, world=2)


def test_a_large_set_is_planned_in_time_that_grows_with_it() -> None:
    made = make_packing([[index % 50, *range(index % 7, 60)] for index in range(4000)], PackLimits(tokens=2000, samples=8), seed=0)
    assert sum(len(pack) for pack in made.packs) == 4000
