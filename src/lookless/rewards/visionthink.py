"""VisionThink's reward: looking costs a share of accuracy, and so do lucky direct answers."""

from functools import partial
from typing import Self

from pydantic import Field, model_validator

from lookless.episode import Group
from lookless.necessity import Necessity, decided_grades
from lookless.rewards.dominance import check_dominance
from lookless.rewards.parts import (
    RewardConfig,
    RewardParts,
    decided_adaptive,
    is_right,
    is_well_formed,
)


class VisionThinkReward(RewardConfig):
    """Settings; the defaults are the published form."""

    penalty: float = Field(default=0.1, ge=0.0, le=1.0)
    """Share of the accuracy that is taken off."""
    threshold: float = Field(default=0.2, ge=0.0, le=1.0)
    """Share of direct answers among the right ones below which direct answers count as luck."""
    format: float = Field(default=0.5, ge=0.0)
    """Paid to a well-formed rollout."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_dominance("visionthink", partial(visionthink_reward, config=self))
        return self


def visionthink_reward(
    group: Group, necessity: Necessity, config: VisionThinkReward
) -> list[RewardParts | None]:
    """Return accuracy, penalty and format: `c - 0.1 c [penalised] + 0.5 format`.

    Penalised is every rollout that looked; and, where the share t of rollouts that did not look
    among the right adaptive ones is positive but below the threshold, the right ones that did not
    look, too.

    Source: VisionThink (arXiv 2507.13348), as in its code; the paper takes the penalty off only one
    of the two kinds at a time. Ours: the operation is a crop, not the whole image enlarged.
    """
    right = [rollout for rollout, grade in decided_adaptive(group) if is_right(grade)]
    direct = sum(not rollout.is_used for rollout in right)
    is_luck = direct > 0 and direct / len(right) < config.threshold
    rewards: list[RewardParts | None] = []
    for rollout, grade in zip(group.rollouts, decided_grades(group), strict=True):
        if grade is None:
            rewards.append(None)
            continue
        is_penalised = rollout.is_used or (is_luck and is_right(grade))
        rewards.append(
            RewardParts(
                {
                    "accuracy": grade,
                    "penalty": -config.penalty * grade * is_penalised,
                    "format": config.format * is_well_formed(rollout),
                }
            )
        )
    return rewards
