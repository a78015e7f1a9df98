import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookless.advantages import (
    decision_advantages,
    group_advantages,
    hdpo_advantages,
    hdpo_weight_limit,
    is_degenerate,
    per_mode_advantages,
)
from lookless.episode import Group, Look, LookOutcome, Mode, Question, Rollout, StopReason
from lookless.necessity import Necessity

EXECUTED, OUTSIDE = LookOutcome.EXECUTED, LookOutcome.OUTSIDE


def rollout(mode: Mode, *looks: LookOutcome, stop: StopReason = StopReason.ANSWERED) -> Rollout:
    calls = tuple(Look(outcome) for outcome in looks)
    return Rollout("q", mode, (), (), (), (), calls, (), None, stop, 0)


def group(*rollouts: Rollout, grades: tuple[float | None, ...] | None = None) -> Group:
    return Group(Question("q", Path("i.png"), "", ""), rollouts, grades or (1.0,) * len(rollouts))


def test_advantages_are_rewards_minus_their_mean() -> None:
    assert group_advantages([1.0, 0.0, 0.0, 2.0]) == [0.25, -0.75, -0.75, 1.25]


def test_undecidable_rewards_stay_none_and_out_of_the_mean() -> None:
    assert group_advantages([1.0, None, 0.0]) == [0.5, None, -0.5]
    assert group_advantages([None, None]) == [None, None]
    assert group_advantages([]) == []


def test_normalising_divides_by_the_sample_deviation() -> None:
    # Deviations (1, -1), variance (1 + 1) / (2 - 1) = 2.
    expected = 1.0 / (math.sqrt(2.0) + 1e-6)
    assert group_advantages([2.0, None, 0.0], normalise=True) == [expected, None, -expected]


@pytest.mark.parametrize("normalise", [False, True])
def test_equal_rewards_and_single_ones_give_exactly_zero(normalise: bool) -> None:
    assert group_advantages([0.1] * 3, normalise=normalise) == [0.0] * 3
    assert group_advantages([None, 7.0], normalise=normalise) == [None, 0.0]


@given(
    totals=st.lists(st.floats(-10, 10), min_size=1, max_size=16),
    shift=st.floats(-5, 5),
    normalise=st.booleans(),
)
def test_advantages_sum_to_zero(totals: list[float], shift: float, normalise: bool) -> None:
    advantages = group_advantages([total + shift for total in totals], normalise=normalise)
    assert math.fsum(a for a in advantages if a is not None) == pytest.approx(0.0, abs=1e-6)


def test_each_mode_has_its_own_baseline() -> None:
    mixed = group(
        rollout(Mode.FORCED),
        rollout(Mode.ADAPTIVE),
        rollout(Mode.FORCED),
        rollout(Mode.PROHIBITED),
        rollout(Mode.ADAPTIVE),
        rollout(Mode.ADAPTIVE),
        rollout(Mode.PROHIBITED),
    )
    totals = [1.0, 3.0, 0.0, 9.0, 0.0, None, None]
    assert per_mode_advantages(mixed, totals) == [0.5, 1.5, -0.5, 0.0, -1.5, None, None]


def test_one_total_per_rollout_is_required() -> None:
    with pytest.raises(ValueError, match="totals must be one per rollout, got 2"):
        per_mode_advantages(group(rollout(Mode.FORCED)), [1.0, 0.0])


def test_hdpo_adds_economy_among_right_rollouts_only() -> None:
    # weight 0.2: looks 0 and 1 give 0.2 * 1 and 0.2 * 1/2 as parts.
    parts = [
        {"accuracy": 1.0, "looks": 0.2},
        {"accuracy": 1.0, "looks": 0.1},
        {"accuracy": 0.0},
        None,
    ]
    # Accuracy minus 2/3; economy 1 and 1/2 minus 3/4, times 0.2.
    expected = [1 / 3 + 0.2 * 0.25, 1 / 3 - 0.2 * 0.25, -2 / 3]
    *decided, undecided = hdpo_advantages(parts, 0.2)
    assert decided == pytest.approx(expected)
    assert undecided is None


def test_hdpo_normalises_each_advantage_before_weighing() -> None:
    parts = [{"accuracy": 1.0, "looks": 0.2}, {"accuracy": 1.0, "looks": 0.1}]
    # Equal accuracies give 0; economy 1 and 1/2 deviate by 1/4, with deviation sqrt(1/8).
    expected = 0.2 * 0.25 / (math.sqrt(0.125) + 1e-6)
    assert hdpo_advantages(parts, 0.2, normalise=True) == pytest.approx([expected, -expected])


def test_hdpo_economy_needs_two_right_rollouts() -> None:
    parts = [{"accuracy": 1.0, "looks": 0.05}, {"accuracy": 0.0}]
    assert hdpo_advantages(parts, 0.15) == [0.5, -0.5]


@pytest.mark.parametrize("n", [3, 5, 16])
def test_normalised_hdpo_ranks_right_above_wrong_up_to_its_limit(n: int) -> None:
    def worst(weight: float) -> float:
        """Return by how much the lowest right advantage beats the wrong ones, at worst."""
        margins = []
        for wrong in range(1, n - 1):
            right = [{"accuracy": 1.0, "looks": weight}] * (n - wrong - 1)
            looked = {"accuracy": 1.0, "looks": weight / 2}
            parts = [{"accuracy": 0.0}] * wrong + [looked, *right]
            advantages = [a or 0.0 for a in hdpo_advantages(parts, weight, normalise=True)]
            margins.append(min(advantages[wrong:]) - advantages[0])
        return min(margins)

    limit = hdpo_weight_limit(n)
    assert worst(0.99 * limit) > 0 > worst(1.01 * limit)


def test_hdpo_of_weight_zero_is_accuracy_alone() -> None:
    parts = [{"accuracy": 1.0, "looks": 0.0}, {"accuracy": 0.0}]
    assert hdpo_advantages(parts, 0.0) == [0.5, -0.5]


def test_deciding_to_look_is_credited_with_what_looking_gains() -> None:
    mixed = group(
        rollout(Mode.ADAPTIVE, EXECUTED),
        rollout(Mode.ADAPTIVE),
        rollout(Mode.ADAPTIVE, OUTSIDE),
        rollout(Mode.FORCED, EXECUTED),
        rollout(Mode.PROHIBITED),
    )
    # (1 - 0.25 - 0.25) / 2
    needed = Necessity(1.0, 1.0, 0.25, 4, 4, None)
    assert decision_advantages(mixed, needed, 0.25) == [0.25, -0.25, 0.25, 0.0, 0.0]
    # (0.5 - 0.5 - 0.25) / 2
    tie = Necessity(None, 0.5, 0.5, 4, 4, None)
    assert decision_advantages(mixed, tie, 0.25) == [-0.125, 0.125, -0.125, 0.0, 0.0]


def test_following_the_prompt_is_credited_whatever_looking_gains() -> None:
    told = group(
        rollout(Mode.FORCED, EXECUTED),
        rollout(Mode.FORCED),
        rollout(Mode.PROHIBITED),
        rollout(Mode.PROHIBITED, OUTSIDE),
    )
    for known in (Necessity(1.0, 1.0, 0.0, 4, 4, None), Necessity(None, None, None, 0, 0, None)):
        assert decision_advantages(told, known, 0.1, 0.25) == [0.25, -0.25, 0.25, -0.25]


def test_decisions_keep_their_credit_when_all_rollouts_decide_alike() -> None:
    herd = group(*[rollout(Mode.ADAPTIVE)] * 8)
    needed = Necessity(1.0, 1.0, 0.0, 4, 4, None)
    assert decision_advantages(herd, needed, 0.0) == [-0.5] * 8


def test_decisions_without_both_arms_or_a_grade_have_no_credit() -> None:
    adaptive, fault = rollout(Mode.ADAPTIVE), rollout(Mode.ADAPTIVE, stop=StopReason.FAULT)
    one_arm = Necessity(None, 1.0, None, 4, 0, None)
    assert decision_advantages(group(adaptive), one_arm, 0.0) == [None]
    both_arms = Necessity(1.0, 1.0, 0.0, 4, 4, None)
    undecidable = group(adaptive, fault, grades=(None, 1.0))
    assert decision_advantages(undecidable, both_arms, 0.0) == [None, None]


@pytest.mark.parametrize(
    ("advantages", "expected"),
    [
        ([], True),
        ([None, None], True),
        ([0.0, None, -0.0, 1e-17], True),
        ([None, 0.01], False),
        ([-0.01, 0.0], False),
    ],
)
def test_a_group_without_signal_is_degenerate(
    advantages: list[float | None], expected: bool
) -> None:
    assert is_degenerate(advantages) is expected
