"""Intervals and tests against scipy, figures worked out by hand, and simulated suites whose truth is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binomtest, bootstrap, t
from statsmodels.regression.linear_model import OLS
from statsmodels.stats import contingency_tables, multitest
from statsmodels.stats.proportion import proportion_confint

from agenttune.evaluation.stats import (
    Z,
    cluster_bootstrap,
    cluster_variance,
    difference,
    effective_size,
    holm,
    mcnemar,
    mean,
    minimum_detectable_effect,
    paired_bootstrap,
    pairs_needed,
    pass_hat_k,
    proportion,
    sign_flip,
    student,
    wilson,
)


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


def test_the_bootstrap_is_scipys_where_every_case_is_a_cluster() -> None:
    values = np.random.default_rng(1).random(80)
    wanted = bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(0)).confidence_interval
    found = cluster_bootstrap(list(values), [1.0] * 80, draws=20_000)
    assert found == (pytest.approx(values.mean()), pytest.approx(wanted.low, abs=4e-3), pytest.approx(wanted.high, abs=4e-3))
    assert cluster_bootstrap(list(values), [1.0] * 80) == cluster_bootstrap(list(values), [1.0] * 80)  # seeded
    assert cluster_bootstrap([], []) == (0.0, 0.0, 1.0)


def test_the_bootstrap_draws_whole_clusters_and_ratios() -> None:
    # Two clusters of two equal values: a draw is 0, 1/2 or 1, so the interval is everything; apart the four would give less.
    assert cluster_bootstrap([1, 1, 0, 0], [1] * 4, ["x", "x", "y", "y"]) == (0.5, 0.0, 1.0)
    # One of 10 and 9 of 10 are a ratio of 10 in 20, not a mean of 0.5 and 0.9.
    assert cluster_bootstrap([1, 9], [10, 10])[0] == pytest.approx(0.5)
    assert cluster_bootstrap([1, 0], [1, 9])[0] == pytest.approx(0.1)


def test_a_mean_by_hand_and_by_scipy() -> None:
    values = [0.2, 0.9, 0.4, 0.7]
    half = t.ppf(0.975, 3) * np.std(values, ddof=1) / 2
    assert mean(values) == (pytest.approx(0.55), pytest.approx(0.55 - half, abs=1e-3), pytest.approx(0.55 + half, abs=1e-3))
    # Two clusters: the variance is 0.25 (above), one degree of freedom.
    assert mean([1, 1, 0, 0], [["x", "x", "y", "y"]])[2] == pytest.approx(0.5 + 12.706 * 0.5, abs=1e-2)
    assert mean([]) == (0.0, 0.0, 1.0)


def test_holm_by_hand() -> None:
    # Sorted .01 .02 .03 .04 times 4 3 2 1: .04 .06 .06 .04, and never less than the one before.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_minimum_detectable_effect_is_the_inverse_of_the_pairs_needed() -> None:
    assert pairs_needed(0.05, 0.20) == pytest.approx(625, abs=1)
    assert pairs_needed(0.10, 0.20) == pytest.approx(155, abs=1)
    assert minimum_detectable_effect(625, 0.20) == pytest.approx(0.05, abs=1e-4)
    assert minimum_detectable_effect(400, 0.20) > 0.05
    assert minimum_detectable_effect(3, 0.20) == 1.0
    assert minimum_detectable_effect(0, 0.20) == minimum_detectable_effect(100, 0.0) == 1.0


def test_the_example_of_400_pairs() -> None:
    a = [True] * 150 + [True] * 30 + [False] * 50 + [False] * 170
    b = [True] * 150 + [False] * 30 + [True] * 50 + [False] * 170
    assert mcnemar(a, b) == pytest.approx(0.033, abs=5e-4)
    assert mcnemar(a, b) == pytest.approx(binomtest(30, 80).pvalue)
    gap, low, high = paired_bootstrap(list(map(float, a)), list(map(float, b)))
    assert (gap, low > 0, high < 0.1) == (pytest.approx(0.05), True, True)
    assert sign_flip(list(map(float, a)), list(map(float, b))) == pytest.approx(0.033, abs=0.01)


def test_what_statsmodels_has_too_is_the_same() -> None:
    random = np.random.default_rng(3)
    tool, pattern = random.integers(0, 12, 90), random.integers(0, 9, 90)
    right = (random.random(90) < 0.3 + 0.4 * (tool % 2)).astype(float)
    for ways in ([tool], [tool, pattern]):  # cluster-robust by one way, and by two that cross
        fitted = OLS(right, np.ones(90)).fit(cov_type="cluster", cov_kwds={"groups": np.stack(ways, axis=1).squeeze()})
        assert cluster_variance(list(right), [list(way) for way in ways]) == pytest.approx(fitted.cov_params()[0, 0])
    a, b = [True] * 180 + [False] * 220, [True] * 150 + [False] * 30 + [True] * 50 + [False] * 170
    assert mcnemar(a, b) == pytest.approx(contingency_tables.mcnemar([[150, 30], [50, 170]], exact=True).pvalue)
    values = list(random.random(12))
    assert holm(values) == pytest.approx(list(multitest.multipletests(values, method="holm")[1]))
    assert wilson(7, 10) == pytest.approx(proportion_confint(7, 10, method="wilson"))


def test_a_sign_flip_by_hand() -> None:
    # Three differences of 1: all signs alike in 2 of 8 flips.
    assert sign_flip([0, 0, 0], [1, 1, 1]) == pytest.approx(0.25, abs=0.02)
    # In one cluster there is nothing to flip against.
    assert sign_flip([0, 0, 0], [1, 1, 1], ["x"] * 3) == 1.0
    assert sign_flip([0.5], [0.5]) == 1.0


def test_pass_hat_k_by_hand() -> None:
    assert [pass_hat_k(3, 4, k) for k in (1, 2, 3, 4)] == [0.75, 0.5, 0.25, 0.0]


def clustered_coverage(rounds: int) -> dict[str, float]:
    """How often intervals hold the truth in simulated clustered sets: 60 clusters of 4 to 8 cases, of logit-normal levels."""
    random = np.random.default_rng(11)
    held = {"proportion": 0, "mean": 0}
    level = 1 / (1 + np.exp(-random.normal(0.4, 1.2, 2_000_000)))
    truth, held_value = float(level.mean()), float((level**2).mean())
    for _ in range(rounds):
        sizes = random.integers(4, 9, 60)
        labels = np.repeat(np.arange(60), sizes)
        levels = (1 / (1 + np.exp(-random.normal(0.4, 1.2, 60))))[labels]
        right = random.random(len(labels)) < levels
        _, low, high = proportion(list(map(bool, right)), [list(labels)])
        held["proportion"] += bool(low <= truth <= high)
        _, low, high = mean(list(right * levels), [list(labels)])  # a value like an F1: 0, or a part
        held["mean"] += bool(low <= held_value <= high)
    return {name: count / rounds for name, count in held.items()}


def test_clustered_intervals_hold_the_truth_as_often_as_they_say() -> None:
    found = clustered_coverage(1000)
    assert all(0.93 <= share <= 0.97 for share in found.values()), found


@pytest.mark.slow
def test_clustered_intervals_hold_the_truth_in_ten_thousand_sets() -> None:
    found = clustered_coverage(10_000)
    assert all(0.94 <= share <= 0.96 for share in found.values()), found
