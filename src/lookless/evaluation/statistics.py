"""Intervals and agreement, with their sources."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


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


def cluster_interval(
    values: Sequence[float], clusters: Sequence[str], resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a mean, resampling whole clusters.

    (0, 1) without values.

    Questions about one image are not independent, so images are resampled, not questions.

    Args:
        values: One number per question.
        clusters: What each question belongs to, such as its image.
        resamples: Bootstrap samples.
        seed: Of the resampling; the same input gives the same interval.
    """
    if not values:
        return 0.0, 1.0
    index = {name: k for k, name in enumerate(dict.fromkeys(clusters))}
    sums, counts = np.zeros(len(index)), np.zeros(len(index))
    for value, name in zip(values, clusters, strict=True):
        sums[index[name]] += value
        counts[index[name]] += 1
    drawn = np.random.default_rng(seed).integers(len(index), size=(resamples, len(index)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True)
class Confusion:
    """Decisions against the truth; positive means looked, or needed."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @classmethod
    def of(cls, decisions: Sequence[bool], truths: Sequence[bool]) -> "Confusion":
        """Count decisions against truths, pair by pair."""
        pairs = list(zip(decisions, truths, strict=True))
        return cls(
            pairs.count((True, True)),
            pairs.count((True, False)),
            pairs.count((False, True)),
            pairs.count((False, False)),
        )

    @property
    def precision(self) -> float:
        """Return the share of looks that were needed; 0 without looks."""
        return self.true_positive / max(self.true_positive + self.false_positive, 1)

    @property
    def recall(self) -> float:
        """Return the share of needed looks that were taken; 0 if none was needed."""
        return self.true_positive / max(self.true_positive + self.false_negative, 1)

    @property
    def f1(self) -> float:
        """Return the harmonic mean of precision and recall; 0 if both are."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0

    @property
    def mcc(self) -> float:
        """Return Matthews' correlation in -1..1; 0 if either side is constant.

        Example:
            >>> Confusion(2, 0, 0, 2).mcc
            1.0
        """
        tp, fp = self.true_positive, self.false_positive
        fn, tn = self.false_negative, self.true_negative
        product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
        return (tp * tn - fp * fn) / math.sqrt(product) if product else 0.0
