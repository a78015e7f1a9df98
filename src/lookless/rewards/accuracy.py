"""The plainest baseline: being right is all that pays."""

from lookless.episode import Group
from lookless.necessity import Necessity, decided_grades
from lookless.rewards.parts import RewardConfig, RewardParts


class AccuracyReward(RewardConfig):
    """No settings."""


def accuracy_reward(
    group: Group, necessity: Necessity, config: AccuracyReward
) -> list[RewardParts | None]:
    """Return `{"accuracy": grade}` per rollout; None where the grade is undecidable."""
    return [
        None if grade is None else RewardParts({"accuracy": grade})
        for grade in decided_grades(group)
    ]
