import itertools
import json
import math
from fractions import Fraction
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookless.episode import Group, Mode, Question, Rollout, StopReason
from lookless.errors import ConfigError
from lookless.necessity import (
    Necessity,
    NecessityPool,
    decided_grades,
    disagreement,
    necessity_grades,
    posterior,
    strict,
)

grades = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12)


def binary(right: int, n: int) -> list[float]:
    return [1.0] * right + [0.0] * (n - right)


def probability(look: list[float], no_look: list[float], margin: float = 0.0) -> float:
    result = posterior(look, no_look, margin=margin).probability
    assert result is not None
    return result


def exact_probability(look: tuple[int, int], no_look: tuple[int, int]) -> float:
    """Return P(X > Y) for (right, n) counts by the finite sum for whole Beta parameters."""

    def beta(a: int, b: int) -> Fraction:
        factorial = math.factorial
        return Fraction(factorial(a - 1) * factorial(b - 1), factorial(a + b - 1))

    (right_x, n_x), (right_y, n_y) = look, no_look
    a_x, b_x, a_y, b_y = 1 + right_x, 1 + n_x - right_x, 1 + right_y, 1 + n_y - right_y
    return float(
        sum(
            beta(a_y + i, b_x + b_y) / ((b_x + i) * beta(1 + i, b_x) * beta(a_y, b_y))
            for i in range(a_x)
        )
    )


@pytest.mark.parametrize(
    ("look", "no_look", "need"),
    [
        ([1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0], 1.0),
        ([1.0, 0.0], [1.0, 1.0], 0.0),
        ([1.0, 1.0], [1.0, 1.0], 0.0),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([1.0, None], [1.0, 0.0, None], 1.0),
        ([0.6], [0.5, 0.7], 0.0),
        ([0.1, 0.1, 0.1], [0.1] * 7, 0.0),
        ([], [1.0], None),
        ([1.0], [None, None], None),
        ([], [], None),
    ],
)
def test_strict_compares_the_means_and_gives_ties_no_need(
    look: list[float | None], no_look: list[float | None], need: float | None
) -> None:
    assert strict(look, no_look).need == need


def test_an_estimate_carries_means_and_counts_of_decidable_grades() -> None:
    estimate = strict([1.0, 0.5, None], [0.25])
    assert estimate == Necessity(1.0, 0.75, 0.25, 2, 1, None)
    assert estimate.gain == 0.5
    assert strict([1.0], [None]).gain is None


@pytest.mark.parametrize("bad", [1.5, -0.1, float("nan")])
def test_grades_outside_0_to_1_are_refused(bad: float) -> None:
    for estimate in (strict, posterior):
        with pytest.raises(ValueError, match=r"grades must be in 0\.\.1"):
            estimate([1.0], [bad])


def test_posterior_of_one_right_and_one_wrong_is_five_sixths() -> None:
    # X ~ Beta(2, 1), Y ~ Beta(1, 2): the integral of 2 (1 - y) (1 - y^2) over 0..1 is 5/6.
    assert probability([1.0], [0.0]) == pytest.approx(5 / 6, abs=1e-7)


def test_posterior_with_margin_one_half_is_eleven_thirtyseconds() -> None:
    # The integral of 2 (1 - y) (1 - (y + 1/2)^2) over 0..1/2 is 11/32.
    assert probability([1.0], [0.0], margin=0.5) == pytest.approx(11 / 32, abs=1e-7)


def test_a_grade_of_one_half_counts_as_half_right() -> None:
    # X ~ Beta(1.5, 1.5) is symmetric about 1/2, and so is Y.
    assert probability([0.5], [1.0, 0.0]) == pytest.approx(0.5, abs=1e-7)
    # X ~ Beta(1.5, 1.5), Y ~ Beta(1, 2): P = E[1 - (1 - X)^2] = 1 - E[X^2] = 1 - (1/4 + 1/16).
    assert probability([0.5], [0.0]) == pytest.approx(11 / 16, abs=1e-7)


@pytest.mark.parametrize(
    ("look", "no_look"),
    [
        *itertools.product([(0, 4), (1, 4), (2, 4), (4, 4)], repeat=2),
        ((3, 4), (900, 1000)),
        ((500, 1000), (520, 1000)),
        ((1000, 1000), (0, 1)),
    ],
)
def test_posterior_agrees_with_the_finite_sum(
    look: tuple[int, int], no_look: tuple[int, int]
) -> None:
    expected = exact_probability(look, no_look)
    assert probability(binary(*look), binary(*no_look)) == pytest.approx(expected, abs=1e-6)


@given(look=grades, no_look=grades)
def test_swapping_the_sides_complements_the_probability(
    look: list[float], no_look: list[float]
) -> None:
    assert probability(look, no_look) + probability(no_look, look) == pytest.approx(1.0, abs=1e-6)


@given(look=grades, no_look=grades, low=st.floats(0.0, 0.99), high=st.floats(0.0, 0.99))
def test_a_larger_margin_never_raises_the_probability(
    look: list[float], no_look: list[float], low: float, high: float
) -> None:
    low, high = sorted((low, high))
    assert probability(look, no_look, high) <= probability(look, no_look, low) + 1e-6


@pytest.mark.parametrize(
    ("look", "no_look", "need"),
    [
        ((4, 4), (4, 4), 0.0),
        ((0, 4), (0, 4), 0.0),
        ((16, 16), (16, 16), 0.0),
        ((2, 4), (2, 4), None),
        ((8, 16), (8, 16), 0.0),
        ((3, 4), (2, 4), None),
        ((3, 4), (1, 4), 1.0),
        ((4, 4), (1, 4), 1.0),
        ((1, 4), (3, 4), 0.0),
    ],
)
def test_default_posterior_decides_ties_as_no_need_once_there_is_evidence(
    look: tuple[int, int], no_look: tuple[int, int], need: float | None
) -> None:
    assert posterior(binary(*look), binary(*no_look)).need == need


def test_without_margin_a_tie_is_never_decided() -> None:
    estimate = posterior([1.0] * 64, [1.0] * 64, margin=0.0)
    assert estimate.need is None
    assert estimate.probability == pytest.approx(0.5, abs=1e-6)


def test_the_abstain_band_decides_the_need() -> None:
    look, no_look = binary(3, 4), binary(2, 4)
    between = posterior(look, no_look, margin=0.0)
    assert between.need is None
    assert between.probability is not None
    p = between.probability
    assert posterior(look, no_look, margin=0.0, abstain=(0.0, p - 0.01)).need == 1.0
    assert posterior(look, no_look, margin=0.0, abstain=(p + 0.01, 1.0)).need == 0.0


def test_posterior_abstains_when_one_side_has_no_grade() -> None:
    assert posterior([], [1.0] * 9) == Necessity(None, None, 1.0, 0, 9, None)
    assert posterior([None], [None]) == Necessity(None, None, None, 0, 0, None)


@pytest.mark.parametrize(
    "settings_",
    [
        {"abstain": (0.8, 0.2)},
        {"abstain": (-0.1, 0.5)},
        {"abstain": (0.5, 1.1)},
        {"abstain": (float("nan"), 0.5)},
        {"margin": -0.1},
        {"margin": 1.0},
        {"margin": float("nan")},
    ],
)
def test_posterior_refuses_impossible_settings(settings_: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="must be"):
        posterior([1.0], [0.0], **settings_)  # type: ignore[arg-type]


def group(*rollouts: tuple[Mode, StopReason, float | None]) -> Group:
    return Group(
        Question("q", Path("i.png"), "", ""),
        tuple(
            Rollout("q", mode, (), (), (), (), (), (), None, stop, 0) for mode, stop, _ in rollouts
        ),
        tuple(grade for *_, grade in rollouts),
    )


def test_grades_are_split_by_mode_and_faults_are_undecidable() -> None:
    answered, fault = StopReason.ANSWERED, StopReason.FAULT
    mixed = group(
        (Mode.FORCED, answered, 1.0),
        (Mode.ADAPTIVE, answered, 0.5),
        (Mode.PROHIBITED, answered, 0.0),
        (Mode.FORCED, fault, 1.0),
        (Mode.PROHIBITED, answered, None),
        (Mode.TOOLFREE, answered, 1.0),
    )
    assert decided_grades(mixed) == [1.0, 0.5, 0.0, None, None, 1.0]
    assert necessity_grades(mixed) == ([1.0, None], [0.0, None])


def test_a_pool_estimates_from_all_visits_of_a_question() -> None:
    pool = NecessityPool()
    pool.add("a", [1.0, None], [1.0])
    pool.add("b", [0.0], [0.0])
    pool.add("a", [1.0, 1.0], [0.0])
    assert pool.estimate("a", strict) == Necessity(1.0, 1.0, 0.5, 3, 2, None)
    assert pool.estimate("b", strict).need == 0.0
    assert pool.estimate("never seen", posterior).need is None


def test_pooling_turns_abstention_into_a_decision() -> None:
    pool = NecessityPool()
    needs = []
    for _ in range(4):
        pool.add("q", binary(2, 4), binary(2, 4))
        needs.append(pool.estimate("q", partial(posterior, margin=0.15)).need)
    assert needs == [None, 0.0, 0.0, 0.0]


def test_a_window_keeps_the_newest_grades_of_each_side() -> None:
    pool = NecessityPool(window=2)
    pool.add("q", [0.0, 0.0], [1.0])
    pool.add("q", [1.0], [None])
    assert pool.state() == {"q": [[0.0, 1.0], [1.0]]}


def test_a_pool_survives_json() -> None:
    pool = NecessityPool()
    pool.add("q", [1.0, 0.1 + 0.2], [0.0])
    pool.add("empty", [None], [])
    copy = NecessityPool()
    copy.add("forgotten", [1.0], [0.0])
    copy.load_state(json.loads(json.dumps(pool.state())))
    assert copy.state() == pool.state()
    copy.add("q", [1.0], [1.0])
    assert pool.state()["q"] == [[1.0, 0.1 + 0.2], [0.0]]


def test_loading_into_a_smaller_window_drops_the_oldest() -> None:
    pool = NecessityPool(window=1)
    pool.load_state({"q": [[0.0, 1.0], []]})
    assert pool.state() == {"q": [[1.0], []]}


@pytest.mark.parametrize("state", [{"q": [[1.0]]}, {"a": [[1.0], []], "q": [[2.0], [0.0]]}])
def test_a_bad_state_leaves_the_pool_as_it_was(state: dict[str, list[list[float]]]) -> None:
    pool = NecessityPool()
    pool.add("kept", [1.0], [0.0])
    with pytest.raises(ValueError, match=r"values to unpack|must be in 0\.\.1"):
        pool.load_state(state)
    assert pool.state() == {"kept": [[1.0], [0.0]]}


def test_a_pool_refuses_an_empty_window() -> None:
    with pytest.raises(ConfigError, match="window must be at least 1, got 0"):
        NecessityPool(window=0)


@settings(max_examples=50)
@given(visits=st.lists(st.tuples(grades, grades), max_size=5), window=st.integers(1, 8))
def test_a_pool_holds_the_last_grades_in_order(
    visits: list[tuple[list[float], list[float]]], window: int
) -> None:
    pool = NecessityPool(window)
    for look, no_look in visits:
        pool.add("q", look, no_look)
    everything = [list(itertools.chain(*side)) for side in zip(*visits, strict=True)] or [[], []]
    assert pool.state().get("q", [[], []]) == [side[-window:] for side in everything]


def test_disagreement_counts_both_errors_and_abstentions_apart() -> None:
    needs = [1.0, 1.0, 0.0, 0.0, None, 0.0, 1.0]
    truths = [True, False, True, False, True, True, None]
    necessities = [Necessity(need, 0.5, 0.5, 4, 4, None) for need in needs]
    result = disagreement(necessities, truths)
    assert (result.n, result.abstained, result.false_needs, result.missed_needs) == (6, 1, 1, 2)
    assert result.abstained_share == pytest.approx(1 / 6)
    assert result.wrong_share == pytest.approx(3 / 5)


def test_disagreement_without_anything_to_judge_has_no_shares() -> None:
    nothing = disagreement([], [])
    assert nothing.abstained_share is None
    assert nothing.wrong_share is None
    undecided = disagreement([Necessity(None, None, None, 0, 0, None)], [True])
    assert (undecided.abstained_share, undecided.wrong_share) == (1.0, None)
    with pytest.raises(ValueError, match="argument 2 is longer"):
        disagreement([], [True])
