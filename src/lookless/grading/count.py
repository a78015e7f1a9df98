"""Exact counts, read from free text."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from lookless.episode import Question
from lookless.grading.extraction import (
    corrections,
    final_answer,
    plain,
    sentence,
    sentences,
    statements,
    without_question,
)
from lookless.grading.verdict import UNPARSED, Verdict


def count(question: Question, text: str) -> Verdict:
    """Return 1 if a model's text gives exactly the right number; see `read_number`.

    Example:
        >>> from pathlib import Path
        >>> count(Question("q", Path(), "How many dogs?", "3"), "There are three dogs.")
        Verdict(answer='3', grade=1.0)
    """
    number = read_number(without_question(plain(final_answer(text)), question))
    if number is None:
        return UNPARSED
    return Verdict(f"{number.normalize():f}", float(number == read_number(question.answer)))


_UNITS = "one two three four five six seven eight nine".split()
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_WORDS = {word: value for value, word in enumerate(["zero", *_UNITS, *_TEENS])} | {
    word: 10 * value for value, word in enumerate(_TENS, 2)
}
_SCALES = {
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
    "billion": 10**9,
    "dozen": 12,
}
_NUMBER = re.compile(
    rf"""(?:
      (?<![A-Za-zÀ-ɏ\d_^-])(?<!\d[.,/:]) (?P<digits>[-+]?[$€£¥]?\ ?
        (?:\d{{1,3}}(?:,\d{{3}}){{1,8}}|\d{{1,30}})?(?:(?<![.])\.\d{{1,30}})?
        (?<=\d)(?:e[-+]?\d{{1,2}})?) \ ?%? (?![A-Za-zÀ-ɏ\d_^]|[.,/:-]\d|\ ?/\ ?\d)
     |(?<![\w'-]) (?P<word>
        (?:{"|".join(_TENS)})[-\ ](?:{"|".join(_UNITS)})
        |(?<!this\ )(?<!that\ )(?<!each\ )(?<!every\ )(?<!any\ )(?<!no\ )(?<!which\ )(?<!the\ )
         (?<!other\ )(?<!some\ )one(?!\ (?:of|another|by|can|could|might|should|would|has)\b)
        |{"|".join(word for word in _WORDS if word != "one")}
        |(?<!half\ )an?(?=\ (?:{"|".join(_SCALES)})\b)
      ) (?![\w'-])
    )(?:[ ](?P<scale>{"|".join(_SCALES)})(?!\w))?""",
    re.IGNORECASE | re.VERBOSE,
)
_VAGUE = re.compile(rf"\b(?:{'|'.join(_SCALES)}|couple|several|half)s?\b", re.IGNORECASE)
_DENIED = re.compile(r"\b(?:not|n't|never)(?: (?:just|only|exactly|be|have))? ?$", re.IGNORECASE)
_JOINED = re.compile(
    r"^[^.:;,\n(=]{0,60}?(?:[-~/]|\b(?:to|or|and)\b)[^.:;,\n(=]{0,60}$", re.IGNORECASE
)
_IN_TOTAL = re.compile(
    r"(?: \w{2,20}){0,4}? (?:in total|altogether|total|overall)\b", re.IGNORECASE
)
_NONE = re.compile(
    r"\bnone\b|\b(?:there (?:is|are|were)|there's|i (?:can )?see|shows|contains|has|have|visible"
    r"|count(?:ed)?) (?:no|not any|zero)\b|^no (?!one|idea|way|clue|info)[a-z]|\b(?:aren't|isn't|not|don't see) any\b",
    re.IGNORECASE,
)


def read_number(answer: str) -> Decimal | None:
    """Return the number that an answer gives, or None if it gives none or several.

    The first of these that says anything decides: the last number behind `the answer is`, `total:`
    or `=`, before `in total`, or alone on the last line; one alone on the first line; the only
    number. Without any number, `none` and `there are no` are 0. Words of correction (`wait`) make
    what follows count first. A range, fraction, time, ordinal or part of a word is no number.

    Args:
        answer: Without thinking and tags; markup does not matter.

    Example:
        >>> [str(read_number(text)) for text in ("-2", "$1,000.", "3.5%", "twenty-one", "2 or 3")]
        ['-2', '1000', '3.5', '21', 'None']
        >>> read_number("2 on the left and 1 on the right, so 2 + 1 = 3")
        Decimal('3')
    """
    for part in corrections(plain(answer)):
        numbers = list(_numbers(part))
        stated = list(_stated(part, numbers))
        if stated:
            number = max(stated, key=lambda one: one.start)
            if not _is_joined(part, number, numbers):
                return number.value
        elif numbers and not _VAGUE.search(_NUMBER.sub(" ", part)):
            first, values = numbers[0], {number.value for number in numbers}
            if len(values) == 1 or _is_alone(part.partition("\n")[0], first):
                return first.value
        elif not numbers and _NONE.search(part) and len(sentences(part)) == 1:
            return Decimal(0)
    return None


@dataclass(frozen=True, slots=True)
class _Number:
    value: Decimal
    start: int
    end: int
    text: str


def _numbers(said: str) -> Iterator[_Number]:
    """Yield the numbers of a plain text that it does not deny."""
    for found in _NUMBER.finditer(said):
        if _DENIED.search(said[max(0, found.start() - 20) : found.start()]):
            continue
        if found["digits"]:
            value = Decimal(re.sub(r"[$€£¥, ]", "", found["digits"]))
        else:
            value = Decimal(
                sum(_WORDS.get(word, 1) for word in re.split("[- ]", found["word"].lower()))
            )
        scale = _SCALES[found["scale"].lower()] if found["scale"] else 1
        yield _Number(value * scale, found.start(), found.end(), found[0])


def _stated(said: str, numbers: Sequence[_Number]) -> Iterator[_Number]:
    """Yield the numbers that a plain text says to be the answer."""
    for statement in statements(said):
        end = statement.start + len(sentence(said, statement.start))
        said_here = [one for one in numbers if statement.start <= one.start < end]
        if said_here and not (statement.is_negated or statement.is_hedged):
            yield said_here[0]
    for number in numbers:
        if said[: number.start].rstrip()[-1:] in tuple("=≈") or _IN_TOTAL.match(said, number.end):
            yield number
    last_line = said.rpartition("\n")[2]
    if numbers and _is_alone(last_line, numbers[-1]):
        yield numbers[-1]


def _is_alone(line: str, number: _Number) -> bool:
    return line.strip(" .!\"'()") == number.text.strip()


def _is_joined(said: str, number: _Number, numbers: Sequence[_Number]) -> bool:
    """Return whether another number follows as an alternative: `3 or 4`, `2 dogs and 1 cat`."""
    after = next((one for one in numbers if one.start >= number.end), None)
    if after is None or after.value == number.value:
        return False
    return bool(_JOINED.search(said[number.end : after.start]))
