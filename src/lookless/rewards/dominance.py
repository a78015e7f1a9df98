"""The check that being wrong never pays: no reward may rank a wrong rollout above a right one."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

from lookless.episode import (
    TRAINED_MODES,
    Group,
    Look,
    LookOutcome,
    Mode,
    Question,
    Rollout,
    StopReason,
)
from lookless.errors import ConfigError
from lookless.necessity import Necessity
from lookless.rewards.parts import RewardParts

BoundReward = Callable[[Group, Necessity], list[RewardParts | None]]
"""A reward function with its config filled in."""

MOST_LOOKS = 16
MOST_ADAPTIVE = 128
"""Executed looks of a rollout, and adaptive rollouts of a query, up to which the check holds."""
_COMPANIONS = 4 * MOST_ADAPTIVE - 8
"""With the 4 of 8 compared rollouts that looked, this is a look share of 1 in MOST_ADAPTIVE."""
_ROUNDING = 1e-9

_EXECUTED = Look(LookOutcome.EXECUTED)
_BEHAVIOURS: dict[str, tuple[Look, ...]] = {
    "never looked": (),
    "looked once": (_EXECUTED,),
    f"looked {MOST_LOOKS} times": (_EXECUTED,) * MOST_LOOKS,
    "made a malformed call": (Look(LookOutcome.MALFORMED),),
}
_COMPANIES: tuple[tuple[Look, ...] | None, ...] = (None, (), (_EXECUTED,))
_NECESSITIES = (
    Necessity(1.0, 1.0, 0.0, 4, 4, None),
    Necessity(0.0, 0.0, 1.0, 4, 4, None),
    Necessity(0.0, 0.5, 0.5, 4, 4, None),
    Necessity(None, 0.5, 0.5, 4, 4, None),
    Necessity(None, None, None, 0, 0, None),
)


@dataclass(frozen=True, slots=True)
class Violation:
    """A wrong rollout that out-scores a right one of the same query and mode."""

    mode: Mode
    need: float | None
    wrong: str
    """What the wrong rollout did."""
    wrong_total: float
    right: str
    right_total: float

    @property
    def excess(self) -> float:
        """Return by how much the wrong rollout wins."""
        return self.wrong_total - self.right_total


def find_violation(reward: BoundReward) -> Violation | None:
    """Return the worst violation of dominance over all enumerated cases; None if there is none.

    Scores real groups: every trained mode; need 1, 0 and undecided, with the largest and with no
    gain; wrong (grade 0) and right (grade 1) rollouts that never looked, looked once or 16 times,
    or failed to call; beside them nobody, or adaptive rollouts that look or do not. That fixes the
    other facts a reward may use (agreement, obedience, format, look share). Not covered: more than
    16 looks or 128 adaptive rollouts, and other make-ups of a group.
    """
    violations = []
    for mode, necessity, companions in product(TRAINED_MODES, _NECESSITIES, _COMPANIES):
        group = _group(mode, companions)
        rewards = reward(group, necessity)
        n = len(_BEHAVIOURS)
        wrong = zip(_BEHAVIOURS, rewards[:n], strict=True)
        right = zip(_BEHAVIOURS, rewards[n : 2 * n], strict=True)
        for (did_wrong, low), (did_right, high) in product(wrong, right):
            if low is not None and high is not None:
                violations.append(
                    Violation(mode, necessity.need, did_wrong, low.total, did_right, high.total)
                )
    worst = max(violations, key=lambda violation: violation.excess, default=None)
    return worst if worst is not None and worst.excess > _ROUNDING else None


def check_dominance(name: str, reward: BoundReward) -> None:
    """Raise unless every right rollout scores at least as much as every wrong one beside it.

    Args:
        name: The reward's name, for the message.
        reward: The reward with its config filled in.

    Raises:
        ConfigError: Naming the worst pair of rollouts and their totals.
    """
    worst = find_violation(reward)
    if worst is None:
        return
    need = "undecided" if worst.need is None else f"{worst.need:.0f}"
    raise ConfigError(
        f"reward {name} must never score a wrong rollout above a right one, got"
        f" {worst.wrong_total:.3f} for a wrong {worst.mode} rollout that {worst.wrong} against"
        f" {worst.right_total:.3f} for a right one that {worst.right} (need {need});"
        " lower the weights beside accuracy"
    )


@cache
def _group(mode: Mode, companions: tuple[Look, ...] | None) -> Group:
    """Return wrong and then right rollouts of each behaviour, then right adaptive companions."""
    compared = [_rollout(mode, looks) for looks in _BEHAVIOURS.values()]
    others = [] if companions is None else [_rollout(Mode.ADAPTIVE, companions)] * _COMPANIONS
    rollouts = (*compared, *compared, *others)
    grades = (0.0,) * len(compared) + (1.0,) * (len(compared) + len(others))
    return Group(Question("dominance", Path("none"), "", ""), rollouts, grades)


def _rollout(mode: Mode, looks: tuple[Look, ...]) -> Rollout:
    return Rollout(
        question_id="dominance",
        mode=mode,
        token_ids=(),
        is_sampled=(),
        logprobs=(),
        views=(),
        looks=looks,
        turns=(),
        answer="",
        stop=StopReason.ANSWERED,
        visual_tokens=0,
    )
