"""Answering questions with one policy, in batches."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from lookless.episode import Mode, Question, Rollout, StopReason, Turn
from lookless.errors import ImageError
from lookless.evaluation.answered import Answered, verdict_on
from lookless.grading.verdict import Examiner, Verdict
from lookless.images import SourceCache
from lookless.policies.policy import Policy
from lookless.rollout import Limits, check_faults, rollout


def evaluate(
    policy: Policy,
    questions: Sequence[Question],
    mode: Mode,
    sources: SourceCache,
    limits: Limits,
    grader: Examiner,
    batch: int = 96,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Answered]:
    """Return every question's rollout in one mode with its verdict, in order.

    Args:
        policy: Who answers; greedy if its temperature is 0.
        questions: What is asked.
        mode: Of the prompt.
        sources: Opens the images.
        limits: Of each episode.
        grader: Reads and grades the last turn.
        batch: Questions under way at once.
        progress: Called with the number of questions done after each batch.

    Raises:
        PolicyError: If every rollout of a batch ended in a fault.
    """
    answered: list[Answered] = []
    for start in range(0, len(questions), batch):
        part = [(question, 0) for question in questions[start : start + batch]]
        done = answer_batch(policy, part, mode, sources, limits, grader)
        check_faults([one.rollout for one in done])
        answered += done
        progress(len(answered))
    return answered


def answer_batch(
    policy: Policy,
    asked: Sequence[tuple[Question, int]],
    mode: Mode,
    sources: SourceCache,
    limits: Limits,
    grader: Examiner,
    threads: int = 1,
) -> list[Answered]:
    """Return the answer to each (question, sample), in order; all run as one batch.

    An image that cannot be opened is a fault of its own questions only. Answers are graded by so
    many threads, which pays if the grader waits for a judge.
    """
    try:
        rollouts = rollout(policy, [(question, mode) for question, _ in asked], sources, limits)
    except ImageError as error:
        if len(asked) > 1:
            parts = [
                answer_batch(policy, [a], mode, sources, limits, grader, threads) for a in asked
            ]
            return [one for part in parts for one in part]
        rollouts = [_failed(asked[0][0], mode, str(error))]
    questions = [question for question, _ in asked]

    def verdict(question: Question, done: Rollout) -> Verdict | None:
        return verdict_on(question, done, grader)

    with ThreadPoolExecutor(threads) as pool:
        verdicts = list(pool.map(verdict, questions, rollouts))
    return [
        Answered(question, done, found, sample)
        for (question, sample), done, found in zip(asked, rollouts, verdicts, strict=True)
    ]


def _failed(question: Question, mode: Mode, message: str) -> Rollout:
    """Return the rollout of a question that could not be asked."""
    return Rollout(
        question_id=question.id,
        mode=mode,
        token_ids=(),
        is_sampled=(),
        logprobs=(),
        views=(),
        looks=(),
        turns=(Turn("fault", message),),
        answer=None,
        stop=StopReason.FAULT,
        visual_tokens=0,
    )
