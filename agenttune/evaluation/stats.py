"""Intervals and tests for shares of cases that come in clusters (a tool's cases resemble each other, a sentence pattern's too)."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

Z = 1.959963984540054  # the 97.5 % point of the standard normal


def wilson(successes: float, n: float, z: float = Z) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927); (0, 1) where n is 0. `n` may be an effective size, not whole."""
    if n <= 0:
        return 0.0, 1.0
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def cluster_variance(values: Sequence[float], clusters: Sequence[Sequence[Hashable]]) -> float:
    """Variance of the mean of `values`, robust to every given clustering (each a label a value).

    Cameron, Gelbach and Miller (2011) for two ways: V(a) + V(b) − V(a ∩ b); one way is V(a), none the plain variance. Each
    one-way term is sum over clusters of (sum of residuals)² / n² · G / (G − 1). Never below the plain variance, because the
    two-way sum may turn negative in small samples and clusters do not make data more informative.
    """
    data = np.asarray(values, dtype=float)
    n = len(data)
    if n < 2:
        return 0.0
    residuals = data - data.mean()
    plain = float((residuals**2).sum()) / (n * (n - 1))
    if not clusters:
        return plain
    terms = [_one_way(residuals, labels) for labels in clusters[:2]]
    if len(terms) == 2:
        both = _one_way(residuals, list(zip(clusters[0], clusters[1], strict=True)))
        return max(plain, terms[0] + terms[1] - both)
    return max(plain, terms[0])


def _one_way(residuals: npt.NDArray[np.float64], labels: Sequence[Hashable]) -> float:
    sums: dict[Hashable, float] = {}
    for label, residual in zip(labels, residuals, strict=True):
        sums[label] = sums.get(label, 0.0) + float(residual)
    groups, n = len(sums), len(residuals)
    if groups < 2:
        return 0.0
    return sum(value * value for value in sums.values()) / (n * n) * groups / (groups - 1)


def share(values: Sequence[bool], clusters: Sequence[Sequence[Hashable]] = ()) -> tuple[float, float, float]:
    """(share, low, high) at 95 %: Wilson's interval at the effective size n / deff (Kish), deff from `cluster_variance`.

    So a share of 0 or 1 keeps an honest width, which a normal interval loses.
    """
    n = len(values)
    if not n:
        return 0.0, 0.0, 1.0
    mean = sum(values) / n
    plain = mean * (1 - mean) / max(1, n - 1)
    effect = cluster_variance([float(value) for value in values], clusters) / plain if plain else 1.0
    effective = n / max(1.0, effect)
    low, high = wilson(mean * effective, effective)
    return mean, low, high


def difference(a: Sequence[bool], b: Sequence[bool], clusters: Sequence[Sequence[Hashable]] = ()) -> tuple[float, float, float]:
    """(mean of b − a, low, high) at 95 %, pair by pair: a normal interval with the cluster-robust variance of the differences."""
    gaps = [float(right) - float(left) for left, right in zip(a, b, strict=True)]
    if not gaps:
        return 0.0, -1.0, 1.0
    mean = sum(gaps) / len(gaps)
    half = Z * math.sqrt(cluster_variance(gaps, clusters))
    return mean, max(-1.0, mean - half), min(1.0, mean + half)


def mcnemar(a: Sequence[bool], b: Sequence[bool]) -> float:
    """Exact two-sided McNemar p: of the pairs that differ, how unlikely so uneven a split is under a fair coin (binomial test)."""
    gained = sum(1 for left, right in zip(a, b, strict=True) if right and not left)
    lost = sum(1 for left, right in zip(a, b, strict=True) if left and not right)
    n, few = gained + lost, min(gained, lost)
    if n == 0:
        return 1.0
    tail: float = sum(math.comb(n, k) for k in range(few + 1)) / (1 << n)
    return min(1.0, 2 * tail)
