"""DeepEyes' reward: a right answer that looked is worth 2.5 times one that did not."""

from functools import partial
from typing import Self

from pydantic import Field, model_validator

from lookless.episode import Group
from lookless.necessity import Necessity, decided_grades
from lookless.rewards.dominance import check_dominance
from lookless.rewards.parts import RewardConfig, RewardParts, is_right, is_well_formed


class DeepEyesReward(RewardConfig):
    """Settings; the defaults are the published form."""

    accuracy: float = Field(default=0.8, ge=0.0)
    format: float = Field(default=0.2, ge=0.0)
    """Taken off a rollout that is not well-formed."""
    look: float = Field(default=1.2, ge=0.0)
    """Paid to a right rollout that looked."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_dominance("deepeyes", partial(deepeyes_reward, config=self))
        return self


def deepeyes_reward(
    group: Group, necessity: Necessity, config: DeepEyesReward
) -> list[RewardParts | None]:
    """Return accuracy, format and look: `0.8 c + 0.2 format + 1.2 [c > 0.5 and used]`.

    `format` is 0 for a well-formed rollout and -1 otherwise.

    Source: DeepEyes (arXiv 2505.14362), as in its code. Ours: well-formed means a final answer and
    no unparsable tool call, where DeepEyes counts its own tags.
    """
    return [
        None
        if grade is None
        else RewardParts(
            {
                "accuracy": config.accuracy * grade,
                "format": 0.0 if is_well_formed(rollout) else -config.format,
                "look": config.look * (is_right(grade) and rollout.is_used),
            }
        )
        for rollout, grade in zip(group.rollouts, decided_grades(group), strict=True)
    ]
