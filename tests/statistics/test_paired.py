import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats  # type: ignore[import-untyped]

from lookless.errors import ConfigError, DataError
from lookless.statistics.paired import (
    design_effect,
    detectable_difference,
    holm,
    mcnemar_mid_p,
    non_inferiority,
    paired,
    sign_flip_p,
)

counts = st.integers(0, 60)
p_values = st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=8)
grade = st.sampled_from([0.0, 0.1, 0.5, 1.0])


def rows_of(value: st.SearchStrategy[float]) -> st.SearchStrategy[list[tuple[float, float, str]]]:
    row = st.tuples(value, value, st.sampled_from("abcdefghijklmnop"))
    return st.lists(row, min_size=1, max_size=25)


rows = st.one_of(rows_of(grade), rows_of(st.sampled_from([0.0, 1.0])))


def names(n: int, size: int = 1) -> list[str]:
    return [str(k // size) for k in range(n)]


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        # Fagerland et al. (2013), airway hyper-responsiveness: 1 and 7 discordant pairs, 0.039.
        (1, 7, 0.0390625),
        # By hand: no more than 0 of 5 has probability 1/32, so 2/32 - 1/32.
        (0, 5, 1 / 32),
        # By hand: P(X <= 1) = 4/8 and P(X = 1) = 3/8 of 3, so 8/8 - 3/8.
        (1, 2, 5 / 8),
        (0, 0, 1.0),
        (4, 4, 1.0),
    ],
)
def test_mcnemar_of_known_tables(only_first: int, only_second: int, p: float) -> None:
    assert mcnemar_mid_p(only_first, only_second) == pytest.approx(p)


@given(counts, counts)
def test_mid_p_is_the_exact_p_less_the_probability_of_the_table(
    only_first: int, only_second: int
) -> None:
    n = only_first + only_second
    mid = mcnemar_mid_p(only_first, only_second)
    exact = stats.binomtest(only_first, n).pvalue if n else 1.0
    assert mid == mcnemar_mid_p(only_second, only_first)
    assert 0 < mid <= exact + 1e-12
    if only_first != only_second:
        assert mid == pytest.approx(exact - stats.binom.pmf(only_first, n, 0.5))


def test_few_clusters_are_enumerated() -> None:
    # 3 + 2 + 1 = 6 is reached by +++ and --- only; -3 + 2 + 1 = 0 is reached by any.
    assert sign_flip_p([3, 2, 1]) == 2 / 8
    assert sign_flip_p([-3, 2, 1]) == 1.0
    assert sign_flip_p([0.0, 0.0]) == sign_flip_p([]) == 1.0


def test_totals_that_differ_by_rounding_only_are_equal() -> None:
    # In tenths 1 + 1 + 1 - 1 = 2, which all but the 6 patterns that add up to 0 reach.
    assert sign_flip_p([0.1, 0.1, 0.1, -0.1]) == 10 / 16
    assert sign_flip_p([0.1, 0.1, 0.1, 0.6]) == 2 / 16


def test_sign_flip_agrees_with_scipy() -> None:
    differences = np.random.default_rng(3).normal(0.3, 1, size=40)
    theirs = stats.permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=10_000, rng=0
    )
    assert sign_flip_p(differences.tolist()) == pytest.approx(theirs.pvalue, abs=0.01)


def test_random_and_enumerated_flips_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    differences = [1.0, 2.0, -1.0, 3.0, 1.0, -2.0, 1.0, 1.0, 2.0, 1.0]
    exact = sign_flip_p(differences)
    monkeypatch.setattr("lookless.statistics.paired._ENUMERATED", 0)
    assert sign_flip_p(differences) == pytest.approx(exact, abs=0.015)


def test_random_flips_never_say_that_a_difference_is_certain() -> None:
    assert sign_flip_p([1.0] * 100, resamples=999) == 1 / 1000


def test_zeros_do_not_change_the_test() -> None:
    differences = [1.0, -1.0] * 5 + [1.0] * 10
    assert sign_flip_p(differences) == sign_flip_p([*differences, *[0.0] * 50])


def test_independent_binary_questions_are_compared_by_mcnemar() -> None:
    first = [1.0] * 90 + [0.0] * 10
    second = [1.0] * 89 + [0.0] * 4 + [1.0] * 7
    result = paired(first, second, names(100))
    assert (result.n, result.clusters) == (100, 100)
    assert (result.only_first, result.only_second) == (1, 7)
    assert (result.first, result.second) == (0.9, 0.96)
    assert result.difference == pytest.approx(0.06)
    assert result.test == "McNemar mid-p"
    assert result.p == pytest.approx(0.0390625)
    # Normal interval of the difference: 0.06 +- 1.96 sqrt(0.08 - 0.06^2) / 10.
    assert (result.low, result.high) == pytest.approx((0.0058, 0.1142), abs=0.012)


def test_clustered_questions_are_compared_by_sign_flip() -> None:
    result = paired([0.0] * 12, [1.0] * 10 + [0.0] * 2, names(12, 2))
    assert (result.test, result.clusters) == ("cluster sign-flip", 6)
    assert result.p == 2 / 2**5
    assert (result.only_first, result.only_second) == (0, 10)


def test_grades_are_compared_by_sign_flip_without_counts() -> None:
    result = paired([0.5, 0.0, 0.0], [1.0, 1.0, 0.75], names(3))
    assert (result.test, result.p) == ("cluster sign-flip", 2 / 8)
    assert result.only_first is None
    assert result.only_second is None


def test_a_large_cluster_weighs_as_much_as_its_questions() -> None:
    # Sums are 8 and -1, -1, -1, of which only all 16 sign patterns reach 5.
    result = paired([0.0] * 8 + [1.0] * 3, [1.0] * 8 + [0.0] * 3, [*"aaaaaaaa", *"bcd"])
    assert result.difference == pytest.approx(5 / 11)
    assert result.p == 1.0


@given(rows)
def test_a_model_does_not_differ_from_itself(rows: list[tuple[float, float, str]]) -> None:
    first, _, clusters = zip(*rows, strict=True)
    result = paired(first, first, clusters)
    assert (result.difference, result.p) == (0.0, 1.0)
    assert result.low == -result.high < 0


def test_agreement_on_all_questions_leaves_tangos_interval() -> None:
    # Tango (1998) without discordant pairs: +- z^2 / (n + z^2); 3.8415 / 103.8415 is 0.037.
    result = paired([1.0] * 100, [1.0] * 100, names(100))
    assert (result.low, result.high) == pytest.approx((-0.03699, 0.03699), abs=1e-5)


@given(rows)
def test_swapping_the_models_flips_the_sign(rows: list[tuple[float, float, str]]) -> None:
    first, second, clusters = zip(*rows, strict=True)
    result, swapped = paired(first, second, clusters), paired(second, first, clusters)
    assert swapped.difference == -result.difference
    assert (swapped.p, swapped.test) == (result.p, result.test)
    assert (swapped.only_first, swapped.only_second) == (result.only_second, result.only_first)
    assert (swapped.low, swapped.high) == pytest.approx((-result.high, -result.low), abs=1e-9)


@given(rows)
def test_the_interval_contains_the_difference(rows: list[tuple[float, float, str]]) -> None:
    result = paired(*zip(*rows, strict=True))
    assert -1 - 1e-9 <= result.low <= result.difference + 1e-9
    assert result.difference - 1e-9 <= result.high <= 1 + 1e-9
    assert result.difference == pytest.approx(result.second - result.first)
    assert 0 < result.p <= 1


def test_comparing_nothing_or_unlike_lengths_is_refused() -> None:
    with pytest.raises(DataError, match=r"got none; compare two runs"):
        paired([], [], [])
    with pytest.raises(ValueError, match="zip"):
        paired([1.0], [1.0, 0.0], ["a", "b"])


def test_sign_flip_keeps_its_level_on_clustered_questions_and_mcnemar_does_not() -> None:
    # Four questions on each of 60 images; equal models, each right or wrong on whole images mostly.
    rng = np.random.default_rng(4)
    false_flip, false_mcnemar, trials = 0, 0, 400
    for _ in range(trials):
        whole = rng.random((2, 60, 1)) < 0.6
        slips = rng.random((2, 60, 4)) < 0.1
        first, second = (whole ^ slips).astype(int)
        difference = second - first
        only_first, only_second = int((difference == -1).sum()), int((difference == 1).sum())
        false_mcnemar += mcnemar_mid_p(only_first, only_second) < 0.05
        false_flip += sign_flip_p(difference.sum(1).tolist(), resamples=999) < 0.05
    assert 0.02 <= false_flip / trials <= 0.08
    assert false_mcnemar / trials > 0.15


def test_holm_of_a_hand_computed_family() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, each at least the one before.
    adjusted = holm({"w": 0.01, "x": 0.04, "y": 0.03, "z": 0.005})
    assert list(adjusted) == ["w", "x", "y", "z"]
    assert list(adjusted.values()) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(p_values)
def test_holm_keeps_the_order_and_never_lowers(raw: dict[str, float]) -> None:
    adjusted = holm(raw)
    assert list(adjusted) == list(raw)
    assert all(raw[name] <= adjusted[name] <= 1 for name in raw)
    in_order = [adjusted[name] for name in sorted(raw, key=lambda name: raw[name])]
    assert in_order == sorted(in_order)
    if raw:
        least = min(raw.values())
        assert min(adjusted.values()) == pytest.approx(min(least * len(raw), 1))


@given(p_values.filter(bool))
def test_holm_is_never_below_what_allows_some_false_findings(raw: dict[str, float]) -> None:
    lenient = stats.false_discovery_control([*raw.values()])
    assert all(a >= b - 1e-12 for a, b in zip(holm(raw).values(), lenient, strict=True))


def test_non_inferiority_depends_on_the_margin_and_on_n() -> None:
    first, second = [1.0, 1.0, 0.0, 1.0, 1.0] * 200, [1.0, 1.0, 0.0, 1.0, 1.0] * 200
    second[:10], first[10:20] = [0.0] * 10, [0.0] * 10
    result = non_inferiority(first, second, names(1000), margin=0.01)
    # 16 discordant pairs, 8 on each side: -1.645 sqrt(16) / 1000.
    assert result.difference == 0.0
    assert result.low == pytest.approx(-0.0066, abs=0.001)
    assert result.is_shown
    assert not non_inferiority(first, second, names(1000), margin=0.005).is_shown
    assert not non_inferiority(first[:20], second[:20], names(20), margin=0.01).is_shown


def test_agreement_on_a_few_questions_shows_nothing() -> None:
    # z^2 / (n + z^2) with z = 1.645: 2.706 / 12.706.
    result = non_inferiority([1.0] * 10, [1.0] * 10, names(10), margin=0.05)
    assert result.low == pytest.approx(-0.213, abs=1e-3)
    assert not result.is_shown


def test_the_one_sided_bound_is_above_the_two_sided_end() -> None:
    first, second = [1.0, 0.0, 1.0, 1.0] * 20, [1.0, 1.0, 0.0, 1.0] * 20
    one_sided = non_inferiority(first, second, names(80, 2), margin=0.1).low
    assert paired(first, second, names(80, 2)).low <= one_sided <= 0


@pytest.mark.parametrize("margin", [-0.01, 1.5, float("nan")])
def test_a_margin_that_is_no_share_is_refused(margin: float) -> None:
    with pytest.raises(ConfigError, match=f"margin must be between 0 and 1, got {margin}"):
        non_inferiority([1.0], [1.0], ["a"], margin)


@pytest.mark.parametrize(
    ("n", "points"),
    # V*, HR-Bench as 200 questions and as 800, and MMStar.
    [(191, 6.4), (200, 6.3), (800, 3.1), (1500, 2.3)],
)
def test_what_benchmarks_can_show(n: int, points: float) -> None:
    assert 100 * detectable_difference(n, discordant=0.1) == pytest.approx(points, abs=0.05)


def test_clusters_show_less_as_if_there_were_fewer_questions() -> None:
    clustered = detectable_difference(800, discordant=0.1, design_effect=4)
    assert clustered == pytest.approx(detectable_difference(200, discordant=0.1))


def test_the_detectable_difference_is_found_with_the_stated_power() -> None:
    rng, n = np.random.default_rng(5), 400
    difference = detectable_difference(n, discordant=0.2)
    shares = [(0.2 - difference) / 2, (0.2 + difference) / 2, 0.8]
    tables = rng.multinomial(n, shares, size=2000)
    found = np.mean([mcnemar_mid_p(int(b), int(c)) < 0.05 for b, c, _ in tables])
    assert found == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize(
    ("name", "value"),
    [("n", 0), ("discordant", 1.5), ("design_effect", 0), ("power", 1.0), ("alpha", 0.0)],
)
def test_what_cannot_be_planned_is_refused_by_name(name: str, value: float) -> None:
    settings = {"n": 100, "discordant": 0.1, name: value}
    with pytest.raises(ConfigError, match=f"{name} must be .*, got {value}; "):
        detectable_difference(**settings)  # type: ignore[arg-type]


def test_design_effect_of_clusters() -> None:
    # Mean 1/2; sums of deviations are 0, 1 and -1, so (0 + 1 + 1) / (6 / 4).
    values = [1.0, 0.0, 1.0, 1.0, 0.0, 0.0]
    assert design_effect(values, names(6, 2)) == pytest.approx(4 / 3)
    assert design_effect(values, names(6)) == 1.0
    assert design_effect([1.0] * 6, names(6, 2)) == 1.0
