"""What grading says of one answer."""

from collections.abc import Callable
from dataclasses import dataclass

from lookless.episode import Question


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer that was read from a model's text, and its grade."""

    answer: str | None
    """As compared with the reference: a letter, a number, a span; None if none could be read."""
    grade: float
    """In 0..1; an unparsed answer gets 0 and is never guessed."""

    @property
    def is_parsed(self) -> bool:
        """Whether an answer could be read at all."""
        return self.answer is not None


UNPARSED = Verdict(None, 0.0)

Grader = Callable[[Question, str], Verdict]
"""Takes the question and a model's raw text, thinking and tags included."""

Examiner = Callable[[Question, str], Verdict | None]
"""A grader, or one that cannot always decide."""
