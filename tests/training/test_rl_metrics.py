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
