from collections.abc import Callable
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grading.answers import Row, adversarial, asked, expected, hostile, is_bounded
from lookless.grading.verdict import UNPARSED, Verdict
from lookless.grading.vqa_accuracy import vqa_accuracy, vqa_agreement, vqa_normal


@adversarial("vqa_accuracy")
def test_answer_is_normalised_as_officially(row: Row) -> None:
    assert vqa_accuracy(asked(), row["said"]).answer == expected(row), row["why"]


def left_out(prediction: str, people: list[str]) -> float:
    """Return the mean over all but one of the people of min(1, how many agree / 3)."""
    groups = list(combinations(people, len(people) - 1))
    return sum(min(1.0, group.count(prediction) / 3) for group in groups) / len(groups)


@given(st.lists(st.sampled_from(["stop", "sign", "red", "4"]), min_size=2, max_size=10))
def test_agreement_is_the_mean_over_leaving_one_out(people: list[str]) -> None:
    for prediction in ("stop", "sign", "blue"):
        assert vqa_agreement(prediction, people) == pytest.approx(left_out(prediction, people))


@given(st.permutations(["a b", "c", "c", "c", "d", "d", "e", "f", "g", "h"]))
def test_order_of_people_does_not_matter(people: list[str]) -> None:
    assert vqa_agreement("c", people) == pytest.approx(0.9)
    assert vqa_agreement("d", people) == pytest.approx(0.6)


def test_a_single_reference_stands_for_all_people() -> None:
    assert vqa_accuracy(asked(answer="stop"), "Stop.") == Verdict("stop", 1.0)
    assert vqa_accuracy(asked(answer="stop"), "go") == Verdict("go", 0.0)
    assert vqa_accuracy(asked(answer="stop"), "") == UNPARSED
    assert vqa_agreement("stop", []) == 0.0


def test_people_are_normalised_as_the_answer_is() -> None:
    people = ("Two dogs", "2 dogs.", "the two dogs", "2 Dogs!", *["cats"] * 6)
    assert vqa_accuracy(asked(answer="cats", references=people), "two dogs").grade == 1.0


@given(st.text())
def test_normalising_twice_changes_no_agreement(text: str) -> None:
    assert vqa_agreement(text, [text] * 10) == 1.0
    assert vqa_agreement(text.upper().lower(), [text.lower()] * 10) in (0.0, 1.0)
    assert "  " not in vqa_normal(text)


@given(st.text(), st.lists(st.text(), max_size=10))
def test_no_text_crashes_it(said: str, people: list[str]) -> None:
    assert 0 <= vqa_accuracy(asked(references=tuple(people)), said).grade <= 1


@hostile
def test_time_is_bounded_on_long_repetition(make: Callable[[int], str]) -> None:
    assert is_bounded(vqa_accuracy, asked(answer="stop"), make)
