from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grading.answers import Row, adversarial, asked, expected, hostile, is_bounded
from lookless.grading.count import count, read_number
from lookless.grading.verdict import UNPARSED, Verdict

OF_DOGS = asked("How many dogs are there?", "3")


@adversarial("count")
def test_answer_is_read_as_a_careful_reader_does(row: Row) -> None:
    assert count(OF_DOGS, row["said"]).answer == expected(row), row["why"]


@pytest.mark.parametrize("answer", ["3", "3.0", "three", "03"])
def test_verdict_compares_values(answer: str) -> None:
    question = asked("How many dogs are there?", answer)
    assert count(question, "There are three dogs.") == Verdict("3", 1.0)
    assert count(question, "13") == Verdict("13", 0.0)
    assert count(question, "2 or 3") == UNPARSED


WORDS = "{}|{}.|({})|**{}**|There are {} dogs.|The answer is {}.|<answer>{}</answer>|Total: {}"


@given(st.integers(0, 10**12), st.sampled_from(WORDS.split("|")), st.booleans())
def test_integer_in_any_wrapper_is_exact(number: int, wrapper: str, with_commas: bool) -> None:
    said = wrapper.format(f"{number:,}" if with_commas else number)
    assert read_number(said.replace("<answer>", "").replace("</answer>", "")) == number
    assert count(asked("How many?", str(number)), said).grade == 1.0
    assert count(asked("How many?", str(number + 1)), said).grade == 0.0


@given(st.decimals(-1000, 1000, places=3, allow_nan=False))
def test_decimals_are_compared_exactly(number: Decimal) -> None:
    assert read_number(f"{number}") == number
    assert read_number(f"The answer is {number}.") == number


UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
UNITS += " fifteen sixteen seventeen eighteen nineteen"
TENS = "twenty thirty forty fifty sixty seventy eighty ninety"


def in_words(number: int) -> str:
    """Return a number below a million in words, as it is written in English."""
    if number < 20:
        return UNITS.split()[number]
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if number >= size:
            rest = number % size
            joint = " and " if rest < 100 else " "
            return f"{in_words(number // size)} {name}" + (joint + in_words(rest) if rest else "")
    ten = TENS.split()[number // 10 - 2]
    return f"{ten}-{in_words(number % 10)}" if number % 10 else ten


@given(st.integers(0, 999_999))
def test_numbers_in_words_are_exact(number: int) -> None:
    assert read_number(in_words(number)) == number
    assert read_number(f"There are {in_words(number)} dogs.") == number


@given(st.integers(0, 99), st.integers(0, 99), st.sampled_from(["{} or {}", "{}-{}", "{} to {}"]))
def test_two_numbers_are_never_one_of_them(a: int, b: int, both: str) -> None:
    assert read_number(both.format(a, b)) is None or a == b


@given(st.text())
def test_no_text_crashes_it(said: str) -> None:
    verdict = count(OF_DOGS, said)
    assert verdict.answer is None or Decimal(verdict.answer).is_finite()


@hostile
def test_time_is_bounded_on_long_repetition(make: Callable[[int], str]) -> None:
    assert is_bounded(count, OF_DOGS, make)
