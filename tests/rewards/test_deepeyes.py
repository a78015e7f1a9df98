from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from lookless.episode import LookOutcome, StopReason
from lookless.necessity import Necessity
from lookless.rewards.deepeyes import DeepEyesReward, deepeyes_reward

Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("looks", "failed", "stop", "grade", "total"),
    [
        (1, None, StopReason.ANSWERED, 1.0, 2.0),
        (3, None, StopReason.ANSWERED, 1.0, 2.0),
        (0, None, StopReason.ANSWERED, 1.0, 0.8),
        (1, None, StopReason.ANSWERED, 0.5, 0.4),
        (1, None, StopReason.ANSWERED, 0.0, 0.0),
        (0, LookOutcome.MALFORMED, StopReason.ANSWERED, 1.0, 0.6),
        (0, LookOutcome.OUTSIDE, StopReason.ANSWERED, 1.0, 0.8),
        (1, None, StopReason.NO_ANSWER, 0.0, -0.2),
    ],
)
def test_looking_pays_right_answers_and_bad_form_costs(
    make_rollout: Make,
    make_group: Make,
    looks: int,
    failed: LookOutcome | None,
    stop: StopReason,
    grade: float,
    total: float,
) -> None:
    group = make_group((make_rollout(looks, failed=failed, stop=stop), grade))
    necessity = Necessity(0.0, 1.0, 1.0, 4, 4, None)
    [reward] = deepeyes_reward(group, necessity, DeepEyesReward())
    assert reward is not None
    assert reward.total == pytest.approx(total)


def test_form_that_outweighs_being_right_is_refused() -> None:
    with pytest.raises(ValidationError, match="reward deepeyes must never"):
        DeepEyesReward(format=0.9)
