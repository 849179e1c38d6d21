"""Intervals and tests against scipy, figures worked out by hand, and simulated suites whose truth is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binomtest, t

from agenttune.evaluation.stats import Z, cluster_variance, difference, effective_size, mcnemar, proportion, student, wilson


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (7, 10), (10, 10), (150, 200), (1, 3)])
def test_wilson_is_scipys(successes: int, n: int) -> None:
    wanted = binomtest(successes, n).proportion_ci(method="wilson")
    assert wilson(successes, n) == pytest.approx((wanted.low, wanted.high))
    assert proportion([True] * successes + [False] * (n - successes)) == pytest.approx((successes / n, wanted.low, wanted.high))


def test_wilson_by_hand() -> None:
    # 16 of 16: the lower end is n / (n + z²) = 16 / 19.8415.
    assert wilson(16, 16) == pytest.approx((0.8064, 1.0), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
    assert proportion([]) == (0.0, 0.0, 1.0)


def test_students_t_is_scipys() -> None:
    for freedom in range(1, 200):
        assert student(freedom) == pytest.approx(t.ppf(0.975, freedom), abs=5e-4)


def test_mcnemar_is_a_binomial_test_of_the_pairs_that_differ() -> None:
    a = [True] * 3 + [False] * 12 + [True] * 20
    b = [False] * 3 + [True] * 12 + [True] * 20
    assert mcnemar(a, b) == mcnemar(b, a) == pytest.approx(binomtest(3, 15).pvalue)
    assert mcnemar([True] * 30 + [False] * 50, [False] * 30 + [True] * 50) == pytest.approx(0.0330, abs=5e-4)
    assert mcnemar([False] * 5, [True] * 5) == 2 / 2**5
    assert mcnemar(a, a) == 1.0
    assert mcnemar([True] * 900 + [False] * 900, [False] * 900 + [True] * 900) == 1.0


def test_variances_by_hand() -> None:
    # Residuals ±0.5 in two clusters of two equal values: sums 1 and -1; (1 + 1) / 16 * 2 / 1 = 0.25.
    assert cluster_variance([1, 1, 0, 0], [["x", "x", "y", "y"]]) == pytest.approx(0.25)
    # Without clusters: sum of squares 1 / (4 * 3).
    assert cluster_variance([1, 1, 0, 0], []) == pytest.approx(1 / 12)
    # Two ways that cross: by x, y 0.25; by 1, 2 the sums are 0; each cell is one value: (4 * 0.25) / 16 * 4 / 3 = 1 / 12.
    assert cluster_variance([1, 1, 0, 0], [["x", "x", "y", "y"], [1, 2, 1, 2]]) == pytest.approx(0.25 - 1 / 12)
    # A way inside the other adds nothing to it.
    assert cluster_variance([1, 1, 0, 0], [["x", "x", "y", "y"], ["x1", "x2", "y1", "y2"]]) == pytest.approx(0.25)
    # A way with one cluster says nothing; the other way still does.
    assert cluster_variance([1, 1, 0, 0], [["x"] * 4, ["x", "x", "y", "y"]]) == pytest.approx(0.25)
    assert cluster_variance([1, 1, 0, 0], [["x"] * 4]) == pytest.approx(1 / 12)
    assert cluster_variance([1], [["x"]]) == 0.0


def test_the_effective_size_by_hand() -> None:
    assert effective_size([1.0, 0.0, 1.0], []) == 3.0
    # Each value a cluster: nothing is lost.
    assert effective_size([1.0, 1.0, 0.0, 0.0], [[1, 2, 3, 4]]) == pytest.approx(4.0)
    # deff = 0.25 / (1 / 12) = 3, and two clusters leave one degree of freedom: 4 / 3 * (3.182 / 12.706)².
    assert effective_size([1.0, 1.0, 0.0, 0.0], [["x", "x", "y", "y"]]) == pytest.approx(4 / 3 * (3.1824 / 12.7062) ** 2, rel=1e-4)


def test_cases_that_share_clusters_widen_the_interval() -> None:
    values = [True] * 40 + [False] * 40
    tools = [f"t{index // 10}" for index in range(80)]
    _, low, high = proportion(values)
    _, wide_low, wide_high = proportion(values, [tools])
    assert wide_high - wide_low > 2 * (high - low)


def test_the_difference_is_paired() -> None:
    a = [False] * 50 + [True] * 50
    b = [True] * 30 + [False] * 20 + [True] * 50
    mean, low, high = difference(a, b)
    assert mean == pytest.approx(0.3)
    # Bonett and Price: 31 / 102 gained, 1 / 102 lost; 30 / 102 ± z √((32 / 102 - (30 / 102)²) / 102).
    half = Z * np.sqrt((32 / 102 - (30 / 102) ** 2) / 102)
    assert (low, high) == pytest.approx((30 / 102 - half, 30 / 102 + half))
    reverse = difference(b, a)
    assert reverse == pytest.approx((-mean, -high, -low))


def test_few_pairs_never_prove_much() -> None:
    assert difference([], []) == (0.0, -1.0, 1.0)
    mean, low, high = difference([False] * 3, [True] * 3)
    assert (mean, high) == (1.0, 1.0)
    assert low < 0.1
    mean, low, high = difference([True] * 20, [True] * 20)
    assert mean == 0.0
    assert low == pytest.approx(-high)
    assert high > 0.05


def _bootstrap(gaps: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], random: np.random.Generator) -> tuple[float, float]:
    """Percentile interval over 1,000 draws of whole clusters."""
    sums, sizes = np.bincount(labels, gaps), np.bincount(labels)
    sums, sizes = sums[sizes > 0], sizes[sizes > 0]
    drawn = random.multinomial(len(sums), np.ones(len(sums)) / len(sums), size=1000)
    low, high = np.percentile(drawn @ sums / (drawn @ sizes), [2.5, 97.5])
    return float(low), float(high)


def _coverage(groups: int, n: int, base: float, gain: float, spread: float, rounds: int = 250) -> dict[str, float]:
    """How often intervals hold the truth: tools with effects of their own, patterns inside tools, a and b on the same cases."""
    random = np.random.default_rng(7)

    def draw(size: int, tools: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        pattern = random.integers(0, 4 * tools, size)
        tool = pattern % tools
        logit = base + random.normal(0, spread, tools)[tool] + random.normal(0, spread / 2, 4 * tools)[pattern]
        more = gain + random.normal(0, spread / 2, tools)[tool]
        level = random.random(size)
        again = np.where(random.random(size) < 0.6, level, random.random(size))
        return level < 1 / (1 + np.exp(-logit)), again < 1 / (1 + np.exp(-logit - more)), tool, pattern

    a, b, _, _ = draw(400_000, 40_000)
    truth_a, truth_gap = a.mean(), b.mean() - a.mean()
    held = {"share": 0, "difference": 0, "bootstrap": 0}
    for _ in range(rounds):
        a, b, tool, pattern = draw(n, groups)
        clusters = [list(tool), list(pattern)]
        intervals = {
            "share": proportion(list(map(bool, a)), clusters)[1:],
            "difference": difference(list(map(bool, a)), list(map(bool, b)), clusters)[1:],
            "bootstrap": _bootstrap(b.astype(float) - a.astype(float), tool, random),
        }
        for name, (low, high) in intervals.items():
            held[name] += bool(low <= (truth_a if name == "share" else truth_gap) <= high)
    return {name: count / rounds for name, count in held.items()}


@pytest.mark.parametrize(
    ("groups", "n", "base", "gain", "spread"), [(19, 180, 1.0, 0.8, 0.8), (8, 60, 0.5, 0.5, 0.8), (19, 180, 3.5, 0.3, 0.8)]
)
def test_intervals_hold_the_truth(groups: int, n: int, base: float, gain: float, spread: float) -> None:
    found = _coverage(groups, n, base, gain, spread)
    assert found["share"] >= 0.92  # 0.95 less two standard errors of 250 rounds
    assert found["difference"] >= 0.92
    assert found["difference"] >= found["bootstrap"]


def test_independent_cases_are_not_punished() -> None:
    found = _coverage(19, 180, 1.0, 0.8, 0.0)
    assert 0.92 <= found["share"] <= 0.995
    assert found["difference"] >= 0.92
