"""Answering questions with one policy, in batches."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Protocol

from lookless.episode import Mode, Question, Rollout, StopReason, Turn
from lookless.errors import ImageError
from lookless.evaluation.answered import Answered, verdict_on
from lookless.grading.verdict import Examiner, Verdict
from lookless.images import Source, SourceCache
from lookless.policies.policy import Policy
from lookless.rollout import Limits, check_faults, rollout


class RollOut(Protocol):
    """Makes rollouts, as `rollout` does with a policy."""

    def __call__(
        self,
        requests: Sequence[tuple[Question, Mode]],
        sources: SourceCache,
        limits: Limits,
        samples: Sequence[int],
    ) -> list[Rollout]:
        """Return one rollout for each (question, mode), in order."""


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
        done = answer_batch(partial(rollout, policy), part, mode, sources, limits, grader)
        check_faults([one.rollout for one in done])
        answered += done
        progress(len(answered))
    return answered


def answer_batch(
    roll_out: RollOut,
    asked: Sequence[tuple[Question, int]],
    mode: Mode,
    sources: SourceCache,
    limits: Limits,
    grader: Examiner,
    threads: int = 1,
    concurrency: int = 1,
) -> list[Answered]:
    """Return the answer to each (question, sample), in order.

    An image that cannot be opened is a fault of its own questions only.

    Args:
        roll_out: Makes the answers.
        asked: What is asked, and which of several answers to it this is.
        mode: Of the prompt.
        sources: Opens the images.
        limits: Of each episode.
        grader: Reads and grades the last turn.
        threads: That grade; several pay if the grader waits for a judge.
        concurrency: Rollouts under way at once, each by itself; 1 makes one batch of all.
    """
    held: list[Source] = []  # or each would be opened again
    faults = {question: _fault_of(question, sources, held) for question, _ in asked}
    good = [one for one in asked if faults[one[0]] is None]

    def run(part: Sequence[tuple[Question, int]]) -> list[Rollout]:
        requests = [(question, mode) for question, _ in part]
        try:
            return roll_out(requests, sources, limits, [sample for _, sample in part])
        except ImageError as error:  # it was damaged behind its header
            if len(part) > 1:
                return [done for one in part for done in run([one])]
            return [_failed(part[0][0], mode, str(error))]

    began = time.monotonic()
    if concurrency > 1:
        with ThreadPoolExecutor(concurrency) as pool:
            rollouts = [done for part in pool.map(run, [[one] for one in good]) for done in part]
        share = (time.monotonic() - began) / max(len(rollouts), 1)
        rollouts = [replace(done, seconds=share) for done in rollouts]
    else:
        rollouts = run(good) if good else []
    come = iter(rollouts)
    every = [
        next(come) if (fault := faults[question]) is None else _failed(question, mode, fault)
        for question, _ in asked
    ]

    def verdict(question: Question, done: Rollout) -> Verdict | None:
        return verdict_on(question, done, grader)

    with ThreadPoolExecutor(threads) as pool:
        verdicts = list(pool.map(verdict, [question for question, _ in asked], every))
    return [
        Answered(question, done, found, sample)
        for (question, sample), done, found in zip(asked, every, verdicts, strict=True)
    ]


def _fault_of(question: Question, sources: SourceCache, held: list[Source]) -> str | None:
    """Return why a question's image cannot be opened, as far as its header tells."""
    try:
        held.append(sources.get(question.image))
        _ = held[-1].size
    except ImageError as error:
        return str(error)
    return None


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
