from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from lookless.episode import Group, LookOutcome, Mode
from lookless.necessity import Necessity
from lookless.rewards.visionthink import VisionThinkReward, visionthink_reward

Make = Callable[..., Any]


def totals(group: Group) -> list[float]:
    rewards = visionthink_reward(
        group, Necessity(None, None, None, 0, 0, None), VisionThinkReward()
    )
    return [reward.total for reward in rewards if reward is not None]


def test_looking_costs_a_tenth_of_the_accuracy(make_rollout: Make, make_group: Make) -> None:
    group = make_group((make_rollout(1), 1.0), (make_rollout(0), 1.0), (make_rollout(1), 0.0))
    assert totals(group) == pytest.approx([1.4, 1.5, 0.5])


def test_a_rare_right_direct_answer_counts_as_luck(make_rollout: Make, make_group: Make) -> None:
    looked, direct = (make_rollout(1), 1.0), (make_rollout(0), 1.0)
    wrong = (make_rollout(0), 0.0)
    # 1 of 6 right ones is below 0.2, 1 of 5 is not; wrong ones do not enter the share.
    assert totals(make_group(*[looked] * 5, direct, wrong)) == pytest.approx([1.4] * 6 + [0.5])
    assert totals(make_group(*[looked] * 4, direct, wrong)) == pytest.approx([1.4] * 4 + [1.5, 0.5])


def test_only_adaptive_rollouts_set_the_share(make_rollout: Make, make_group: Make) -> None:
    forced = (make_rollout(1, Mode.FORCED), 1.0)
    assert totals(make_group(*[forced] * 5, (make_rollout(0), 1.0))) == pytest.approx(
        [1.4] * 5 + [1.5]
    )


def test_bad_form_forgoes_the_format_reward(make_rollout: Make, make_group: Make) -> None:
    assert totals(make_group((make_rollout(0, failed=LookOutcome.MALFORMED), 1.0))) == [1.0]


def test_form_that_outweighs_being_right_is_refused() -> None:
    with pytest.raises(ValidationError, match="reward visionthink must never"):
        VisionThinkReward(format=0.95)
