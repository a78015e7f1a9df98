import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookless.evaluation.statistics import Confusion, cluster_interval, wilson_interval


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe (1998), Statistics in Medicine 17, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_published_intervals(successes: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=6e-5)


def test_wilson_without_data_says_nothing() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_contains_the_share_and_mirrors(pair: tuple[int, int]) -> None:
    successes, n = pair
    low, high = wilson_interval(successes, n)
    assert 0 <= low <= successes / n + 1e-12
    assert successes / n - 1e-12 <= high <= 1
    mirrored = wilson_interval(n - successes, n)
    assert (1 - high, 1 - low) == pytest.approx(mirrored, abs=1e-9)


def width(interval: tuple[float, float]) -> float:
    return interval[1] - interval[0]


def test_clustered_values_give_a_wider_interval_than_independent_ones() -> None:
    values = [float(k % 2) for k in range(40) for _ in range(5)]
    clustered = cluster_interval(values, [str(k // 5) for k in range(200)])
    independent = cluster_interval(values, [str(k) for k in range(200)])
    # Five equal values count as one, so the interval is sqrt(5) times as wide.
    assert width(clustered) / width(independent) == pytest.approx(math.sqrt(5), rel=0.15)


def test_bootstrap_of_independent_values_agrees_with_the_normal_interval() -> None:
    values = [float(v) for v in np.random.default_rng(0).random(400) < 0.3]
    low, high = cluster_interval(values, [str(k) for k in range(400)])
    mean = float(np.mean(values))
    spread = 1.96 * math.sqrt(mean * (1 - mean) / 400)
    assert (low, high) == pytest.approx((mean - spread, mean + spread), abs=0.01)


def test_same_input_gives_the_same_interval_whatever_the_clusters_are_called() -> None:
    values, names = [0.0, 1.0, 1.0, 0.5], ["a", "a", "b", "c"]
    assert cluster_interval(values, names) == cluster_interval(values, ["x", "x", "y", "z"])


@pytest.mark.parametrize(
    ("values", "names", "interval"),
    [([], [], (0.0, 1.0)), ([0.5], ["a"], (0.5, 0.5)), ([1.0, 0.0], ["a", "a"], (0.5, 0.5))],
)
def test_interval_of_little_data(
    values: list[float], names: list[str], interval: tuple[float, float]
) -> None:
    assert cluster_interval(values, names) == interval


def test_confusion_counts_each_pair() -> None:
    decisions = [True] * 6 + [False] * 6
    truths = [True] * 4 + [False] * 2 + [True] + [False] * 5
    confusion = Confusion.of(decisions, truths)
    assert confusion == Confusion(4, 2, 1, 5)
    assert confusion.precision == pytest.approx(4 / 6)
    assert confusion.recall == pytest.approx(4 / 5)
    assert confusion.f1 == pytest.approx(8 / 11)
    assert confusion.mcc == pytest.approx((4 * 5 - 2 * 1) / math.sqrt(6 * 5 * 7 * 6))


@pytest.mark.parametrize(
    ("confusion", "mcc", "f1"),
    [
        (Confusion(3, 0, 0, 5), 1.0, 1.0),
        (Confusion(0, 5, 3, 0), -1.0, 0.0),
        (Confusion(2, 2, 2, 2), 0.0, 0.5),
        (Confusion(3, 5, 0, 0), 0.0, 6 / 11),
        (Confusion(0, 0, 3, 5), 0.0, 0.0),
        (Confusion(0, 0, 0, 0), 0.0, 0.0),
    ],
)
def test_agreement_at_its_ends(confusion: Confusion, mcc: float, f1: float) -> None:
    assert confusion.mcc == pytest.approx(mcc)
    assert confusion.f1 == pytest.approx(f1)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_mcc_is_the_correlation_of_decisions_and_truths(pairs: list[tuple[bool, bool]]) -> None:
    decisions, truths = zip(*pairs, strict=True)
    mcc = Confusion.of(decisions, truths).mcc
    assert -1.000001 <= mcc <= 1.000001
    if len(set(decisions)) == len(set(truths)) == 2:
        assert mcc == pytest.approx(float(np.corrcoef(decisions, truths)[0, 1]), abs=1e-9)


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        Confusion.of([True], [])
