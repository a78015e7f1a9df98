"""One answer in an evaluation: the question, the rollout, and what grading says of it."""

from dataclasses import dataclass

from lookless.episode import Question, Rollout, StopReason
from lookless.grading.verdict import UNPARSED, Examiner, Verdict


@dataclass(frozen=True, slots=True)
class Answered:
    """One question with one rollout and its verdict."""

    question: Question
    rollout: Rollout
    verdict: Verdict | None
    """None where there is none to be had: the rollout failed, or a judge could not decide."""
    sample: int = 0
    """Which of several answers in the same mode."""

    @property
    def grade(self) -> float | None:
        """Return the grade in 0..1; None if undecided."""
        return None if self.verdict is None else self.verdict.grade

    @property
    def is_failed(self) -> bool:
        """Whether the infrastructure failed; such a rollout counts for nothing."""
        return self.rollout.stop is StopReason.FAULT


def prediction(rollout: Rollout) -> str | None:
    """Return the model's last turn as it said it; None if it never came to an answer."""
    if rollout.stop not in (StopReason.ANSWERED, StopReason.NO_ANSWER):
        return None
    return rollout.turns[-1].text


def verdict_on(question: Question, rollout: Rollout, grader: Examiner) -> Verdict | None:
    """Return the verdict on a rollout.

    One that ended before an answer is unparsed; one that failed has no verdict.
    """
    if rollout.stop is StopReason.FAULT:
        return None
    text = prediction(rollout)
    return UNPARSED if text is None else grader(question, text)
