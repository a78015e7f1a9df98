from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from grading.answers import Row, adversarial, asked, expected, hostile, is_bounded, verdict_on
from lookless.grading.free_form import free_form, stated_answers
from lookless.grading.verdict import UNPARSED, Verdict


@adversarial("free_form")
def test_answer_is_graded_as_a_strict_reader_does(row: Row) -> None:
    verdict = verdict_on(row, free_form)
    assert (verdict.grade if verdict.is_parsed else None) == expected(row), row["why"]


def test_any_reference_may_be_met_and_what_is_said_is_kept() -> None:
    question = asked(answer="NYC", references=("NYC", "New York"))
    assert free_form(question, "The answer is new york.") == Verdict("new york", 1.0)
    assert free_form(question, "So the answer is Boston. It is big.") == Verdict("Boston", 0.0)
    assert free_form(question, "</think>") == UNPARSED


def test_the_last_statement_counts_and_words_of_correction_come_first() -> None:
    assert stated_answers("The answer is K7. Then again, the answer is K8.")[0] == "K8"
    assert stated_answers("The answer is K7. Wait, the answer is K8. Done.")[0] == "K8"
    assert stated_answers("Answer:\nK7\nBecause of the sign.") == ("K7", "K7")


WORD = st.from_regex(r"[a-z]{2,9}[0-9]{1,3}", fullmatch=True)
FORMS = ["{}", "{}.", "**{}**", "<answer>{}</answer>", r"\boxed{{{}}}", "The answer is {}.", '"{}"']


@given(WORD, WORD, st.sampled_from(FORMS))
def test_only_the_reference_itself_is_right(word: str, other: str, form: str) -> None:
    assert free_form(asked(answer=word), form.format(word)).grade == 1.0
    assert free_form(asked(answer=word), form.format(other)).grade == float(word == other)
    assert free_form(asked(answer=word), form.format(f"{word} or {other}")).grade == 0.0


@given(st.text(), st.text())
def test_no_text_crashes_it(said: str, answer: str) -> None:
    assert free_form(asked(answer=answer), said).grade in (0.0, 1.0)


@hostile
def test_time_is_bounded_on_long_repetition(make: Callable[[int], str]) -> None:
    assert is_bounded(free_form, asked(answer="K7"), make)
