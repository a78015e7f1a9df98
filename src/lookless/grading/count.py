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
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "dozen": 12}
_SMALL = rf"(?:(?:{'|'.join(_TENS)})(?:[- ](?:{'|'.join(_UNITS)}))?|{'|'.join(_WORDS)})(?![\w'-])"
_MORE = rf"(?:\ (?:and\ )?{_SMALL})?"
_HUNDREDS = rf"(?:(?:{_SMALL}|an?)\ hundred(?!\w){_MORE}|{_SMALL})"
_NUMBER = re.compile(
    rf"""(?:
      (?<![A-Za-zÀ-ɏ\d_^-])(?<!\d[.,/:]) (?P<digits>[-+]?(?:[$€£¥]\ ?)?
        (?:\d{{1,3}}(?:,\d{{3}}){{1,8}}|\d{{1,30}})?(?:(?<![.])\.\d{{1,30}})?
        (?<=\d)(?:e[-+]?\d{{1,2}})?) \ ?%? (?![A-Za-zÀ-ɏ\d_^]|[.,/:-]\d|\ ?/\ ?\d|\ \d+/\d)
     |(?<![\w'-]) (?P<word>
        (?:(?:{_HUNDREDS}|an?)\ (?:thousand|million|billion)(?!\w)(?:,?\ (?:and\ )?{_HUNDREDS})?)
        |{_HUNDREDS}
        |(?<!half\ )an?(?=\ dozen\b)
      )
    )(?:[ ](?P<scale>{"|".join(_SCALES)})(?!\w))?""",
    re.IGNORECASE | re.VERBOSE,
)
_VAGUE = re.compile(rf"\b(?:{'|'.join(_SCALES)}|couple|several|half)s?\b", re.IGNORECASE)
_NO_COUNT = re.compile(
    r"(?:\b(?:not|never)|n't)(?: (?:just|only|exactly|be|have))? ?$"
    r"|\b(?:(?:more|less|fewer|greater|other) than|over|under|above|below|at (?:least|most)|up to)"
    r" ?$"
    r"|\b(?:score|confidence|probability|grade)\b[\"' ]{0,2}(?:is|of|[:=])? ?$",
    re.IGNORECASE,
)
"""Before a number: it is denied, only a bound, or says something of the answer."""
_OPEN_END = re.compile(r"\+(?! ?\d)| or (?:more|fewer|less)\b| at (?:least|most)\b", re.IGNORECASE)
_PRONOUN = re.compile(
    r"\b(?:(?:the|an?)(?: [\w-]{1,20})?|this|that|each|every|any|no|which|other|some) $",
    re.IGNORECASE,
)
_PRONOUN_BEHIND = re.compile(
    r" (?:of|another|by|can|could|might|should|would|has)\b", re.IGNORECASE
)
_OF_WHICH = re.compile(r" of (?:which|whom|them)\b", re.IGNORECASE)
_JOINED = re.compile(
    r"^[^.:;,\n(=]{0,60}?(?:[-~/]|\b(?:to|or|and)\b)[^.:;,\n(=]{0,60}$", re.IGNORECASE
)
_IN_TOTAL = re.compile(
    r"(?: \w{2,20}){0,4}? (?:in total|altogether|total|overall)\b", re.IGNORECASE
)
_CONCLUDED = re.compile(
    r"[=≈]\s?$|\b(?:so|thus|hence|therefore|makes?|making)[ ,]{1,2}(?:there (?:is|are|were) "
    r"|(?:we|i) (?:have|see) )?$",
    re.IGNORECASE,
)
_NONE = re.compile(
    r"\bnone\b|\b(?:there (?:is|are|were)|there's|i (?:can )?see|shows|contains|has|have|visible"
    r"|count(?:ed)?) (?:no|not any|zero)\b|^no (?!one|idea|way|clue|info|more|less|fewer)[a-z]"
    r"|\b(?:aren't|isn't|not|don't see) any\b",
    re.IGNORECASE,
)


def read_number(answer: str) -> Decimal | None:
    """Return the number that an answer gives, or None if it gives none or several.

    The first of these that says anything decides: the last number behind `the answer is`, `total:`,
    `so` or `=`, before `in total`, or alone on the last line; one alone on the first line; the only
    number. Without any number, `none` and `there are no` are 0. Words of correction (`wait`) make
    what follows count first. A range, bound, fraction, time, ordinal or part of a word is no
    number.

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
    """Yield the numbers of a plain text that may be a count."""
    is_first = True
    for found in _NUMBER.finditer(said):
        before = said[max(0, found.start() - 30) : found.start()]
        if _NO_COUNT.search(before) or _OPEN_END.match(said, found.end()):
            continue
        if found[0].lower() == "one" and (
            _PRONOUN.search(before) or _PRONOUN_BEHIND.match(said, found.end())
        ):
            continue
        if not is_first and _OF_WHICH.match(said, found.end()):
            continue
        is_first = False
        if found["digits"]:
            value = Decimal(re.sub(r"[$€£¥, ]", "", found["digits"]))
        else:
            value = _value(found["word"])
        scale = _SCALES[found["scale"].lower()] if found["scale"] else 1
        yield _Number(value * scale, found.start(), found.end(), found[0])


def _value(words: str) -> Decimal:
    """Return the value of a number in words, such as `two thousand and twenty-one`."""
    total = current = 0
    for word in re.split("[-, ]+", words.lower()):
        if word == "hundred":
            current *= 100
        elif word in _SCALES:
            total, current = total + current * _SCALES[word], 0
        elif word in ("a", "an"):
            current = 1
        elif word != "and":
            current += _WORDS[word]
    return Decimal(total + current)


def _stated(said: str, numbers: Sequence[_Number]) -> Iterator[_Number]:
    """Yield the numbers that a plain text says to be the answer."""
    for statement in statements(said):
        end = statement.start + len(sentence(said, statement.start))
        said_here = [one for one in numbers if statement.start <= one.start < end]
        if said_here and not (statement.is_negated or statement.is_hedged):
            yield said_here[0]
    for number in numbers:
        before = said[max(0, number.start - 30) : number.start]
        if _CONCLUDED.search(before) or _IN_TOTAL.match(said, number.end):
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
