"""What holds for every reward in the table."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from lookless.episode import Mode, StopReason
from lookless.necessity import Necessity
from lookless.rewards import REWARDS
from lookless.rewards.dominance import find_violation

Make = Callable[..., Any]
UNDECIDED = Necessity(None, None, None, 0, 0, None)

every_reward = pytest.mark.parametrize("name", REWARDS)


@every_reward
def test_published_defaults_never_rank_wrong_above_right(name: str) -> None:
    function, config = REWARDS[name]
    settings = config()
    assert find_violation(lambda group, need: function(group, need, settings)) is None


@every_reward
def test_undecidable_and_failed_rollouts_get_none_in_their_place(
    make_rollout: Make, make_group: Make, name: str
) -> None:
    group = make_group(
        (make_rollout(1), None),
        (make_rollout(0), 1.0),
        (make_rollout(0, stop=StopReason.FAULT), 1.0),
        (make_rollout(1, Mode.FORCED), 0.0),
        (make_rollout(0, Mode.PROHIBITED), 1.0),
    )
    function, config = REWARDS[name]
    rewards = function(group, UNDECIDED, config())
    assert [reward is None for reward in rewards] == [True, False, True, False, False]


@every_reward
def test_an_empty_group_gives_no_rewards(make_group: Make, name: str) -> None:
    function, config = REWARDS[name]
    assert function(make_group(), UNDECIDED, config()) == []


@every_reward
def test_configs_are_frozen_and_refuse_unknown_names(name: str) -> None:
    config = REWARDS[name].config
    with pytest.raises(ValidationError):
        config(unheard_of=1)  # type: ignore[call-arg]
    for field in config.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(config(), field, 0.0)
