"""Answering a set of questions with one policy in one mode, and what came of it."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lookless.episode import Mode, Question, Rollout, StopReason
from lookless.evaluation.statistics import Confusion, cluster_interval
from lookless.grading import grade
from lookless.images import SourceCache
from lookless.policies.policy import Policy
from lookless.rollout import Limits, check_faults, rollout


@dataclass(frozen=True)
class Answered:
    """One question with its rollout and grade."""

    question: Question
    rollout: Rollout
    grade: float | None


def evaluate(
    policy: Policy,
    questions: Sequence[Question],
    mode: Mode,
    sources: SourceCache,
    limits: Limits,
    batch: int = 96,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Answered]:
    """Return every question's rollout in one mode, in order.

    Args:
        policy: Who answers; greedy if its temperature is 0.
        questions: What is asked.
        mode: Of the prompt.
        sources: Opens the images.
        limits: Of each episode.
        batch: Questions under way at once.
        progress: Called with the number of questions done after each batch.

    Raises:
        PolicyError: If every rollout of a batch ended in a fault.
    """
    answered: list[Answered] = []
    for start in range(0, len(questions), batch):
        part = questions[start : start + batch]
        rollouts = rollout(policy, [(question, mode) for question in part], sources, limits)
        check_faults(rollouts)
        answered += [Answered(q, r, grade(q, r)) for q, r in zip(part, rollouts, strict=True)]
        progress(len(answered))
    return answered


def summary(answered: Sequence[Answered]) -> dict[str, Any]:
    """Return a policy's row of the result table.

    Undecidable grades are counted in `undecided` and left out of the accuracy. Rollouts that ended
    in a fault are among them, and left out of everything else as well. `necessity` compares
    executed looks with the ground truth and is None where the data does not know it.
    """
    decided = [(a, a.grade) for a in answered if a.grade is not None]
    ran = [a for a in answered if a.rollout.stop is not StopReason.FAULT]
    count = max(len(ran), 1)
    truths = [a.question.needs_look for a in ran]
    necessity = None
    if ran and all(truth is not None for truth in truths):
        confusion = Confusion.of([a.rollout.is_used for a in ran], [bool(t) for t in truths])
        necessity = {
            "precision": confusion.precision,
            "recall": confusion.recall,
            "f1": confusion.f1,
            "mcc": confusion.mcc,
        }
    return {
        "accuracy": sum(g for _, g in decided) / max(len(decided), 1),
        "accuracy_ci": list(
            cluster_interval([g for _, g in decided], [str(a.question.image) for a, _ in decided])
        ),
        "look_rate": sum(a.rollout.is_used for a in ran) / count,
        "attempted_look_rate": sum(bool(a.rollout.looks) for a in ran) / count,
        "looks_per_sample": sum(a.rollout.executed_looks for a in ran) / count,
        "visual_tokens_per_sample": sum(a.rollout.visual_tokens for a in ran) / count,
        "generated_tokens_per_sample": sum(a.rollout.sampled_tokens for a in ran) / count,
        "seconds_per_sample": sum(a.rollout.seconds for a in ran) / count,
        "undecided": len(answered) - len(decided),
        "necessity": necessity,
    }


def protocol_hash(questions: Sequence[Question], settings: dict[str, Any]) -> str:
    """Return 12 hex digits that two results must share to be compared in one table.

    They stand for the questions, their answers, the content of their image files and `settings`.
    """
    files = {q.image for q in questions}
    images = {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    asked = [[q.id, q.text, q.answer, q.needs_look, images[q.image]] for q in questions]
    text = json.dumps([asked, settings], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
