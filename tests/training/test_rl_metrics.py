from dataclasses import replace
from pathlib import Path

import pytest

from lookless.episode import (
    Group,
    Look,
    LookOutcome,
    Mode,
    Question,
    Rollout,
    StopReason,
)  # fmt: skip
from lookless.necessity import Necessity
from lookless.rewards import RewardParts
from lookless.training.rl_metrics import of_step
from lookless.training.scoring import ScoredGroup

EMPTY = Rollout(
    "q",
    Mode.ADAPTIVE,
    (1, 2),
    (False, True),
    (0.0, -1.0),
    (),
    (),
    (),
    None,
    StopReason.ANSWERED,
    25,
)
LOOKED = replace(EMPTY, looks=(Look(LookOutcome.EXECUTED),), visual_tokens=50)


def group_of(
    needs_look: bool | None, detail_px: float | None, rollouts: list[Rollout], need: float | None
) -> ScoredGroup:
    question = Question("q", Path("i.png"), "?", "", needs_look=needs_look, detail_px=detail_px)
    n = len(rollouts)
    known = Necessity(need, 1.0, 0.0, 4, 4, None)
    grades = tuple(None if r.stop is StopReason.FAULT else 1.0 for r in rollouts)
    parts = [None if g is None else RewardParts({"accuracy": g, "align": 0.5}) for g in grades]
    return ScoredGroup(
        Group(question, tuple(rollouts), grades), known, known, known, parts, [0.0] * n, [None] * n
    )


def test_nothing_gives_no_number() -> None:
    assert of_step([]) == {}


def test_rates_are_told_apart_by_mode_and_need() -> None:
    forced = replace(EMPTY, mode=Mode.FORCED)
    metrics = of_step(
        [
            group_of(True, 2.5, [LOOKED, EMPTY, forced, replace(LOOKED, mode=Mode.FORCED)], 1.0),
            group_of(False, 12.0, [EMPTY, EMPTY], 1.0),
        ]
    )
    assert metrics["look_rate/adaptive"] == 0.25
    assert metrics["look_rate/adaptive/needed"] == 0.5
    assert metrics["look_rate/adaptive/not_needed"] == 0.0
    assert metrics["look_rate/size/0"] == 0.5
    assert metrics["look_rate/size/10"] == 0.0
    assert metrics["look_rate/forced"] == metrics["obeyed/forced"] == 0.5
    assert metrics["reward/adaptive"] == 1.5
    assert metrics["reward/part/align"] == 0.5
    assert metrics["stop/answered"] == 1.0
    assert metrics["necessity/strict/wrong"] == metrics["necessity/posterior/wrong"] == 0.5
    assert metrics["necessity/truth"] == 0.5
    assert metrics["rollout/sampled_tokens"] == 1
    assert metrics["rollout/visual_tokens"] == pytest.approx((25 * 4 + 50 * 2) / 6)
    assert "accuracy/prohibited" not in metrics
    assert "look_rate/size/5" not in metrics


def test_undecided_grades_are_left_out_of_means() -> None:
    fault = replace(EMPTY, stop=StopReason.FAULT)
    metrics = of_step([group_of(None, None, [EMPTY, fault], None)])
    assert metrics["accuracy/adaptive"] == 1.0
    assert metrics["reward/part/accuracy"] == 1.0
    assert metrics["stop/fault"] == 0.5
    assert not any(name.startswith("look_rate/size") for name in metrics)
    assert "necessity/truth" not in metrics


def test_faults_are_left_out_of_look_rates() -> None:
    fault = replace(EMPTY, stop=StopReason.FAULT)
    metrics = of_step([group_of(True, 2.5, [LOOKED, fault], None)])
    assert metrics["look_rate/adaptive"] == 1.0


def test_look_that_changes_the_answer_is_told_from_an_idle_one() -> None:
    may_not = [replace(EMPTY, mode=Mode.PROHIBITED, answer=a) for a in ("K7", "K8", "K8")]
    fault = replace(may_not[0], stop=StopReason.FAULT)
    looked = [replace(LOOKED, answer=a) for a in ("K7", "K8", "K8", None)]
    unlooked = replace(EMPTY, answer="K9")
    metrics = of_step([group_of(None, None, [*may_not, fault, fault, *looked, unlooked], 1.0)])
    assert metrics["look/changed_answer"] == 0.5
    # Where none has an answer without a look, having one is a change.
    mute = replace(EMPTY, mode=Mode.PROHIBITED)
    metrics = of_step([group_of(None, None, [mute, LOOKED, looked[0]], 1.0)])
    assert metrics["look/changed_answer"] == 0.5


@pytest.mark.parametrize(
    "rollouts",
    [[LOOKED], [EMPTY, replace(EMPTY, mode=Mode.PROHIBITED)], [replace(LOOKED, mode=Mode.FORCED)]],
)
def test_nothing_is_known_of_changes_without_looks_or_without_prohibited_rollouts(
    rollouts: list[Rollout],
) -> None:
    assert "look/changed_answer" not in of_step([group_of(None, None, rollouts, 1.0)])


def test_bad_calls_are_those_that_no_mode_would_execute() -> None:
    good = (
        LookOutcome.EXECUTED, LookOutcome.TOO_SMALL, LookOutcome.REPEATED, LookOutcome.TOO_MANY,
        LookOutcome.REFUSED,
    )  # fmt: skip
    bad = [outcome for outcome in LookOutcome if outcome not in good]
    called = replace(EMPTY, looks=tuple(Look(outcome) for outcome in (*good, *bad)))
    refused = replace(EMPTY, mode=Mode.PROHIBITED, looks=(Look(LookOutcome.REFUSED),) * 2)
    metrics = of_step([group_of(None, None, [called, refused], None)])
    assert metrics["look/bad_calls"] == 7 / 14
    assert "look/bad_calls" not in of_step([group_of(None, None, [EMPTY], None)])


def test_look_rate_is_told_apart_by_gain() -> None:
    one = group_of(None, None, [LOOKED, EMPTY], 1.0)

    def gaining(look: float | None, no_look: float) -> ScoredGroup:
        return replace(one, necessity=Necessity(None, look, no_look, 4, 4, None))

    unused = replace(one, group=replace(one.group, rollouts=(EMPTY, EMPTY)))
    nothing = replace(unused, necessity=Necessity(None, 0.5, 0.5, 4, 4, None))
    metrics = of_step([gaining(1.0, 0.5), gaining(0.5, 1.0), gaining(None, 1.0), nothing])
    assert metrics["look_rate/adaptive/gain"] == 0.5
    assert metrics["look_rate/adaptive/no_gain"] == 0.25
    assert not any("gain" in name for name in of_step([gaining(None, 1.0)]))
