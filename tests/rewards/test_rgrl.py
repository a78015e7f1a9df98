from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from lookless.episode import Group, LookOutcome, Mode, Rollout, StopReason
from lookless.errors import ConfigError
from lookless.necessity import Necessity
from lookless.rewards.rgrl import RgrlReward, rgrl_reward

Make = Callable[..., Any]

NEEDED = Necessity(1.0, 0.75, 0.25, 4, 4, None)
NOT_NEEDED = Necessity(0.0, 0.5, 0.75, 4, 4, None)
TIE = Necessity(0.0, 1.0, 1.0, 4, 4, None)
UNDECIDED = Necessity(None, 0.5, 0.25, 4, 4, None)

LOOKED, DIRECT = 1, 0


def totals(group: Group, necessity: Necessity, **settings: Any) -> list[float | None]:
    rewards = rgrl_reward(group, necessity, RgrlReward(**{"scale_by_gain": False, **settings}))
    return [None if reward is None else round(reward.total, 12) for reward in rewards]


# lambda_align 0.5 times b = (0, 1, 0.5) or c = (0, 0.5, 1); gamma is off here.
@pytest.mark.parametrize(
    ("necessity", "looks", "grade", "total"),
    [
        (NEEDED, LOOKED, 0.0, 0.0),
        (NEEDED, DIRECT, 0.0, 0.0),
        (NEEDED, LOOKED, 1.0, 1.5),
        (NEEDED, DIRECT, 1.0, 1.25),
        (NEEDED, LOOKED, 0.3, 0.8),
        (NOT_NEEDED, LOOKED, 0.0, 0.0),
        (NOT_NEEDED, DIRECT, 0.0, 0.0),
        (NOT_NEEDED, LOOKED, 1.0, 1.25),
        (NOT_NEEDED, DIRECT, 1.0, 1.5),
        (UNDECIDED, LOOKED, 1.0, 1.0),
        (UNDECIDED, DIRECT, 1.0, 1.0),
    ],
)
def test_alignment_pays_by_need_use_and_grade(
    make_rollout: Make,
    make_group: Make,
    necessity: Necessity,
    looks: int,
    grade: float,
    total: float,
) -> None:
    group = make_group((make_rollout(looks), grade))
    assert totals(group, necessity, gamma=0.0) == [total]


def test_wrong_answers_get_b1_or_c1(make_rollout: Make, make_group: Make) -> None:
    group = make_group((make_rollout(LOOKED), 0.0), (make_rollout(DIRECT), 0.0))
    assert totals(group, NEEDED, b1=-0.4, gamma=0.0) == [-0.2, -0.2]
    assert totals(group, NOT_NEEDED, c1=-1.0, gamma=0.0) == [-0.5, -0.5]


def test_the_majority_of_adaptive_rollouts_is_paid_for_agreeing(
    make_rollout: Make, make_group: Make
) -> None:
    group = make_group(
        (make_rollout(LOOKED), 1.0),
        (make_rollout(LOOKED), 0.0),
        (make_rollout(DIRECT), 1.0),
        (make_rollout(DIRECT, Mode.PROHIBITED), 1.0),
        (make_rollout(DIRECT, Mode.PROHIBITED), 1.0),
    )
    assert totals(group, UNDECIDED) == [1.1, 0.1, 1.0, 1.1, 1.1]


def test_an_even_split_pays_nobody_for_agreeing(make_rollout: Make, make_group: Make) -> None:
    group = make_group((make_rollout(LOOKED), 1.0), (make_rollout(DIRECT), 1.0))
    assert totals(group, UNDECIDED) == [1.0, 1.0]


def test_undecidable_and_failed_rollouts_get_none_and_no_vote(
    make_rollout: Make, make_group: Make
) -> None:
    group = make_group(
        (make_rollout(DIRECT), None),
        (make_rollout(DIRECT, stop=StopReason.FAULT), 1.0),
        (make_rollout(LOOKED), 1.0),
    )
    assert totals(group, UNDECIDED) == [None, None, 1.1]


@pytest.mark.parametrize(
    ("mode", "looks", "failed", "instruction"),
    [
        (Mode.FORCED, 1, None, 0.1),
        (Mode.FORCED, 0, None, 0.0),
        (Mode.FORCED, 0, LookOutcome.MALFORMED, 0.0),
        (Mode.PROHIBITED, 0, None, 0.1),
        (Mode.PROHIBITED, 0, LookOutcome.REFUSED, 0.0),
    ],
)
def test_forced_and_prohibited_rollouts_are_paid_for_obeying_only(
    make_rollout: Make,
    make_group: Make,
    mode: Mode,
    looks: int,
    failed: LookOutcome | None,
    instruction: float,
) -> None:
    rollout: Rollout = make_rollout(looks, mode, failed=failed)
    [reward] = rgrl_reward(make_group((rollout, 1.0)), NEEDED, RgrlReward())
    assert reward is not None
    assert reward.parts == {"accuracy": 1.0, "instruction": instruction}


def test_parts_name_what_paid(make_rollout: Make, make_group: Make) -> None:
    config = RgrlReward(look_price=0.2, scale_by_gain=False)
    [reward] = rgrl_reward(make_group((make_rollout(LOOKED), 1.0)), NEEDED, config)
    assert reward is not None
    assert reward.parts == {"accuracy": 1.0, "align": 0.5, "agree": 0.1, "price": -0.2}


def test_alignment_scales_with_the_gain(make_rollout: Make, make_group: Make) -> None:
    group = make_group((make_rollout(LOOKED), 1.0), (make_rollout(DIRECT), 1.0))
    # |0.75 - 0.25| = 0.5 halves alignment, |0.5 - 0.75| = 0.25 quarters it, a tie removes it.
    assert totals(group, NEEDED, scale_by_gain=True) == [1.25, 1.125]
    assert totals(group, NOT_NEEDED, scale_by_gain=True) == [1.0625, 1.125]
    assert totals(group, TIE, scale_by_gain=True) == [1.0, 1.0]


def test_the_look_price_is_paid_once_by_adaptive_rollouts_that_looked(
    make_rollout: Make, make_group: Make
) -> None:
    group = make_group(
        (make_rollout(2), 1.0),
        (make_rollout(1), 0.0),
        (make_rollout(0), 1.0),
        (make_rollout(0, failed=LookOutcome.MALFORMED), 1.0),
        (make_rollout(1, Mode.FORCED), 1.0),
    )
    assert totals(group, UNDECIDED, look_price=0.25) == [0.75, -0.25, 1.0, 1.0, 1.1]


def test_defaults_rank_every_right_rollout_above_every_wrong_one() -> None:
    RgrlReward()
    RgrlReward(scale_by_gain=False, look_price=0.5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        # 0.5 * 3 + 0.1 agree, against 1 + 0.5 * 0.5
        (
            {"c1": 3.0, "scale_by_gain": False},
            r"got 1\.600 for a wrong adaptive .* against 1\.250 for a right one that loo",
        ),
        ({"lambda_instr": 1.5}, r"got 1\.500 for a wrong forced .* against 1\.000 for a right one"),
        (
            {"look_price": 2.0},
            r"got 0\.100 for a wrong adaptive .* against -1\.000 for a right one",
        ),
        (
            {"gamma": 1.5, "scale_by_gain": False},
            r"got 1\.500 for a wrong adaptive .* \(need undecided\)",
        ),
        ({"b3": -4.0, "scale_by_gain": True}, r"against -1\.000 .* never looked \(need 1\)"),
        ({"b2": 0.5}, r"b2 must be greater than b3, got 0\.5 and 0\.5; raise b2"),
        ({"c3": 0.1}, r"c3 must be greater than c2, got 0\.1 and 0\.5; raise c3"),
    ],
)
def test_a_config_under_which_being_wrong_pays_is_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        RgrlReward(**settings)
    # pydantic wraps what its validators raise; the original stays within reach of the loader.
    [error] = caught.value.errors()
    assert isinstance(error["ctx"]["error"], ConfigError)
    assert "\n" not in str(error["ctx"]["error"])


@pytest.mark.parametrize(
    "settings",
    [{"gama": 0.1}, {"gamma": -0.1}, {"b1": float("nan")}, {"lambda_align": float("inf")}],
)
def test_unknown_or_out_of_range_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RgrlReward(**settings)
