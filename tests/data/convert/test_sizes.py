"""Sizes and names in bounded memory."""

from __future__ import annotations

import random

from agenttune.data.convert.sizes import OTHERS, Names, Sizes, bucket, least_of


def test_every_size_lies_in_its_bucket_and_buckets_are_narrow() -> None:
    for size in [*range(5000), *(2**power + less for power in range(6, 60) for less in (-1, 0, 1))]:
        number = bucket(size)
        low, high = least_of(number), least_of(number + 1)
        assert low <= size < high
        assert size < 32 or high - low <= size / 16
    assert [bucket(size) for size in range(33)] == list(range(33))


def test_sizes_against_a_list_and_as_a_sum_of_parts() -> None:
    chance = random.Random(5)
    values = [int(chance.expovariate(1 / 900)) for _ in range(2000)]
    whole, left, right = Sizes(), Sizes(), Sizes()
    for number, value in enumerate(values):
        whole.add(value)
        (left if number < 700 else right).add(value)
    assert (whole.count, whole.least, whole.most, whole.sum) == (2000, min(values), max(values), sum(values))
    for share in (0.5, 0.95, 1.0):
        limit = whole.below(share)
        assert sum(value <= limit for value in values) >= share * len(values)
        assert sum(value <= limit * 0.93 for value in values) < share * len(values)
    left.update(right)
    left.update(Sizes())
    assert left == whole == Sizes.from_json(whole.to_json())
    empty = Sizes()
    empty.update(whole)
    assert empty == whole


def test_names_are_told_apart_up_to_a_number_and_a_length() -> None:
    names = Names()
    for number in range(25_000):
        names.add(f"tool{number}", 2)
    names.add("tool7", 5)
    names.add("x" * 10**6)
    assert names.counts["tool7"] == 7
    assert names.counts[OTHERS] == 2 * 5000 + 1
    assert max(map(len, names.counts)) < 300
    assert list(names.ranked())[:2] == [OTHERS, "tool7"]
