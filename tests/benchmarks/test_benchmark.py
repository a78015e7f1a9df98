from pathlib import Path

import numpy as np
import pytest

from lookless.benchmarks.benchmark import Graded, by_family, lettered, macro, of_sums, share
from lookless.episode import Question
from lookless.grading.verdict import UNPARSED, Verdict


def graded(name: str, grade: float, family: str = "", cluster: str = "", sample: int = 0) -> Graded:
    question = Question(name, Path(), "?", "A", family=family, cluster=cluster)
    return Graded(question, Verdict("A", grade), sample)


def test_share_of_independent_questions_has_wilsons_interval() -> None:
    metric = share("accuracy", [graded(str(k), float(k < 8)) for k in range(10)])
    assert (metric.name, metric.value, metric.n, metric.clusters) == ("accuracy", 0.8, 10, 10)
    assert (round(metric.low, 3), round(metric.high, 3)) == (0.490, 0.943)


def test_an_unparsed_answer_counts_as_wrong() -> None:
    unread = Graded(graded("1", 0.0).question, UNPARSED)
    assert share("accuracy", [graded("0", 1.0), unread]).value == 0.5


def test_several_answers_to_one_question_count_once() -> None:
    metric = share("accuracy", [graded("0", float(k == 0), sample=k) for k in range(4)])
    assert (metric.value, metric.n, metric.clusters) == (0.25, 1, 1)


def test_clusters_widen_the_interval() -> None:
    apart = share("a", [graded(str(k), float(k < 20)) for k in range(40)])
    together = share("a", [graded(str(k), float(k < 20), cluster=str(k // 4)) for k in range(40)])
    assert apart.value == together.value == 0.5
    assert (together.n, together.clusters) == (40, 10)
    assert together.high - together.low > 1.5 * (apart.high - apart.low)


def test_nothing_has_no_value_and_says_nothing() -> None:
    for metric in (share("a", []), macro("a", [], []), of_sums("a", [], np.zeros((0, 1)), np.sum)):
        assert (metric.value, metric.low, metric.high) == (None, 0.0, 1.0)
        assert (metric.n, metric.clusters) == (0, 0)
    assert by_family([]) == []


def test_families_are_in_the_order_of_their_appearance() -> None:
    answers = [graded("0", 1.0, "b"), graded("1", 0.0, "a"), graded("2", 0.0, "b")]
    assert [(one.name, one.value, one.n) for one in by_family(answers)] == [
        ("b", 0.5, 2), ("a", 0.0, 1)
    ]  # fmt: skip


def test_macro_weighs_groups_alike() -> None:
    answers = [graded(str(k), float(k < 3)) for k in range(5)]
    # The first group has 3 of 4, the second 0 of 1: (0.75 + 0) / 2, while 3 of 5 are right in all.
    metric = macro("macro", answers, ["x", "x", "x", "x", "y"])
    assert metric.value == 0.375
    assert metric.low <= 0.375 <= metric.high


def test_macro_needs_a_group_for_each_answer() -> None:
    with pytest.raises(ValueError, match="zip"):
        macro("macro", [graded("0", 1.0)], [])


def test_of_sums_gives_a_statistic_of_the_added_columns() -> None:
    answers = [graded(str(k), 0.0) for k in range(3)]
    columns_N2 = np.array([[1.0, 2.0], [0.0, 1.0], [2.0, 3.0]])
    metric = of_sums("ratio", answers, columns_N2, lambda sums: sums[:, 0] / sums[:, 1])
    assert metric.value == 0.5  # 3 of 6
    assert 0.0 <= metric.low < 0.5 < metric.high <= 2 / 3


def test_an_undefined_statistic_has_no_value() -> None:
    answers = [graded("0", 0.0)]
    metric = of_sums("none", answers, np.zeros((1, 1)), lambda sums: np.full(len(sums), np.nan))
    assert metric.value is None
    assert metric.n == 1


def test_options_are_lettered_one_a_line() -> None:
    assert lettered("Which?", ["a", "b", "c"], "Say.") == "Which?\nA. a\nB. b\nC. c\nSay."
