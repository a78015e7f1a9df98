"""The reward of rollout-guided RL: be right, obey, look when needed, agree with oneself."""

from functools import partial
from typing import Self

from pydantic import Field, model_validator

from lookless.episode import Group, Mode, Rollout
from lookless.errors import ConfigError
from lookless.necessity import Necessity, decided_grades
from lookless.rewards.dominance import check_dominance
from lookless.rewards.parts import RewardConfig, RewardParts, look_share


class RgrlReward(RewardConfig):
    """Settings; the paper publishes no values, so the defaults are our reading."""

    lambda_instr: float = Field(default=0.1, ge=0.0)
    """Paid to a forced or prohibited rollout that obeyed."""
    lambda_align: float = Field(default=0.5, ge=0.0)
    """Weight of alignment with necessity in adaptive rollouts."""
    gamma: float = Field(default=0.1, ge=0.0)
    """Paid to an adaptive rollout that agrees with the majority."""
    b1: float = 0.0
    """Alignment when a look is needed: answer wrong,"""
    b2: float = 1.0
    """right and looked,"""
    b3: float = 0.5
    """right without looking."""
    c1: float = 0.0
    """Alignment when no look is needed: answer wrong,"""
    c2: float = 0.5
    """right and looked,"""
    c3: float = 1.0
    """right without looking."""
    scale_by_gain: bool = True
    """Whether alignment is multiplied by |p_look - p_no_look|, so that it pays what it matters."""
    look_price: float = Field(default=0.0, ge=0.0)
    """Taken off every adaptive rollout that looked, right or wrong."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for better, worse in (("b2", "b3"), ("c3", "c2")):
            high, low = getattr(self, better), getattr(self, worse)
            if high <= low:
                raise ConfigError(
                    f"{better} must be greater than {worse}, got {high} and {low};"
                    f" raise {better} or lower {worse}"
                )
        check_dominance("rgrl", partial(rgrl_reward, config=self))
        return self


def rgrl_reward(group: Group, necessity: Necessity, config: RgrlReward) -> list[RewardParts | None]:
    """Return each rollout's parts; None where the grade is undecidable.

    Forced and prohibited: accuracy `c`, instruction `lambda_instr * [obeyed]`. Adaptive: accuracy
    `c`, align `lambda_align * align(need, used, c)`, agree `gamma * [used as the majority]`, price
    `-look_price * used`. A grade above 0 counts as right in `align`. An undecided need pays no
    alignment. The majority is that of the graded adaptive rollouts; where they split evenly there
    is none, and nobody is paid for agreeing.

    Source: "Look Less, Reason More" (arXiv 2510.01681) names the parts; the exact form, the gain
    scale and the price are ours.
    """
    share = look_share(group)
    majority = None if share is None or share == 0.5 else share > 0.5
    rewards: list[RewardParts | None] = []
    for rollout, grade in zip(group.rollouts, decided_grades(group), strict=True):
        if grade is None:
            rewards.append(None)
        elif rollout.mode is Mode.ADAPTIVE:
            rewards.append(_adaptive(rollout, grade, necessity, majority, config))
        else:
            instruction = config.lambda_instr * rollout.is_obedient
            rewards.append(RewardParts({"accuracy": grade, "instruction": instruction}))
    return rewards


def _adaptive(
    rollout: Rollout,
    grade: float,
    necessity: Necessity,
    majority: bool | None,
    config: RgrlReward,
) -> RewardParts:
    used = rollout.is_used
    scale = abs(necessity.gain or 0.0) if config.scale_by_gain else 1.0
    return RewardParts(
        {
            "accuracy": grade,
            "align": config.lambda_align * scale * _align(necessity.need, used, grade, config),
            "agree": config.gamma * (used is majority),
            "price": -config.look_price * used,
        }
    )


def _align(need: float | None, used: bool, grade: float, config: RgrlReward) -> float:
    if need is None:
        return 0.0
    wrong, looked, direct = (
        (config.b1, config.b2, config.b3) if need else (config.c1, config.c2, config.c3)
    )
    if grade == 0.0:
        return wrong
    return looked if used else direct
