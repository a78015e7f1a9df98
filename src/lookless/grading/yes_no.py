"""Yes or no, read from free text."""

import re

from lookless.episode import Question
from lookless.grading.extraction import (
    corrections,
    final_answer,
    plain,
    sentences,
    statements,
    without_question,
)
from lookless.grading.verdict import UNPARSED, Verdict


def yes_no(question: Question, text: str) -> Verdict:
    """Return 1 if a model's text says the right one of yes and no; see `read_yes_no`.

    Example:
        >>> from pathlib import Path
        >>> yes_no(Question("q", Path(), "Is there a dog?", "no"), "There is no dog in the image.")
        Verdict(answer='no', grade=1.0)
    """
    said = without_question(plain(final_answer(text)), question)
    answer = read_yes_no(said, question.text)
    if answer is None:
        return UNPARSED
    return Verdict(answer, float(answer == question.answer.strip().rstrip(".").lower()))


_YES, _NO = "yes|yeah|yep|yup", "no|nope|nah"
_LONE = re.compile(
    rf"(?:{_YES}|(?P<agrees>absolutely|certainly|definitely|of course|sure|indeed|correct|true"
    rf"|i (?:think|believe) so)|sí|si|oui|ja|sim|да|是的?|有)"
    rf"|(?P<no>{_NO}|false|non|nein|não|нет|否|不是?|没有)",
    re.IGNORECASE,
)
"""An answer that is nothing else."""
_EITHER = re.compile(rf"\b(?:(?:{_YES})|(?P<no>{_NO}))\b", re.IGNORECASE)
_LEADING = re.compile(
    rf"[^\w\n]{{0,4}}(?:(?:well|so|ok|okay|hmm|sure)[ ,.!:]{{1,2}}){{0,2}}{_EITHER.pattern}",
    re.IGNORECASE,
)
_STATED = re.compile(
    rf"[\s:\"'(\[-]{{0,4}}(?:(?:a|an|that|clearly|definitely|likely|probably|most|simply|it's|it is"
    rf"|indeed|therefore|thus|also|actually|still|the|answer|is|with)[\s:\"'(]{{1,3}}){{0,5}}"
    rf"(?P<denied>not )?{_EITHER.pattern}",
    re.IGNORECASE,
)
_SAYS_NEITHER = re.compile(
    r"\b(?:yes(?:,? ?/ ?| or | and |, )no(?! \w)|no(?:,? ?/ ?| or | and |, )yes"
    r"|(?:no|without) (?:a )?doubt|no question|no problem|no one|not only|not (?:a )?(?:yes|no))\b"
    r"|\bno\. ?\d",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"\b(?:cannot|can't|can not|could not|couldn't|unable to|(?:im|not )possible to|hard to"
    r"|difficult to|don't|do not|not|isn't|no way (?:to|of)|not enough \w{3,12} to)"
    r"(?: (?:\w{1,12} ){0,2}?)(?:determin\w{1,3}|tell\w{0,3}|know\w{0,3}|sure|certain|clear|answer"
    r"|say|confirm|identify|assist|help|possible|visible enough)\b"
    r"|\b(?:unclear|unsure|uncertain|no idea|no information|unknown|maybe|perhaps"
    r"|(?:not enough|insufficient|too little) \w{3,12})\b",
    re.IGNORECASE,
)
_DENIES = re.compile(
    r"\b(?:no|not|none|never|nothing|nobody|neither|nowhere|cannot|without|absent|false)\b|n't\b",
    re.IGNORECASE,
)
_SEES = frozenset("is are see has contains shows".split())
_ADDS_NOTHING = frozenset(
    "i we you can see there is are it a an the in image picture photo of one indeed clearly "
    "visible shows contains has this that does do be present definitely here".split()
)


def read_yes_no(answer: str, question: str = "") -> str | None:
    """Return `yes` or `no`, or None if an answer says neither, or both alike.

    The first of these that says anything decides: the last `the answer is`, or a last line that is
    only yes or no; the word that the answer begins with; the only one of both words in it. Without
    them a refusal is neither, another denial is no (`There is no dog`, as POPE's script reads it),
    and yes is what begins with agreement (`Correct, ...`) or only repeats the question (`There is a
    dog`). Words of correction (`wait`) make what follows count first.

    Args:
        answer: Without thinking and tags; markup does not matter.
        question: What was asked.

    Example:
        >>> read_yes_no("Yes, there is no doubt."), read_yes_no("I can't tell."), read_yes_no("No.")
        ('yes', None, 'no')

    Source: POPE (arXiv 2305.10355). Differs: there whatever is not no is yes, even nothing.
    """
    said = _SAYS_NEITHER.sub(" ", plain(answer)).strip()
    if set(re.findall(r"\w+", said.lower())) == {"yes", "no"}:
        return None
    for part in corrections(said, is_no_an_answer=True):
        if reading := _read(part, question):
            return reading
    return None


def _read(said: str, question: str) -> str | None:
    if lone := _LONE.fullmatch(said.rpartition("\n")[2].strip(" .。!\"'()-")):
        return _which(lone)
    for statement in reversed(list(statements(said))):
        stated = _STATED.match(said, statement.start)
        if stated and not (stated["denied"] or statement.is_negated or statement.is_hedged):
            return _which(stated)
    if leading := _LEADING.match(said):
        return _which(leading)
    if _REFUSED.search(said):
        return None
    readings = {_which(found) for found in _EITHER.finditer(said)}
    if readings:
        return readings.pop() if len(readings) == 1 else None
    first = (sentences(said) or [""])[0]
    if first.endswith("?"):
        return None
    if _DENIES.search(first):
        return "no"
    words, asked = (
        set(re.findall(r"\w+", text.lower())) for text in (first.replace("'s", " is"), question)
    )
    agrees = _LONE.match(first)
    if agrees and agrees["agrees"] and first[agrees.end() : agrees.end() + 1] in tuple(",.!"):
        return "yes"
    named = words - _ADDS_NOTHING
    return "yes" if named and named <= asked and words & _SEES else None


def _which(found: re.Match[str]) -> str:
    return "no" if found["no"] else "yes"
