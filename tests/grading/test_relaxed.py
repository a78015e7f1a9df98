from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grading.answers import Row, adversarial, asked, expected, hostile, is_bounded, verdict_on
from lookless.grading.relaxed import TOLERANCE, is_relaxed_match, relaxed
from lookless.grading.verdict import UNPARSED, Verdict


@adversarial("relaxed")
def test_answer_is_graded_as_a_careful_reader_does(row: Row) -> None:
    verdict = verdict_on(row, relaxed)
    assert (verdict.grade if verdict.is_parsed else None) == expected(row), row["why"]


def test_any_reference_may_be_met() -> None:
    question = asked(answer="12", references=("12", "twelve"))
    assert relaxed(question, "Twelve") == Verdict("Twelve", 1.0)
    assert relaxed(question, "12.6").grade == 1.0
    assert relaxed(question, "eleven").grade == 0.0
    assert relaxed(question, "<answer></answer>") == UNPARSED


@given(st.integers(1, 10**6), st.floats(-0.2, 0.2), st.sampled_from([1, -1]))
def test_a_number_may_be_five_per_cent_off(wanted: int, off: float, sign: int) -> None:
    said = sign * wanted * (1 + off)
    is_within = abs(said - sign * wanted) <= TOLERANCE * wanted
    assert is_relaxed_match(repr(said), str(sign * wanted)) == is_within


@given(st.integers(20, 10**6))
def test_the_bound_itself_is_within(hundreds: int) -> None:
    wanted = 100 * hundreds
    assert is_relaxed_match(str(105 * hundreds), str(wanted))
    assert is_relaxed_match(str(95 * hundreds), str(wanted))
    assert not is_relaxed_match(str(105 * hundreds + 1), str(wanted))
    assert not is_relaxed_match(str(95 * hundreds - 1), str(wanted))


@given(st.integers(-(10**9), 10**9))
def test_a_number_matches_itself_in_other_forms(number: int) -> None:
    for form in (f"{number:,}", f"{number}.0", f" {number} ", f"{number:+}", f"{number}%"):
        assert is_relaxed_match(form, str(number))


@given(st.text(min_size=1))
def test_every_text_matches_itself(text: str) -> None:
    assert is_relaxed_match(text, text)


@pytest.mark.parametrize("word", ["nan", "inf", "-inf", "1e999", "1_000", "", "%", "$", "-", "."])
def test_what_is_no_number_is_compared_as_a_word(word: str) -> None:
    assert not is_relaxed_match(word, "1000")
    assert not is_relaxed_match("1000", word)


@given(st.text(), st.text())
def test_no_text_crashes_it(said: str, answer: str) -> None:
    assert relaxed(asked(answer=answer), said).grade in (0.0, 1.0)


@hostile
def test_time_is_bounded_on_long_repetition(make: Callable[[int], str]) -> None:
    assert is_bounded(relaxed, asked(answer="14"), make)
