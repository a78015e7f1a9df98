from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grading.answers import Row, adversarial, asked, expected, hostile, is_bounded
from lookless.grading.verdict import UNPARSED, Verdict
from lookless.grading.yes_no import read_yes_no, yes_no

OF_A_DOG = asked("Is there a dog in the image?", "yes")


@adversarial("yes_no")
def test_answer_is_read_as_a_careful_reader_does(row: Row) -> None:
    assert yes_no(OF_A_DOG, row["said"]).answer == expected(row), row["why"]


@pytest.mark.parametrize("answer", ["yes", "Yes", "YES.", " yes "])
def test_verdict_compares_with_any_form_of_the_reference(answer: str) -> None:
    question = asked("Is there a dog?", answer)
    assert yes_no(question, "Yes!") == Verdict("yes", 1.0)
    assert yes_no(question, "There is no dog.") == Verdict("no", 0.0)
    assert yes_no(question, "") == UNPARSED


def test_only_what_the_question_names_is_affirmed_by_repeating_it() -> None:
    assert read_yes_no("There is a cat.", "Is there a dog?") is None
    assert read_yes_no("There is a dog.", "Is there a dog?") == "yes"
    assert read_yes_no("There is a dog.") is None


@given(
    st.sampled_from(["yes", "no"]),
    st.sampled_from(["{}", "{}.", "**{}**", "<answer>{}</answer>", r"\boxed{{{}}}", "It is: {}"]),
    st.sampled_from([str.lower, str.upper, str.title]),
)
def test_bare_word_in_any_wrapper_is_that_word(
    word: str, wrapper: str, case: Callable[[str], str]
) -> None:
    assert yes_no(OF_A_DOG, wrapper.format(case(word))).answer == word


@given(st.text(), st.text())
def test_no_text_crashes_it(said: str, question: str) -> None:
    assert yes_no(asked(question, "yes"), said).answer in ("yes", "no", None)


@hostile
def test_time_is_bounded_on_long_repetition(make: Callable[[int], str]) -> None:
    assert is_bounded(yes_no, OF_A_DOG, make)
