import math
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import bootstrap  # type: ignore[import-untyped]

from lookless.statistics.intervals import (
    bootstrap_interval,
    bounded_mean_interval,
    cluster_interval,
    clustered_standard_error,
    mean_interval,
    wilson_interval,
)

clustered = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.sampled_from("abcdef")),
    min_size=1,
    max_size=20,
)


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


def ratio(sums_R2: NDArray[np.float64]) -> NDArray[np.float64]:
    ratios: NDArray[np.float64] = sums_R2[:, 0] / sums_R2[:, 1]
    return ratios


def test_bootstrap_of_a_ratio_of_two_clusters_is_known_exactly() -> None:
    # Clusters (1, 1) and (1, 3): the ratio is 1 with probability 1/4, 2/4 with 1/2, 1/3 with 1/4.
    columns = np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 2.0]])
    assert bootstrap_interval(columns, "abb", ratio) == pytest.approx((1 / 3, 1))
    assert bootstrap_interval(columns, "abb", ratio, level=0.4) == pytest.approx((0.5, 0.5))


def test_bootstrap_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).beta(2, 1, size=300)
    theirs = bootstrap((values,), np.mean, method="percentile", n_resamples=2000, rng=0)
    interval = bounded_mean_interval(values.tolist(), [str(k) for k in range(300)])
    assert interval == pytest.approx(tuple(theirs.confidence_interval), abs=0.005)


def test_resamples_without_a_value_are_left_out() -> None:
    # Only cluster a has a denominator: a quarter of the resamples is 0/0, the others are 2/4.
    columns = np.array([[2.0, 4.0], [0.0, 0.0]])
    assert bootstrap_interval(columns, "ab", ratio) == (0.5, 0.5)


@pytest.mark.parametrize("rows", [0, 3])
def test_bootstrap_of_nothing_says_nothing(rows: int) -> None:
    assert bootstrap_interval(np.zeros((rows, 2)), "abc"[:rows], ratio) == (0.0, 1.0)


def test_bootstrap_refuses_rows_without_a_cluster() -> None:
    with pytest.raises(ValueError, match="3 rows need as many clusters, got 2"):
        bootstrap_interval(np.zeros((3, 2)), "ab", ratio)


def test_memory_and_time_of_the_bootstrap_are_bounded() -> None:
    n = 23_000
    columns = np.stack([np.random.default_rng(0).random(n), np.ones(n)], 1)
    names = [str(k) for k in range(n)]
    tracemalloc.start()
    started = time.perf_counter()
    low, high = bootstrap_interval(columns, names, ratio)
    took_s, peak = time.perf_counter() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6
    assert took_s < 20
    assert width((low, high)) == pytest.approx(2 * 1.96 * math.sqrt(1 / 12 / n), rel=0.1)


def test_the_interval_does_not_depend_on_how_much_is_drawn_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values, names = [0.0, 1.0, 1.0, 0.5, 0.25], ["a", "a", "b", "c", "d"]
    whole = cluster_interval(values, names)
    monkeypatch.setattr("lookless.statistics.intervals._DRAWN_AT_ONCE", 7)
    assert cluster_interval(values, names) == whole


def test_mean_of_independent_binary_values_has_wilsons_interval() -> None:
    values, names = [1.0] * 81 + [0.0] * 182, [str(k) for k in range(263)]
    assert mean_interval(values, names) == wilson_interval(81, 263)
    assert mean_interval([True, False], ["a", "b"]) == wilson_interval(1, 2)


def test_mean_of_clustered_or_graded_values_is_bootstrapped() -> None:
    shared = ([1.0, 0.0, 1.0, 0.0, 0.0], ["a", "b", "b", "c", "c"])
    graded = ([1.0, 0.5, 0.0, 0.7], ["a", "b", "c", "d"])
    assert mean_interval(*shared) == pytest.approx(cluster_interval(*shared))
    assert mean_interval(*graded) == pytest.approx(cluster_interval(*graded))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_clusters_that_all_agree_count_once_each_and_leave_doubt(value: float) -> None:
    names = [str(k // 5) for k in range(100)]
    expected = wilson_interval(20 * value, 20)
    assert mean_interval([value] * 100, names) == pytest.approx(expected, abs=1e-4)
    assert width(expected) > 0.1


def test_equal_grades_inside_the_range_leave_doubt_on_both_sides() -> None:
    # z^2 / (C + z^2) with C = 4 and z^2 = 3.8415 is 0.4899.
    low, high = mean_interval([0.25] * 8, [str(k // 2) for k in range(8)])
    assert (low, high) == pytest.approx((0.25 - 0.4899 * 0.25, 0.25 + 0.4899 * 0.75), abs=1e-4)


def test_mean_interval_without_data_says_nothing() -> None:
    assert mean_interval([], []) == (0.0, 1.0)
    assert bounded_mean_interval([], [], lowest=-1.0) == (-1.0, 1.0)


@given(clustered)
def test_mean_interval_contains_the_mean_and_has_width(rows: list[tuple[float, str]]) -> None:
    values, names = zip(*rows, strict=True)
    low, high = mean_interval(values, names)
    mean = sum(values) / len(values)
    assert -1e-9 <= low <= mean + 1e-9
    assert mean - 1e-9 <= high <= 1 + 1e-9
    assert high - low > 0.01


def test_values_beyond_the_range_still_lie_in_their_interval() -> None:
    low, high = mean_interval([3.0] * 4, ["a", "a", "b", "b"])
    assert low < 3.0
    assert high == 3.0


def test_clustered_standard_error_of_hand_computed_values() -> None:
    # Mean 0.5; deviations sum to 0 in a, 1 in b and -1 in c: sqrt(0 + 1 + 1) / 6.
    values, names = [1, 0, 1, 1, 0, 0], ["a", "a", "b", "b", "c", "c"]
    assert clustered_standard_error(values, names) == pytest.approx(math.sqrt(2) / 6)
    assert math.isnan(clustered_standard_error([], []))


def test_clustered_standard_error_agrees_with_the_bootstrap() -> None:
    rng = np.random.default_rng(2)
    values = (rng.random((100, 1)) + rng.random((100, 4))).ravel().tolist()
    names = [str(k // 4) for k in range(400)]
    expected = 2 * 1.96 * clustered_standard_error(values, names)
    assert width(cluster_interval(values, names)) == pytest.approx(expected, rel=0.1)
