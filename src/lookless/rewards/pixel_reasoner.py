"""Pixel Reasoner's curiosity reward: pays for looking while few rollouts of the group look."""

from functools import partial
from typing import Self

from pydantic import Field, model_validator

from lookless.episode import Group
from lookless.necessity import Necessity, decided_grades
from lookless.rewards.dominance import check_dominance
from lookless.rewards.parts import RewardConfig, RewardParts, look_share


class PixelReasonerReward(RewardConfig):
    """Settings; the defaults are the published form."""

    curiosity: float = Field(default=0.5, ge=0.0)
    """Weight of the bonus."""
    target_share: float = Field(default=0.3, ge=0.0, le=1.0)
    """Look share of the group from which on looking earns no bonus."""
    look_price: float = Field(default=0.05, ge=0.0)
    """Paid for each executed look after the first."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_dominance("pixel_reasoner", partial(pixel_reasoner_reward, config=self))
        return self


def pixel_reasoner_reward(
    group: Group, necessity: Necessity, config: PixelReasonerReward
) -> list[RewardParts | None]:
    """Return accuracy, curiosity and price: `c + 0.5 max(0.3 - RaPR, 0) used - 0.05 max(n - 1, 0)`.

    RaPR is the share of the graded adaptive rollouts that looked, n the rollout's executed looks.
    The bonus does not ask whether the answer is right. Without adaptive rollouts there is no bonus.

    Source: Pixel Reasoner (arXiv 2505.15966), the paper's form; its own code differs.
    """
    share = look_share(group)
    bonus = 0.0 if share is None else config.curiosity * max(config.target_share - share, 0.0)
    return [
        None
        if grade is None
        else RewardParts(
            {
                "accuracy": grade,
                "curiosity": bonus * rollout.is_used,
                "price": -config.look_price * max(rollout.executed_looks - 1, 0),
            }
        )
        for rollout, grade in zip(group.rollouts, decided_grades(group), strict=True)
    ]
