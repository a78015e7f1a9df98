from collections.abc import Callable
from typing import Any

from lookless.necessity import Necessity
from lookless.rewards.accuracy import AccuracyReward, accuracy_reward
from lookless.rewards.parts import RewardParts

Make = Callable[..., Any]


def test_the_reward_is_the_grade(make_rollout: Make, make_group: Make) -> None:
    group = make_group((make_rollout(3), 0.25), (make_rollout(0), 1.0), (make_rollout(0), None))
    rewards = accuracy_reward(group, Necessity(1.0, 1.0, 0.0, 4, 4, None), AccuracyReward())
    assert rewards == [RewardParts({"accuracy": 0.25}), RewardParts({"accuracy": 1.0}), None]
