"""Metis' HDPO reward: accuracy, and economy among the right rollouts only."""

from pydantic import Field

from lookless.episode import Group
from lookless.necessity import Necessity, decided_grades
from lookless.rewards.parts import RewardConfig, RewardParts, is_right


class HdpoReward(RewardConfig):
    """Settings."""

    weight: float = Field(default=0.15, ge=0.0, le=1.0)
    """Weight of economy beside accuracy; above 1 a right rollout with many looks could get a lower
    advantage than a wrong one."""


def hdpo_reward(group: Group, necessity: Necessity, config: HdpoReward) -> list[RewardParts | None]:
    """Return accuracy for all, and `weight / (looks + 1)` as "looks" for right rollouts.

    A wrong rollout has no part "looks" at all: that tells `advantages.hdpo_advantages`, for which
    this reward is made, whom to leave out. Looks are the executed ones.

    Source: Metis (arXiv 2604.08545). Ours: no format term in the accuracy.
    """
    rewards: list[RewardParts | None] = []
    for rollout, grade in zip(group.rollouts, decided_grades(group), strict=True):
        if grade is None:
            rewards.append(None)
            continue
        parts = {"accuracy": grade}
        if is_right(grade):
            parts["looks"] = config.weight / (rollout.executed_looks + 1)
        rewards.append(RewardParts(parts))
    return rewards
