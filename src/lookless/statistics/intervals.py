"""Intervals of means and of whatever else is made of sums, with their sources."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri  # type: ignore[import-untyped]

_DRAWN_AT_ONCE = 2**20
"""Indices in memory at a time: 8 MB, however many clusters there are."""


def wilson_interval(successes: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion, in 0..1; (0, 1) for n = 0.

    Example:
        >>> low, high = wilson_interval(8, 10)
        >>> round(low, 3), round(high, 3)
        (0.49, 0.943)

    Source: Wilson (1927); numbers as in Brown, Cai and DasGupta (2001).
    """
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    centre = p + z * z / (2 * n)
    spread = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max((centre - spread) / scale, 0.0), min((centre + spread) / scale, 1.0)


def bootstrap_interval(
    columns_NK: NDArray[np.float64],
    clusters: Sequence[str],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a statistic of sums, resampling whole clusters.

    Questions about one image are not independent, so images are resampled, not questions. If all
    clusters are equal the interval has no width, which `mean_interval` mends for means.

    Args:
        columns_NK: K numbers for each of N rows, to be added up.
        clusters: What each row belongs to, such as its image.
        statistic: From the sums (R, K) of R resamples to its values (R,); NaN where it is
            undefined, and those resamples are left out.
        resamples: Bootstrap samples.
        seed: Of the resampling; the same input gives the same interval.
        level: Probability between the ends, in 0..1.

    Returns:
        The lower and upper end; (0, 1) without rows and where no resample has a value, which says
        nothing about a share. Where the statistic is no share, ask only with rows.

    Example:
        >>> right_and_asked = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
        >>> bootstrap_interval(right_and_asked, "abcd", lambda sums: sums[:, 0] / sums[:, 1])
        (0.25, 1.0)

    Source: Efron and Tibshirani (1993), chapter 13; whole clusters as in Field and Welsh (2007),
    "Bootstrapping clustered data".
    """
    codes, count = _codes(clusters)
    if len(codes) != len(columns_NK):
        raise ValueError(f"{len(columns_NK)} rows need as many clusters, got {len(codes)}")
    if count == 0:
        return 0.0, 1.0
    sums = [np.bincount(codes, column, count) for column in columns_NK.T]
    rng = np.random.default_rng(seed)
    step = max(_DRAWN_AT_ONCE // count, 1)
    parts = []
    for start in range(0, resamples, step):
        drawn = rng.integers(count, size=(min(step, resamples - start), count))
        parts.append(np.stack([column[drawn].sum(1) for column in sums], 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        values = statistic(np.concatenate(parts))
    values = values[~np.isnan(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = np.percentile(values, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def cluster_interval(
    values: Sequence[float], clusters: Sequence[str], resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a mean, resampling whole clusters.

    (0, 1) without values. It has no width if all clusters have the same mean; `mean_interval`
    does not have this fault.

    Args:
        values: One number per question.
        clusters: What each question belongs to, such as its image.
        resamples: Bootstrap samples.
        seed: Of the resampling; the same input gives the same interval.
    """
    return bootstrap_interval(_with_ones(values), clusters, _ratio, resamples, seed)


def mean_interval(values: Sequence[float], clusters: Sequence[str]) -> tuple[float, float]:
    """Return the 95 % interval of a mean: Wilson's of independent 0s and 1s, else a bootstrap.

    Wilson's if all values are 0 or 1 and every cluster has one; (0, 1) without values.
    Otherwise clusters are resampled as by `bounded_mean_interval`, so questions that are all
    right have the Wilson interval of as many successes as there are clusters, not (1, 1).

    Args:
        values: One number per question, usually in 0..1.
        clusters: What each question belongs to, such as its image.

    Example:
        >>> low, high = mean_interval([1, 1, 1, 1], ["a", "a", "b", "b"])
        >>> round(low, 3), high
        (0.342, 1.0)

    Source: Bowyer, Aitchison and Ivanova (2025), arXiv 2503.01747: no normal approximation below
    some hundreds of questions.
    """
    if _are_binary(values) and len(set(clusters)) == len(clusters) == len(values):
        return wilson_interval(sum(values), len(values))
    return bounded_mean_interval(values, clusters)


def bounded_mean_interval(
    values: Sequence[float],
    clusters: Sequence[str],
    lowest: float = 0.0,
    highest: float = 1.0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the cluster bootstrap interval of a mean, which is not certain if clusters agree.

    The bootstrap of C clusters with one and the same mean m would be (m, m). But a share
    w = z^2 / (C + z^2) of all clusters may be unlike those seen, w being Wilson's upper limit
    for 0 of C; at worst they are at an end of the range, so the ends are (1 - w) m + w `lowest` and
    (1 - w) m + w `highest`. For m at an end this is Wilson's interval over the clusters; for
    differences in -1..1 that are all 0 it is Tango's.

    Args:
        values: One number per question.
        clusters: What each question belongs to, such as its image.
        lowest: The least that a value could be; where the mean is below, its end has no width.
        highest: The most that a value could be; where the mean is above, its end has no width.
        level: Probability between the ends, in 0..1.

    Returns:
        The lower and upper end; (`lowest`, `highest`) without values.

    Source: Tango (1998), "Equivalence test and confidence interval for the difference in
    proportions for the paired-sample design", at no discordant pair. The rule for equal means
    inside the range is ours.
    """
    if not len(values):
        return lowest, highest
    columns_NK = _with_ones(values)
    codes, count = _codes(clusters)
    totals = [np.bincount(codes, column, count) for column in columns_NK.T]
    means = totals[0] / totals[1]
    if np.ptp(means) > 1e-9:
        return bootstrap_interval(columns_NK, clusters, _ratio, level=level)
    return certain_interval(float(means[0]), count, lowest, highest, level)


def certain_interval(
    value: float, clusters: int, lowest: float = 0.0, highest: float = 1.0, level: float = 0.95
) -> tuple[float, float]:
    """Return the interval of a statistic on which all resamples agree; see `bounded_mean_interval`.

    Example:
        >>> low, high = certain_interval(1.0, clusters=10)
        >>> round(low, 3), high
        (0.722, 1.0)
    """
    z2 = float(ndtri((1 + level) / 2)) ** 2
    unseen = z2 / (clusters + z2)
    low = value + unseen * min(lowest - value, 0.0)
    return low, value + unseen * max(highest - value, 0.0)


def clustered_standard_error(values: Sequence[float], clusters: Sequence[str]) -> float:
    """Return the standard error of a mean of clustered values; NaN without values.

    sqrt(sum over clusters of (sum of s_i - mean in it)^2) / n. With one value in each cluster it is
    the usual one, with n and not n - 1 under the variance.

    Example:
        >>> clustered_standard_error([1, 0, 1, 0], ["a", "b", "c", "d"])
        0.25
        >>> round(clustered_standard_error([1, 1, 0, 0], ["a", "a", "b", "b"]), 3)
        0.354

    Source: Miller (2024), arXiv 2411.00640, on clustered standard errors.
    """
    if not len(values):
        return math.nan
    deviations = np.asarray(values, np.float64)
    deviations = deviations - deviations.mean()
    codes, count = _codes(clusters)
    return float(np.linalg.norm(np.bincount(codes, deviations, count))) / len(values)


def _codes(clusters: Sequence[str]) -> tuple[NDArray[np.intp], int]:
    """Return each row's cluster as a number, in order of appearance, and how many there are."""
    index = {name: k for k, name in enumerate(dict.fromkeys(clusters))}
    return np.array([index[name] for name in clusters], np.intp), len(index)


def _with_ones(values: Sequence[float]) -> NDArray[np.float64]:
    return np.stack([np.asarray(values, np.float64), np.ones(len(values))], 1)


def _ratio(sums_R2: NDArray[np.float64]) -> NDArray[np.float64]:
    ratios: NDArray[np.float64] = sums_R2[:, 0] / sums_R2[:, 1]
    return ratios


def _are_binary(values: Sequence[float]) -> bool:
    return set(values) <= {0, 1}
