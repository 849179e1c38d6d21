"""Intervals and tests against scipy, textbook values, and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from agenttune.evaluation.stats import cluster_variance, difference, mcnemar, share, wilson


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (7, 10), (10, 10), (150, 200), (1, 3)])
def test_wilson_is_scipys(successes: int, n: int) -> None:
    wanted = binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson(successes, n) == pytest.approx((wanted.low, wanted.high))


def test_no_case_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert share([]) == (0.0, 0.0, 1.0)


def test_mcnemar_is_a_binomial_test_of_the_pairs_that_differ() -> None:
    a = [True] * 3 + [False] * 12 + [True] * 20
    b = [False] * 3 + [True] * 12 + [True] * 20
    assert mcnemar(a, b) == pytest.approx(binomtest(3, 15).pvalue)
    assert mcnemar(a, a) == 1.0


def test_one_way_variance_by_hand() -> None:
    # Residuals ±0.5 in two clusters of two equal values: sums 1 and -1; (1 + 1) / 16 * 2 / 1 = 0.25.
    assert cluster_variance([1, 1, 0, 0], [["x", "x", "y", "y"]]) == pytest.approx(0.25)
    # Without clusters: sum of squares 1 / (4 * 3).
    assert cluster_variance([1, 1, 0, 0], []) == pytest.approx(1 / 12)


def test_cases_that_share_clusters_widen_the_interval() -> None:
    values = [True] * 40 + [False] * 40
    tools = [f"t{index // 10}" for index in range(80)]
    _, low, high = share(values)
    _, wide_low, wide_high = share(values, [tools])
    assert wide_high - wide_low > 2 * (high - low)


def test_two_way_intervals_cover() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        tools = random.normal(0, 0.8, 20)
        patterns = random.normal(0, 0.5, 40)
        tool, pattern = random.integers(0, 20, 200), random.integers(0, 40, 200)
        chance = 1 / (1 + np.exp(-(tools[tool] + patterns[pattern])))
        _, low, high = share(list(random.random(200) < chance), [list(tool), list(pattern)])
        covered += low <= 0.5 <= high
    assert covered >= 0.88 * 300


def test_the_difference_is_paired() -> None:
    a = [False] * 50 + [True] * 50
    b = [True] * 30 + [False] * 20 + [True] * 50
    mean, low, high = difference(a, b)
    assert mean == pytest.approx(0.3)
    assert low == pytest.approx(0.3 - 1.96 * np.sqrt(np.var([1] * 30 + [0] * 70, ddof=1) / 100), abs=1e-4)
    assert high > mean
