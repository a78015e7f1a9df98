from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from lookless.episode import Group, Mode
from lookless.necessity import Necessity
from lookless.rewards.pixel_reasoner import PixelReasonerReward, pixel_reasoner_reward

Make = Callable[..., Any]


def totals(group: Group, **settings: float) -> list[float]:
    rewards = pixel_reasoner_reward(
        group, Necessity(None, None, None, 0, 0, None), PixelReasonerReward(**settings)
    )
    return [reward.total for reward in rewards if reward is not None]


def test_one_looker_of_eight_gets_the_curiosity_bonus_even_if_wrong(
    make_rollout: Make, make_group: Make
) -> None:
    group = make_group((make_rollout(1), 0.0), *[(make_rollout(0), 1.0)] * 7)
    # 0.5 * (0.3 - 1/8) = 0.0875
    assert totals(group) == pytest.approx([0.0875] + [1.0] * 7)


def test_from_the_target_share_on_looking_earns_nothing(
    make_rollout: Make, make_group: Make
) -> None:
    group = make_group((make_rollout(1), 1.0), (make_rollout(0), 1.0))
    assert totals(group) == [1.0, 1.0]


def test_each_look_after_the_first_has_its_price(make_rollout: Make, make_group: Make) -> None:
    group = make_group(*[(make_rollout(looks), 1.0) for looks in (1, 2, 4)])
    assert totals(group) == pytest.approx([1.0, 0.95, 0.85])


def test_only_adaptive_rollouts_set_the_look_share(make_rollout: Make, make_group: Make) -> None:
    forced = (make_rollout(1, Mode.FORCED), 1.0)
    group = make_group(*[forced] * 3, (make_rollout(0), 1.0))
    assert totals(group) == pytest.approx([1.15] * 3 + [1.0])
    assert totals(make_group(forced)) == [1.0]


def test_a_bonus_that_outweighs_being_right_is_refused() -> None:
    with pytest.raises(ValidationError, match="reward pixel_reasoner must never"):
        PixelReasonerReward(curiosity=10.0)
    with pytest.raises(ValidationError, match="looked 16 times"):
        PixelReasonerReward(look_price=0.5)
