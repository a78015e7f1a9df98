"""Whether a query needs a look, estimated from rollouts that had to and that could not look."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import special  # type: ignore[import-untyped]

from lookless.episode import Group, Mode, StopReason
from lookless.errors import ConfigError

Grades = Sequence[float | None]
"""Grades in 0..1; None where no verdict could be reached."""

_TAIL = 1e-9
"""Probability mass left out at each end of the integration; far below the promised 1e-6."""
_NODES = 128
_GAIN_STEP = 1e-4
"""How exact the ends of an interval of gain are."""
_TIE = 1e-9
"""Means closer than this are equal; they differ by rounding only."""


@dataclass(frozen=True, slots=True)
class Necessity:
    """What is known about whether looking raises the chance to be right on one query."""

    need: float | None
    """1.0 if a look is needed, 0.0 if not, None if undecided (abstained)."""
    p_look: float | None
    """Mean grade of the rollouts that had to look; None without any."""
    p_no_look: float | None
    """Mean grade of the rollouts that could not look; None without any."""
    n_look: int
    """Number of decidable grades behind `p_look`."""
    n_no_look: int
    probability: float | None
    """Posterior probability that looking gains more than the margin; None if not computed."""

    @property
    def gain(self) -> float | None:
        """Return `p_look - p_no_look`, in -1..1; None if either side is empty."""
        if self.p_look is None or self.p_no_look is None:
            return None
        return self.p_look - self.p_no_look


Estimator = Callable[[Grades, Grades], Necessity]
"""Takes the grades of looking and of not looking rollouts, in this order."""


def strict(look: Grades, no_look: Grades) -> Necessity:
    """Return need 1 if the looking rollouts did better on average, else 0; ties give 0.

    Undecidable grades are left out; if nothing is left on either side, the need is None. With 4 + 4
    rollouts and equal true accuracy 0.5 this says 1 in 36 % of the cases; see `posterior`.

    Raises:
        ValueError: If a grade is outside 0..1.

    Example:
        >>> strict([1.0, 1.0, None], [1.0, 0.0]).need
        1.0
        >>> strict([1.0, 1.0], [1.0, 1.0]).need
        0.0

    Source: "Look Less, Reason More" (arXiv 2510.01681). Abstaining without any grade is ours.
    """
    looked, unlooked = _decided(look), _decided(no_look)
    p_look, p_no_look = _mean(looked), _mean(unlooked)
    need = None
    if p_look is not None and p_no_look is not None:
        need = float(p_look - p_no_look > _TIE)
    return Necessity(need, p_look, p_no_look, len(looked), len(unlooked), None)


def posterior(
    look: Grades,
    no_look: Grades,
    *,
    abstain: tuple[float, float] = (0.25, 0.75),
    margin: float = 0.15,
) -> Necessity:
    """Return need 1 if looking probably gains more than `margin`, 0 if probably not, else None.

    Both accuracies get independent Beta(1, 1) priors; a grade g counts as g right and 1 - g wrong.
    `probability` is P(acc_look > acc_no_look + margin), exact to 1e-6 and without sampling.

    The margin makes "looking gains nothing" decidable: at margin 0 a tie gives probability 0.5
    however many rollouts there are. At the default 0.15, n right of n on both sides gives 0.20 at
    n = 4 and 0.11 at n = 8 (need 0 at once), half right on both sides 0.30 at n = 4 (abstains) and
    0.18 at n = 16, and 3 against 1 of 4 gives 0.77 (need 1). At equal true accuracy 0.5 it says 1
    in 14 % of the cases at 4 + 4 and 6 % at 16 + 16, where `strict` says so in 36 % and 43 %. The
    price: with enough evidence a true gain below the margin counts as no need.

    Args:
        look: Grades of the rollouts that had to look.
        no_look: Grades of the rollouts that could not look.
        abstain: Undecided from the first to the second probability, both included; in 0..1.
        margin: Smallest gain in accuracy worth a look, in [0, 1).

    Raises:
        ConfigError: If `abstain` or `margin` is out of range.
        ValueError: If a grade is outside 0..1.

    Example:
        >>> round(posterior([1.0], [0.0], margin=0.0).probability, 4)  # 5/6
        0.8333
    """
    lower, upper = abstain
    if not 0.0 <= lower <= upper <= 1.0:
        raise ConfigError(
            f"abstain must be two rising probabilities, got {abstain}; use the default (0.25, 0.75)"
        )
    if not 0.0 <= margin < 1.0:
        raise ConfigError(
            f"margin must be at least 0 and below 1, got {margin}; use for instance 0.15"
        )
    looked, unlooked = _decided(look), _decided(no_look)
    p_look, p_no_look = _mean(looked), _mean(unlooked)
    if p_look is None or p_no_look is None:
        return Necessity(None, p_look, p_no_look, len(looked), len(unlooked), None)
    probability = _probability_above(_beta(looked), _beta(unlooked), margin)
    need = 1.0 if probability > upper else 0.0 if probability < lower else None
    return Necessity(need, p_look, p_no_look, len(looked), len(unlooked), probability)


def gain_interval(look: Grades, no_look: Grades, level: float = 0.95) -> tuple[float, float] | None:
    """Return the central credible interval of the gain in accuracy by looking, in -1..1.

    Of the same posterior as in `posterior`; None without grades on both sides.

    Raises:
        ValueError: If a grade is outside 0..1.

    Example:
        >>> low, high = gain_interval([1.0] * 8, [0.0] * 8)
        >>> round(low, 2), round(high, 2)
        (0.49, 0.97)
        >>> gain_interval([1.0], []) is None
        True
    """
    looked, unlooked = _decided(look), _decided(no_look)
    if not looked or not unlooked:
        return None
    return _gain_interval(_beta(looked), _beta(unlooked), level)


def decided_grades(group: Group) -> list[float | None]:
    """Return the group's grades, with None also where the infrastructure failed."""
    return [
        None if rollout.stop is StopReason.FAULT else grade
        for rollout, grade in zip(group.rollouts, group.grades, strict=True)
    ]


def necessity_grades(group: Group) -> tuple[list[float | None], list[float | None]]:
    """Return the grades of the forced and of the prohibited rollouts.

    The prompt's mode counts, not what the rollout did: a forced rollout that never looked stays on
    the looking side, as in the paper.
    """
    graded = list(zip(group.rollouts, decided_grades(group), strict=True))
    forced = [grade for rollout, grade in graded if rollout.mode is Mode.FORCED]
    prohibited = [grade for rollout, grade in graded if rollout.mode is Mode.PROHIBITED]
    return forced, prohibited


class NecessityPool:
    """Grades per question, gathered over the epochs in which the question was seen.

    The policy changes while it trains, so old grades grow stale; `window` drops them.
    """

    def __init__(self, window: int | None = None) -> None:
        """Start an empty pool.

        Args:
            window: How many of the newest grades to keep per question and side; None for all.

        Raises:
            ConfigError: If `window` is below 1.
        """
        if window is not None and window < 1:
            raise ConfigError(
                f"window must be at least 1, got {window}; leave it out to keep all grades"
            )
        self.window = window
        self._grades: dict[str, tuple[list[float], list[float]]] = {}

    def add(self, question_id: str, look: Grades, no_look: Grades) -> None:
        """Add one visit's grades; undecidable ones are dropped.

        Raises:
            ValueError: If a grade is outside 0..1; nothing is added then.
        """
        looked, unlooked = _decided(look), _decided(no_look)
        old_look, old_no_look = self._grades.get(question_id, ([], []))
        self._grades[question_id] = (
            self._newest(old_look + looked),
            self._newest(old_no_look + unlooked),
        )

    def grades(self, question_id: str) -> tuple[list[float], list[float]]:
        """Return the pooled grades of a question, of looking and of not looking."""
        look, no_look = self._grades.get(question_id, ([], []))
        return list(look), list(no_look)

    def with_more(
        self, question_id: str, look: Grades, no_look: Grades, estimator: Estimator
    ) -> Necessity:
        """Return the estimator's verdict as if grades were added, which they are not.

        Raises:
            ValueError: If a grade is outside 0..1.
        """
        old_look, old_no_look = self._grades.get(question_id, ([], []))
        looked, unlooked = old_look + _decided(look), old_no_look + _decided(no_look)
        return estimator(self._newest(looked), self._newest(unlooked))

    def estimate(self, question_id: str, estimator: Estimator) -> Necessity:
        """Return the estimator's verdict on all pooled grades; an unseen question has none."""
        return estimator(*self.grades(question_id))

    def state(self) -> dict[str, list[list[float]]]:
        """Return all grades as plain JSON data: per question the looking and the other side."""
        return {key: [list(look), list(no_look)] for key, (look, no_look) in self._grades.items()}

    def load_state(self, state: Mapping[str, Sequence[Sequence[float]]]) -> None:
        """Replace all grades by those of `state`, cut to this pool's window.

        Raises:
            ValueError: If a question has not two lists, or a grade is outside 0..1; the pool then
                stays as it was.
        """
        loaded: dict[str, tuple[list[float], list[float]]] = {}
        for key, (look, no_look) in state.items():
            loaded[key] = (self._newest(_decided(look)), self._newest(_decided(no_look)))
        self._grades = loaded

    def _newest(self, grades: list[float]) -> list[float]:
        return grades if self.window is None else grades[-self.window :]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """How far estimated necessities are from the truth."""

    n: int
    """Questions whose truth is known."""
    abstained: int
    """Of those, how many were left undecided."""
    false_needs: int
    """Decided as needing a look that was not needed."""
    missed_needs: int
    """Decided as not needing a look that was needed."""

    @property
    def abstained_share(self) -> float | None:
        """Return the undecided share of the `n` questions; None without any question."""
        return self.abstained / self.n if self.n else None

    @property
    def wrong_share(self) -> float | None:
        """Return the wrong share of the decided questions; None if none was decided."""
        decided = self.n - self.abstained
        return (self.false_needs + self.missed_needs) / decided if decided else None


def disagreement(necessities: Sequence[Necessity], truths: Sequence[bool | None]) -> Disagreement:
    """Return how often the need disagrees with the ground truth; unknown truths are left out.

    Raises:
        ValueError: If the lengths differ.
    """
    known = [
        (necessity.need, truth)
        for necessity, truth in zip(necessities, truths, strict=True)
        if truth is not None
    ]
    return Disagreement(
        n=len(known),
        abstained=sum(need is None for need, _ in known),
        false_needs=sum(need == 1.0 and not truth for need, truth in known),
        missed_needs=sum(need == 0.0 and truth for need, truth in known),
    )


def _decided(grades: Grades) -> list[float]:
    decided = [grade for grade in grades if grade is not None]
    for grade in decided:
        if not 0.0 <= grade <= 1.0:
            raise ValueError(f"grades must be in 0..1, got {grade}")
    return decided


def _mean(grades: list[float]) -> float | None:
    return math.fsum(grades) / len(grades) if grades else None


def _beta(grades: list[float]) -> tuple[float, float]:
    """Return the parameters of the accuracy's Beta posterior under a uniform prior."""
    right = math.fsum(grades)
    return 1.0 + right, 1.0 + len(grades) - right


def _probability_above(x: tuple[float, float], y: tuple[float, float], margin: float) -> float:
    """Return P(X > Y + margin) for independent X ~ Beta(*x) and Y ~ Beta(*y).

    Integrates Y's density times X's survival function over the angle t with Y = sin(t)^2, in which
    every Beta density is about equally wide and its ends are smooth.
    """
    if _variance(x) < _variance(y):
        # Mirrored at 1/2 the two change places, so the narrower density always sets the range.
        x, y = (y[1], y[0]), (x[1], x[0])
    a, b = y
    lowest = float(special.betaincinv(a, b, _TAIL))
    highest = min(float(special.betaincinv(a, b, 1.0 - _TAIL)), 1.0 - margin)
    if lowest >= highest:
        return 0.0
    start, stop = math.asin(math.sqrt(lowest)), math.asin(math.sqrt(highest))
    nodes, weights = _quadrature()
    angles = start + (stop - start) * nodes
    values = np.sin(angles) ** 2
    density = np.exp(
        special.xlogy(a - 1.0, values) + special.xlog1py(b - 1.0, -values) - special.betaln(a, b)
    )
    survival = special.betaincc(*x, np.minimum(values + margin, 1.0))
    total = float((weights * density * survival * np.sin(2.0 * angles)).sum()) * (stop - start)
    return min(max(total, 0.0), 1.0)


@cache
def _gain_interval(
    x: tuple[float, float], y: tuple[float, float], level: float
) -> tuple[float, float]:
    def quantile(probability: float) -> float:
        low, high = -1.0, 1.0
        while high - low > _GAIN_STEP:
            middle = (low + high) / 2
            above = (
                _probability_above(x, y, middle)
                if middle >= 0
                else 1.0 - _probability_above(y, x, -middle)
            )
            low, high = (middle, high) if above > 1.0 - probability else (low, middle)
        return (low + high) / 2

    return quantile((1.0 - level) / 2), quantile((1.0 + level) / 2)


def _variance(beta: tuple[float, float]) -> float:
    a, b = beta
    return a * b / ((a + b) ** 2 * (a + b + 1.0))


@cache
def _quadrature() -> tuple[np.ndarray, np.ndarray]:
    """Return Gauss-Legendre nodes and weights on 0..1."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return (nodes + 1.0) / 2.0, weights / 2.0
