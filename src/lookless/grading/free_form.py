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
    follows the last `the answer is` or `Answer:`, up to the end of the sentence or of the line.
    Compared as `exact_match` does, after quotes and markup: another wording of the same is wrong.

    Example:
        >>> from pathlib import Path
        >>> free_form(Question("q", Path(), "Code?", "K7"), "It is red. The answer is **K7**.")
        Verdict(answer='K7', grade=1.0)
    """
    answer = peel(final_answer(text))
    if not answer:
        return UNPARSED
    references = accepted(question)
    said = plain(answer)
    stated = stated_answers(without_question(said, question))
    for one in (answer, said, *stated):
        if any(exact_match(one, reference) for reference in references):
            return Verdict(one, 1.0)
    return Verdict(stated[0] if stated else answer, 0.0)


def stated_answers(said: str) -> tuple[str, ...]:
    """Return what a plain text says last to be the answer: its sentence, then all of its line.

    Example:
        >>> stated_answers("It is on the sign. Final answer: K7."), stated_answers("K7")
        (('K7', 'K7'), ())
    """
    for part in corrections(said):
        for statement in reversed(list(statements(part))):
            if statement.is_negated or statement.is_hedged or statement.is_choice:
                continue
            line = part[statement.start :].lstrip().partition("\n")[0]
            stated = [one.strip(" :\n\"'").rstrip(".!\"'") for one in (sentence(line, 0), line)]
            if stated[0]:
                return tuple(stated)
    return ()
