from typing import cast

import pytest

from lookless.episode import TRAINED_MODES, Group, Mode
from lookless.errors import ConfigError
from lookless.necessity import Necessity
from lookless.rewards.dominance import (
    MOST_LOOKS,
    BoundReward,
    check_dominance,
    find_violation,
)
from lookless.rewards.parts import RewardParts


def accuracy_plus(
    extra: float, when_looks: int, when_mode: Mode, when_need: float | None
) -> BoundReward:
    """Return a reward that pays `extra` for one number of looks in one mode under one need."""

    def reward(group: Group, necessity: Necessity) -> list[RewardParts | None]:
        return [
            RewardParts(
                {
                    "accuracy": cast(float, grade),
                    "extra": extra
                    * (
                        rollout.executed_looks == when_looks
                        and rollout.mode is when_mode
                        and necessity.need == when_need
                    ),
                }
            )
            for rollout, grade in zip(group.rollouts, group.grades, strict=True)
        ]

    return reward


@pytest.mark.parametrize("looks", [0, 1, MOST_LOOKS])
@pytest.mark.parametrize("mode", TRAINED_MODES)
@pytest.mark.parametrize("need", [1.0, 0.0, None])
def test_a_violation_in_any_single_case_is_found(
    looks: int, mode: Mode, need: float | None
) -> None:
    violation = find_violation(accuracy_plus(1.25, looks, mode, need))
    assert violation is not None
    assert (violation.mode, violation.need) == (mode, need)
    assert (violation.wrong_total, violation.right_total) == (1.25, 1.0)
    assert violation.excess == 0.25


def test_equal_scores_are_no_violation() -> None:
    assert find_violation(accuracy_plus(1.0, 1, Mode.ADAPTIVE, 1.0)) is None


def test_rollouts_without_a_reward_are_no_violation() -> None:
    assert find_violation(lambda group, necessity: [None] * len(group.rollouts)) is None


def test_the_message_shows_both_rollouts_with_their_totals() -> None:
    with pytest.raises(ConfigError) as caught:
        check_dominance("mine", accuracy_plus(1.5, 1, Mode.FORCED, 0.0))
    assert str(caught.value) == (
        "reward mine must never score a wrong rollout above a right one, got 1.500 for a wrong"
        " forced rollout that looked once against 1.000 for a right one that never looked (need 0);"
        " lower the weights beside accuracy"
    )
