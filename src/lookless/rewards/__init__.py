"""Rewards: pure functions from a query's group of rollouts to one reward per rollout.

To add one, write a function `(group, necessity, config) -> list[RewardParts | None]` and its config
in a file of its own, and name both in `REWARDS`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from lookless.episode import Group
from lookless.necessity import Necessity
from lookless.rewards.accuracy import AccuracyReward, accuracy_reward
from lookless.rewards.deepeyes import DeepEyesReward, deepeyes_reward
from lookless.rewards.dominance import Violation, check_dominance, find_violation
from lookless.rewards.hdpo import HdpoReward, hdpo_reward
from lookless.rewards.parts import RewardConfig, RewardParts
from lookless.rewards.pixel_reasoner import PixelReasonerReward, pixel_reasoner_reward
from lookless.rewards.rgrl import RgrlReward, rgrl_reward
from lookless.rewards.visionthink import VisionThinkReward, visionthink_reward

__all__ = [
    "REWARDS",
    "AccuracyReward",
    "DeepEyesReward",
    "HdpoReward",
    "PixelReasonerReward",
    "Reward",
    "RewardConfig",
    "RewardParts",
    "RgrlReward",
    "Violation",
    "VisionThinkReward",
    "accuracy_reward",
    "check_dominance",
    "deepeyes_reward",
    "find_violation",
    "hdpo_reward",
    "pixel_reasoner_reward",
    "rgrl_reward",
    "visionthink_reward",
]


class Reward(NamedTuple):
    """A reward function and the settings it takes."""

    function: Callable[[Group, Necessity, Any], list[RewardParts | None]]
    """Any is the config: each function takes only its own."""
    config: type[RewardConfig]


REWARDS: dict[str, Reward] = {
    "rgrl": Reward(rgrl_reward, RgrlReward),
    "accuracy": Reward(accuracy_reward, AccuracyReward),
    "pixel_reasoner": Reward(pixel_reasoner_reward, PixelReasonerReward),
    "deepeyes": Reward(deepeyes_reward, DeepEyesReward),
    "hdpo": Reward(hdpo_reward, HdpoReward),
    "visionthink": Reward(visionthink_reward, VisionThinkReward),
}
