"""How well decisions agree with the truth."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


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
    def n(self) -> int:
        """Return how many decisions there are."""
        return self.true_positive + self.false_positive + self.false_negative + self.true_negative

    @property
    def base_rate(self) -> float | None:
        """Return the share that was needed, which is the precision of looking always.

        None without decisions.
        """
        return _share(self.true_positive + self.false_negative, self.n)

    @property
    def over_use(self) -> float | None:
        """Return the share of looks among what needed none; None if all was needed.

        Example:
            >>> Confusion(2, 1, 0, 3).over_use
            0.25
        """
        return _share(self.false_positive, self.false_positive + self.true_negative)

    @property
    def under_use(self) -> float | None:
        """Return the share without a look among what needed one; None if none was needed."""
        return _share(self.false_negative, self.true_positive + self.false_negative)

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

        There it is undefined, and 0 by convention, as in scikit-learn.

        Example:
            >>> Confusion(2, 0, 0, 2).mcc
            1.0

        Source: Matthews (1975).
        """
        tp, fp = self.true_positive, self.false_positive
        fn, tn = self.false_negative, self.true_negative
        product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
        return (tp * tn - fp * fn) / math.sqrt(product) if product else 0.0


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
