"""Two models on the same questions: what differs, how surely, and what n questions can show."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtri  # type: ignore[import-untyped]

from lookless.errors import ConfigError, DataError
from lookless.statistics.intervals import bounded_mean_interval, clustered_standard_error

_ENUMERATED = 12
"""Clusters up to which all assignments of signs are tried: 4,096 of them."""

_DRAWN_AT_ONCE = 2**20
"""Signs in memory at a time: 8 MB, however many clusters there are."""


def mcnemar_mid_p(only_first: int, only_second: int) -> float:
    """Return the two-sided mid-p value of McNemar's test, in 0..1.

    Twice the lower binomial tail of the discordant pairs, of which the observed count is taken
    half; 1 if both counts are equal.

    Args:
        only_first: Questions that only the first got right.
        only_second: Questions that only the second got right.

    Example:
        >>> round(mcnemar_mid_p(1, 7), 4)
        0.0391

    Source: Fagerland, Lydersen and Laake (2013), BMC Medical Research Methodology 13:91.
    """
    fewer, n = min(only_first, only_second), only_first + only_second
    below = float(bdtr(fewer - 1, n, 0.5)) if fewer else 0.0
    return min(below + float(bdtr(fewer, n, 0.5)), 1.0)


def sign_flip_p(
    differences_per_cluster: Sequence[float], resamples: int = 10_000, seed: int = 0
) -> float:
    """Return the two-sided p-value of no difference, in 0..1, by flipping signs of whole clusters.

    If the two models are alike, swapping them within a cluster changes nothing, so every cluster's
    difference could as well have had the other sign. p is the share of sign assignments whose
    total is at least as far from 0 as the observed one; all assignments are tried for up to 12
    clusters that differ, otherwise random ones, the observed one counted among them, so that p is
    never 0.

    Args:
        differences_per_cluster: Sum (not mean) of the differences in each cluster, so that large
            clusters weigh as much as in the mean over questions.
        resamples: Random assignments.
        seed: Of the random assignments; the same input gives the same p.

    Example:
        >>> sign_flip_p([1, 1, 1, 0, 1])
        0.125

    Source: Fisher (1935), section 21; the added one as in Phipson and Smyth (2010), "Permutation
    p-values should never be zero".
    """
    differences = np.asarray(differences_per_cluster, np.float64)
    differences = differences[differences != 0]
    count = len(differences)
    # Totals that are equal on paper differ by rounding, and must count as equal.
    observed = abs(differences.sum()) - 1e-9 * np.abs(differences).sum()
    if count <= _ENUMERATED:
        bits = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        return float(np.mean(_flipped(bits, differences) >= observed))
    rng = np.random.default_rng(seed)
    step = max(_DRAWN_AT_ONCE // count, 1)
    extreme = 0
    for start in range(0, resamples, step):
        bits = rng.integers(2, size=(min(step, resamples - start), count), dtype=np.int8)
        extreme += int(np.sum(_flipped(bits, differences) >= observed))
    return (1 + extreme) / (1 + resamples)


def _flipped(
    bits_RC: NDArray[np.integer], differences_C: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how far from 0 the total is (R,) with the signs that the bits say."""
    totals: NDArray[np.float64] = np.abs((2.0 * bits_RC - 1.0) @ differences_C)
    return totals


@dataclass(frozen=True)
class Paired:
    """Two models compared on the same questions."""

    n: int
    """Questions."""
    clusters: int
    """Independent units among them."""
    first: float
    """Mean of the first model."""
    second: float
    """Mean of the second model."""
    difference: float
    """`second` - `first`."""
    low: float
    """Lower end of the difference's 95 % interval, from resampling clusters."""
    high: float
    """Upper end of it."""
    p: float
    """Two-sided p-value of no difference; it need not agree with the interval to the last digit."""
    test: str
    """`McNemar mid-p` or `cluster sign-flip`."""
    only_first: int | None
    """Questions that only the first got right; None if values are not all 0 or 1."""
    only_second: int | None
    """Questions that only the second got right; None if values are not all 0 or 1."""


def paired(first: Sequence[float], second: Sequence[float], clusters: Sequence[str]) -> Paired:
    """Return how two models differ on the same questions.

    The test is McNemar's if all values are 0 or 1 and no two questions share a cluster, else the
    cluster sign-flip.

    Args:
        first: One model's value on each question, in 0..1.
        second: The other's, in the same order.
        clusters: What each question belongs to, such as its image.

    Raises:
        DataError: If there is no question.
        ValueError: If the lengths differ.

    Example:
        >>> result = paired([1, 1, 0, 0], [1, 0, 1, 1], ["a", "b", "c", "d"])
        >>> result.difference, result.only_first, result.only_second, result.test
        (0.25, 1, 2, 'McNemar mid-p')

    Source: McNemar (1947); Miller (2024), arXiv 2411.00640, for comparing by question.
    """
    differences = _differences(first, second, clusters)
    low, high = bounded_mean_interval(differences, clusters, lowest=-1.0)
    sums = dict.fromkeys(clusters, 0.0)
    for name, difference in zip(clusters, differences, strict=True):
        sums[name] += difference
    is_binary = {*first, *second} <= {0, 1}
    only_first, only_second = differences.count(-1), differences.count(1)
    is_mcnemar = is_binary and len(sums) == len(differences)
    n = len(differences)
    return Paired(
        n=n,
        clusters=len(sums),
        first=sum(first) / n,
        second=sum(second) / n,
        difference=sum(differences) / n,
        low=low,
        high=high,
        p=mcnemar_mid_p(only_first, only_second) if is_mcnemar else sign_flip_p([*sums.values()]),
        test="McNemar mid-p" if is_mcnemar else "cluster sign-flip",
        only_first=only_first if is_binary else None,
        only_second=only_second if is_binary else None,
    )


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values adjusted for how many there are, by name in the same order.

    Calling those below alpha significant is wrong about any of them with probability alpha at most.

    Example:
        >>> holm({"a": 0.25, "b": 0.125, "c": 0.5})
        {'a': 0.5, 'b': 0.375, 'c': 0.5}

    Source: Holm (1979), "A simple sequentially rejective multiple test procedure".
    """
    adjusted, least = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        least = max(least, min((len(p_values) - rank) * p_values[name], 1.0))
        adjusted[name] = least
    return {name: adjusted[name] for name in p_values}


@dataclass(frozen=True)
class NonInferiority:
    """Whether the second model is at most `margin` worse than the first."""

    margin: float
    """In 0..1, to be chosen before looking."""
    difference: float
    """Mean of the second minus that of the first."""
    low: float
    """One-sided 95 % lower bound of the difference, from resampling clusters."""

    @property
    def is_shown(self) -> bool:
        """Return whether the bound is above -margin; that it is not shows no inferiority."""
        return self.low > -self.margin


def non_inferiority(
    first: Sequence[float], second: Sequence[float], clusters: Sequence[str], margin: float
) -> NonInferiority:
    """Return whether the second model is at most `margin` worse than the first.

    Same accuracy is claimed by this, not by a p-value above 0.05, which too few questions give too.
    If no cluster differs, the bound is not 0 but as `bounded_mean_interval` says.

    Args:
        first: One model's value on each question, in 0..1.
        second: The other's, in the same order.
        clusters: What each question belongs to, such as its image.
        margin: The loss that would not matter, in 0..1; 0.01 is a percentage point.

    Raises:
        ConfigError: If the margin is not in 0..1.
        DataError: If there is no question.
        ValueError: If the lengths differ.

    Example:
        >>> same = [1.0] * 100
        >>> names = [str(k) for k in range(100)]
        >>> result = non_inferiority(same, same, names, margin=0.05)
        >>> round(result.low, 3), result.is_shown
        (-0.026, True)

    Source: Piaggio et al. (2012), the CONSORT extension for non-inferiority trials.
    """
    if not 0 <= margin <= 1:
        raise ConfigError(
            f"margin must be between 0 and 1, got {margin}; 0.01 is one percentage point"
        )
    differences = _differences(first, second, clusters)
    low, _ = bounded_mean_interval(differences, clusters, lowest=-1.0, level=0.9)
    return NonInferiority(margin, sum(differences) / len(differences), low)


def detectable_difference(
    n: int, discordant: float, design_effect: float = 1.0, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Return the smallest difference of two accuracies that n paired questions are likely to show.

    (z_(1 - alpha / 2) + z_power) sqrt(`discordant` `design_effect` / n). No difference is larger
    than `discordant`: if the result is, n questions cannot show any with this power.

    Args:
        n: Questions.
        discordant: Share of them that only one of the two gets right, in 0..1.
        design_effect: How much larger the variance is than of independent questions.
        power: Probability of finding the difference if it is there, between 0 and 1.
        alpha: Level of the two-sided test, between 0 and 1.

    Raises:
        ConfigError: If an argument is out of its range.

    Example:
        >>> round(detectable_difference(191, discordant=0.1), 3)
        0.064

    Source: Miller (2024), arXiv 2411.00640, on power, with the variance of a paired difference
    at most the discordant share, as in Connor (1987), who subtracts the difference's square.
    """
    if n < 1:
        raise ConfigError(f"n must be at least 1, got {n}; give the number of questions")
    if not 0 <= discordant <= 1:
        raise ConfigError(f"discordant must be between 0 and 1, got {discordant}; give a share")
    if not 0 < design_effect < math.inf:
        raise ConfigError(
            f"design_effect must be above 0, got {design_effect}; 1 is for independent questions"
        )
    for name, value in (("power", power), ("alpha", alpha)):
        if not 0 < value < 1:
            raise ConfigError(f"{name} must be above 0 and below 1, got {value}; give a share")
    z = float(ndtri(1 - alpha / 2) + ndtri(power))
    return z * math.sqrt(discordant * design_effect / n)


def design_effect(values: Sequence[float], clusters: Sequence[str]) -> float:
    """Return how much larger a mean's variance is than if the values were independent.

    1 with one value in each cluster, and where nothing varies; m if clusters of m are of one mind.

    Example:
        >>> round(design_effect([1, 1, 0, 0], ["a", "a", "b", "b"]), 9)
        2.0

    Source: Kish (1965), Survey Sampling; the variances as in Miller (2024), arXiv 2411.00640.
    """
    if len(set(values)) <= 1:
        return 1.0
    naive = clustered_standard_error(values, [str(k) for k in range(len(values))])
    return (clustered_standard_error(values, clusters) / naive) ** 2


def _differences(
    first: Sequence[float], second: Sequence[float], clusters: Sequence[str]
) -> list[float]:
    """Return second - first for each question."""
    triples = list(zip(first, second, clusters, strict=True))
    if not triples:
        raise DataError(
            "questions must be at least one, got none; compare two runs that share some"
        )
    return [b - a for a, b, _ in triples]
