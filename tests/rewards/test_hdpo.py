from collections.abc import Callable
from typing import Any

import pytest

from lookless.episode import LookOutcome
from lookless.necessity import Necessity
from lookless.rewards.hdpo import HdpoReward, hdpo_reward

Make = Callable[..., Any]


def test_right_rollouts_earn_by_how_seldom_they_looked(
    make_rollout: Make, make_group: Make
) -> None:
    group = make_group(
        (make_rollout(0), 1.0),
        (make_rollout(2), 1.0),
        (make_rollout(0, failed=LookOutcome.OUTSIDE), 1.0),
    )
    rewards = hdpo_reward(group, Necessity(None, None, None, 0, 0, None), HdpoReward(weight=0.3))
    looks = [reward.parts["looks"] for reward in rewards if reward is not None]
    assert looks == pytest.approx([0.3, 0.1, 0.3])


def test_wrong_rollouts_have_no_part_for_looks(make_rollout: Make, make_group: Make) -> None:
    group = make_group((make_rollout(0), 0.0), (make_rollout(0), 0.5), (make_rollout(1), 1.0))
    rewards = hdpo_reward(group, Necessity(None, None, None, 0, 0, None), HdpoReward())
    assert [reward.parts for reward in rewards if reward is not None] == [
        {"accuracy": 0.0},
        {"accuracy": 0.5},
        {"accuracy": 1.0, "looks": 0.075},
    ]
