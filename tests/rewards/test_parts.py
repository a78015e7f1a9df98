from collections.abc import Callable
from typing import Any

import pytest

from lookless.episode import LookOutcome, Mode, StopReason
from lookless.rewards.parts import RewardParts, is_well_formed, look_share

Make = Callable[..., Any]


def test_total_is_the_sum_of_the_parts() -> None:
    assert RewardParts({"accuracy": 1.0, "price": -0.25}).total == 0.75
    assert RewardParts({}).total == 0.0


@pytest.mark.parametrize(
    ("stop", "failed", "expected"),
    [
        (StopReason.ANSWERED, None, True),
        (StopReason.ANSWERED, LookOutcome.OUTSIDE, True),
        (StopReason.ANSWERED, LookOutcome.MALFORMED, False),
        (StopReason.NO_ANSWER, None, False),
        (StopReason.TURN_LENGTH, None, False),
    ],
)
def test_well_formed_means_answered_and_every_call_parsed(
    make_rollout: Make, stop: StopReason, failed: LookOutcome | None, expected: bool
) -> None:
    assert is_well_formed(make_rollout(1, stop=stop, failed=failed)) is expected


def test_look_share_counts_graded_adaptive_rollouts_with_an_executed_look(
    make_rollout: Make, make_group: Make
) -> None:
    group = make_group(
        (make_rollout(1), 0.0),
        (make_rollout(0), 1.0),
        (make_rollout(0, failed=LookOutcome.MALFORMED), 1.0),
        (make_rollout(2), 1.0),
        (make_rollout(1), None),
        (make_rollout(1, stop=StopReason.FAULT), 1.0),
        (make_rollout(1, Mode.FORCED), 1.0),
    )
    assert look_share(group) == 0.5


def test_look_share_of_no_adaptive_rollouts_is_none(make_rollout: Make, make_group: Make) -> None:
    assert look_share(make_group((make_rollout(1, Mode.FORCED), 1.0))) is None
