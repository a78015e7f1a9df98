from collections.abc import Callable
from pathlib import Path

import pytest

from lookless.episode import Group, Look, LookOutcome, Mode, Question, Rollout, StopReason

MakeRollout = Callable[..., Rollout]


@pytest.fixture
def make_rollout() -> MakeRollout:
    """Return a maker of rollouts that execute `looks` looks, and fail as `failed` says."""

    def make(
        looks: int = 0,
        mode: Mode = Mode.ADAPTIVE,
        stop: StopReason = StopReason.ANSWERED,
        failed: LookOutcome | None = None,
    ) -> Rollout:
        return Rollout(
            question_id="q",
            mode=mode,
            token_ids=(),
            is_sampled=(),
            logprobs=(),
            views=(),
            looks=(Look(LookOutcome.EXECUTED),) * looks + ((Look(failed),) if failed else ()),
            turns=(),
            answer=None,
            stop=stop,
            visual_tokens=0,
        )

    return make


@pytest.fixture
def make_group() -> Callable[..., Group]:
    """Return a maker of groups from (rollout, grade) pairs."""

    def make(*graded: tuple[Rollout, float | None]) -> Group:
        rollouts = tuple(rollout for rollout, _ in graded)
        return Group(Question("q", Path("i.png"), "", ""), rollouts, tuple(g for _, g in graded))

    return make
