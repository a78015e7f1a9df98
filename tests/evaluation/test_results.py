import pytest

from evaluation.test_looking import many, one
from lookless.benchmarks.lookworld import BENCHMARK
from lookless.evaluation.results import compared, comparisons, looking, means, results_of


def test_several_samples_of_a_question_count_as_their_mean() -> None:
    answers = [one("a", 1.0), one("a", 0.0, sample=1), one("b", None), one("b", 1.0, sample=1)]
    assert means(answers) == {"a": 0.5, "b": 1.0}


def test_compared_gives_difference_test_and_looks_saved() -> None:
    first = many([1, 1, 0, 1], "yyyy")
    second = many([1, 0, 0, None], "ynnn")
    row = compared(first, second, 0.01)
    assert row is not None
    assert (row["n"], row["first"], row["second"]) == (3, pytest.approx(2 / 3), 0.25 + 1 / 12)
    assert row["difference"] == pytest.approx(-1 / 3)
    assert (row["only_first"], row["only_second"], row["test"]) == (1, 0, "McNemar mid-p")
    assert row["looks_saved"] == pytest.approx(2 / 3)  # of the three that both decided
    assert 0 < row["detectable"] < 1.5
    assert compared(first, [one("z", 1.0)], 0.01) is None
    same = compared(first, first, 0.01)
    assert same is not None
    assert (same["difference"], same["detectable"]) == (0.0, None)


def test_modes_are_compared_towards_the_freer_one_and_oracle_with_none() -> None:
    names = ("adaptive", "oracle", "never", "always")
    rows = comparisons({name: many([1, 0, 1, 1]) for name in names}, 0.01)
    assert [row["modes"] for row in rows] == [
        ["never", "always"], ["never", "adaptive"], ["always", "adaptive"]
    ]  # fmt: skip
    assert {row["p_holm"] for row in rows} == {1.0}


def test_what_looking_was_worth_says_what_the_modes_allow() -> None:
    never, always = many([0, 1]), many([1, 1], "yy")
    found = looking({"never": never, "always": always})
    assert list(found["gain_and_harm"]) == ["always against never"]
    assert (found["decision"], found["above_mixture"], found["zooming_gap"]) == (None, None, None)
    found = looking({"toolfree": never, "adaptive": always})
    assert list(found["gain_and_harm"]) == ["adaptive against toolfree"]
    assert looking({"never": never})["gain_and_harm"] == {}


def test_nothing_decided_gives_empty_tables() -> None:
    found = results_of(BENCHMARK, {"never": many([None, None]), "adaptive": []}, 0.01)
    assert found["modes"]["never"]["accuracy"] is None
    assert found["modes"]["never"]["metrics"] == []
    assert found["comparisons"] == []
