"""The grouping of prompts that share a beginning."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agenttune.models.prefix_groups import Group, group_by_prefix
from agenttune.values.tokens import common_prefix


def test_two_lists_of_tools_in_one_batch() -> None:
    first, second = list(range(100, 140)), list(range(200, 230))
    prompts = [[*first, 1, 2], [*second, 3], [*first, 4], [*second, 5, 6, 7]]
    assert group_by_prefix(prompts) == (Group(prefix=40, rows=(0, 2)), Group(prefix=30, rows=(1, 3)))


def test_a_prompt_alone_is_cut_so_that_the_second_pass_is_no_wider() -> None:
    shared = list(range(100, 140))
    prompts = [[*shared, 1, 2, 3], [*shared, 4], list(range(300, 320))]
    assert group_by_prefix(prompts) == (Group(prefix=40, rows=(0, 1)), Group(prefix=17, rows=(2,)))


def test_nothing_shared_or_too_little_to_pay() -> None:
    assert group_by_prefix([[1, 2, 3], [4, 5, 6]]) == ()
    start = list(range(100, 110))
    assert group_by_prefix([[*start[:8], 1], [*start[:8], 2]]) == ()  # 8 + 2 · 1 and a pass, against 2 · 9
    assert group_by_prefix([[*start[:9], 1], [*start[:9], 2]]) == (Group(prefix=9, rows=(0, 1)),)
    assert group_by_prefix([[*start, *range(20)], [*start[:2], 5]]) == ()  # nearly all of the long one is its own
    assert group_by_prefix([[5]]) == ()


def test_the_same_prompt_twice_leaves_one_id_to_read() -> None:
    same = list(range(20))
    assert group_by_prefix([same, same]) == (Group(prefix=19, rows=(0, 1)),)


prompt = st.builds(lambda head, tail: [9] * head + tail, st.sampled_from([0, 12, 20]), st.lists(st.integers(0, 2), min_size=1, max_size=8))


@given(st.lists(prompt, min_size=1, max_size=8))
def test_every_row_is_in_one_group_and_has_something_left(prompts: list[list[int]]) -> None:
    groups = group_by_prefix(prompts)
    if groups:
        assert sorted(row for group in groups for row in group.rows) == list(range(len(prompts)))
    for group in groups:
        for row in group.rows:
            assert 0 <= group.prefix < len(prompts[row])
            assert prompts[row][: group.prefix] == prompts[group.rows[0]][: group.prefix]


@given(prompt, prompt)
def test_common_prefix(left: list[int], right: list[int]) -> None:
    length = common_prefix(left, right)
    assert left[:length] == right[:length]
    assert length == min(len(left), len(right)) or left[length] != right[length]
