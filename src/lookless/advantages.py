"""Advantages: how much better a rollout did than its peers.

Everywhere None stands for a rollout that must not enter the loss: undecidable, or failed.
"""

import math
from collections.abc import Mapping, Sequence

from lookless.episode import TRAINED_MODES, Group, Mode
from lookless.necessity import Necessity, decided_grades

_EPSILON = 1e-6
_ZERO = 1e-9


def group_advantages(
    totals_G: Sequence[float | None], *, normalise: bool = False
) -> list[float | None]:
    """Return each rollout's reward minus the mean of the decidable ones; None stays None.

    Equal rewards, or a single decidable one, give exactly 0.

    Args:
        totals_G: Total reward of each of the G rollouts that share a baseline, any range.
        normalise: Divide by the sample standard deviation plus 1e-6 (GRPO). It makes the many easy
            queries weigh as much as the few hard ones.

    Example:
        >>> group_advantages([1.0, 0.0, None])
        [0.5, -0.5, None]

    Source: mean only is Dr. GRPO (arXiv 2503.20783), normalised is GRPO (arXiv 2402.03300).
    """
    decided = [total for total in totals_G if total is not None]
    if not decided or min(decided) == max(decided):
        return [None if total is None else 0.0 for total in totals_G]
    mean = math.fsum(decided) / len(decided)
    scale = 1.0
    if normalise:
        variance = math.fsum((total - mean) ** 2 for total in decided) / (len(decided) - 1)
        scale = math.sqrt(variance) + _EPSILON
    return [None if total is None else (total - mean) / scale for total in totals_G]


def per_mode_advantages(
    group: Group, totals_G: Sequence[float | None], *, normalise: bool = False
) -> list[float | None]:
    """Return advantages with one baseline per mode, because the modes see different prompts.

    A mode with fewer than two decidable rollouts gives 0.

    Args:
        group: The query's rollouts.
        totals_G: Total reward of each of its G rollouts.
        normalise: As in `group_advantages`.

    Raises:
        ValueError: If there is not one total per rollout.
    """
    if len(totals_G) != len(group.rollouts):
        raise ValueError(f"totals must be one per rollout, got {len(totals_G)}")
    advantages: list[float | None] = [None] * len(totals_G)
    for mode in TRAINED_MODES:
        members = [i for i, rollout in enumerate(group.rollouts) if rollout.mode is mode]
        of_mode = group_advantages([totals_G[i] for i in members], normalise=normalise)
        for i, advantage in zip(members, of_mode, strict=True):
            advantages[i] = advantage
    return advantages


def hdpo_advantages(
    parts_G: Sequence[Mapping[str, float] | None], weight: float, *, normalise: bool = False
) -> list[float | None]:
    """Return the accuracy advantage over all rollouts plus `weight` times that of the looks.

    The second is taken among the right rollouts only, which are those with a part "looks", and only
    if there are two of them; it is 0 for the others.

    Args:
        parts_G: Parts of the `hdpo` reward: "accuracy", and "looks" (already weighted) if right.
        weight: The reward's weight, at least 0. The weight inside "looks" is taken out first, since
            normalising would remove it.
        normalise: As in `group_advantages`; Metis does.

    Source: Metis (arXiv 2604.08545).
    """
    accuracy = group_advantages(
        [None if parts is None else parts["accuracy"] for parts in parts_G], normalise=normalise
    )
    if weight == 0.0:
        return accuracy
    economy = group_advantages(
        [
            None if parts is None or "looks" not in parts else parts["looks"] / weight
            for parts in parts_G
        ],
        normalise=normalise,
    )
    return [
        None if right is None else right + weight * (few or 0.0)
        for right, few in zip(accuracy, economy, strict=True)
    ]


def hdpo_weight_limit(rollouts: int) -> float:
    """Return the weight below which normalised `hdpo_advantages` rank right above wrong.

    With k wrong rollouts the accuracy term is `1 / std` higher for the right ones; the economy term
    of a right rollout is lowest, `-(m - 1) / sqrt(m)`, if it alone of the m right ones looked.

    Args:
        rollouts: Rollouts that share a baseline; below 3 every weight will do (infinity).

    Example:
        >>> round(hdpo_weight_limit(16), 3)
        0.693
    """
    n = rollouts
    return min(
        (
            math.sqrt(n * (n - 1) / (wrong * (n - wrong))) * math.sqrt(n - wrong) / (n - wrong - 1)
            for wrong in range(1, n - 1)
        ),
        default=math.inf,
    )


def decision_advantages(
    group: Group, necessity: Necessity, look_price: float, obedience: float = 0.0
) -> list[float | None]:
    """Return the counterfactual credit of each rollout's decision to look or not.

    In adaptive mode it is `(p_look - p_no_look - look_price) / 2` for a rollout that looked or
    tried to, and minus that for one that did not. Both arms were sampled by the forced and
    prohibited rollouts, so it does not vanish when all adaptive rollouts decide alike. In the other
    modes it is `obedience` for a rollout that called when told to, or did not when told not to, and
    minus that for the others: what is learned in adaptive mode would spread to them. It is the
    decision that counts, so a call that fails is one too. None for rollouts without a grade,
    and for the adaptive ones if an arm has no grade.

    Args:
        group: The query's rollouts.
        necessity: Estimate for the same query; only its means are used, not `need`.
        look_price: Gain in accuracy that a look must exceed to be worth it.
        obedience: Credit of following a forced or prohibited prompt.
    """
    credits = {
        Mode.ADAPTIVE: None if necessity.gain is None else (necessity.gain - look_price) / 2.0,
        Mode.FORCED: obedience,
        Mode.PROHIBITED: -obedience,
    }
    decisions: list[float | None] = []
    for rollout, grade in zip(group.rollouts, decided_grades(group), strict=True):
        credit = credits[rollout.mode]
        if credit is None or grade is None:
            decisions.append(None)
        else:
            decisions.append(credit if rollout.looks else -credit)
    return decisions


def is_degenerate(advantages: Sequence[float | None]) -> bool:
    """Return whether no rollout carries a signal: every advantage is None or 0 to rounding."""
    return all(advantage is None or abs(advantage) <= _ZERO for advantage in advantages)
