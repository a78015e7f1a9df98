"""Strict match of open answers: what can be decided without a judge."""

from lookless.episode import Question
from lookless.grading.exact import exact_match
from lookless.grading.extraction import (
    accepted,
    corrections,
    final_answer,
    peel,
    plain,
    sentence,
    statements,
    without_question,
)
from lookless.grading.verdict import UNPARSED, Verdict


def free_form(question: Question, text: str) -> Verdict:
    r"""Return 1 if a model's answer, or what it says to be the answer, is an accepted one.

    The answer is what the text marks as such, or all of it; if that is no accepted answer, what
    follows the last `the answer is` or `Answer:`, up to the end of the sentence. Compared as
    `exact_match` does, after quotes and markup: another wording of the same is wrong.

    Example:
        >>> from pathlib import Path
        >>> free_form(Question("q", Path(), "Which code?", "K7"), "It is red. The answer is **K7**.")
        Verdict(answer='K7', grade=1.0)
    """
    answer = peel(final_answer(text))
    if not answer:
        return UNPARSED
    references = accepted(question)
    said = stated_answer(without_question(plain(answer), question))
    for one in (answer, said):
        if one and any(exact_match(one, reference) for reference in references):
            return Verdict(one, 1.0)
    return Verdict(said or answer, 0.0)


def stated_answer(said: str) -> str | None:
    """Return what a plain text says last to be the answer, or None if it says so nowhere.

    Example:
        >>> stated_answer("The code is on the sign. Final answer: K7."), stated_answer("K7")
        ('K7', None)
    """
    for part in corrections(said):
        for statement in reversed(list(statements(part))):
            if statement.is_negated or statement.is_hedged or statement.is_choice:
                continue
            stated = sentence(part, statement.start).strip(" :\n\"'").rstrip(".!\"'")
            if stated:
                return stated
    return None
