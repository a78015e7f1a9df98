"""Relaxed accuracy, for numbers and words that are read off a chart."""

import math
import re

from lookless.episode import Question
from lookless.grading.exact import exact_match
from lookless.grading.extraction import accepted, final_answer, peel
from lookless.grading.verdict import UNPARSED, Verdict

TOLERANCE = 0.05
"""A number may differ from the reference by this share of it."""

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_MINUS = "\u2212"
_CURRENCY = re.compile(r"^([-+]?)[$€£¥]\s?(?=[\d.])")


def relaxed(question: Question, text: str) -> Verdict:
    r"""Return 1 if a model's answer is within 5 % of an accepted number, or is an accepted word.

    What a text marks as its answer is compared, else all of it, as in the official script.

    Example:
        >>> from pathlib import Path
        >>> relaxed(Question("q", Path(), "How many?", "1000"), r"About \boxed{1,040}")
        Verdict(answer='1,040', grade=1.0)
    """
    answer = peel(final_answer(text))
    if not answer:
        return UNPARSED
    return Verdict(answer, float(any(is_relaxed_match(answer, one) for one in accepted(question))))


def is_relaxed_match(prediction: str, reference: str) -> bool:
    """Return whether a prediction is a number within 5 % of the reference, or else the same word.

    A percentage is a fraction: `5%` is 0.05. A year is a number like any other, so 2009 is 2010,
    and a number that is not the whole prediction counts as a word.

    Example:
        >>> is_relaxed_match("14.5", "14"), is_relaxed_match("15", "14"), is_relaxed_match("0", "1")
        (True, False, False)
        >>> is_relaxed_match("1,000", "$1000"), is_relaxed_match("5%", "5")
        (True, True)

    Source: Methani et al. 2020, Masry et al. 2022 (arXiv 2203.10244) as in Qwen-VL's and
    lmms-eval's `relaxed_correctness`. Differs, where the official rule finds the same value in
    another form wrong: separators of thousands and a currency sign in front do not count
    (officially a number with them is a word); a reference of 0 is met by 0.0; a percentage on one
    side only is also met by the same number without the sign, but with no tolerance; words are
    compared as by `exact_match`. What is officially right stays right.
    """
    said, wanted = _number(prediction), _number(reference)
    if said is None or wanted is None:
        return exact_match(prediction, reference) == 1.0
    if abs(said - wanted) <= TOLERANCE * abs(wanted):
        return True
    if prediction.strip().endswith("%") != reference.strip().endswith("%"):
        return _number(prediction.strip().rstrip("%")) == _number(reference.strip().rstrip("%"))
    return False


def _number(text: str) -> float | None:
    bare = _CURRENCY.sub(r"\1", _THOUSANDS.sub("", text.strip().replace(_MINUS, "-")))
    try:
        number = float(bare.rstrip("%").replace("_", " ")) / (100 if bare.endswith("%") else 1)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
