"""What came of one mode: accuracy, looks, costs, and how rollouts ended."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from lookless.evaluation.answered import Answered
from lookless.statistics.confusion import Confusion
from lookless.statistics.intervals import mean_interval


def summary(answered: Sequence[Answered]) -> dict[str, Any]:
    """Return one row of the result table.

    The accuracy is over the `graded` answers, and None without any. `undecided` ones came, but have
    no grade. Failed rollouts are counted in `failed` and left out of everything else. `unparsed`
    answers are wrong, and counted. `necessity` compares executed looks with the ground truth and is
    None where the data does not know it. Seconds are of wall clock: `seconds_per_sample` is a
    batch's time shared by its size, `latency_s` the time from asking to the end of a rollout. Rates
    and means are over all that ran; several samples of one question count as one in no denominator,
    but the intervals resample clusters of questions.
    """
    decided = [(a, a.verdict) for a in answered if a.verdict is not None]
    ran = [a for a in answered if not a.is_failed]
    grades = [verdict.grade for _, verdict in decided]
    used = [float(a.rollout.is_used) for a in ran]
    return {
        "n": len({a.question.id for a in answered}),
        "samples": len(answered),
        "accuracy": _mean(grades),
        "accuracy_ci": list(mean_interval(grades, _clusters([a for a, _ in decided]))),
        "look_rate": _mean(used),
        "look_rate_ci": list(mean_interval(used, _clusters(ran))),
        "attempted_look_rate": _mean([bool(a.rollout.looks) for a in ran]),
        "looks_per_sample": _mean([a.rollout.executed_looks for a in ran]),
        "visual_tokens_per_sample": _mean([a.rollout.visual_tokens for a in ran]),
        "generated_tokens_per_sample": _mean([a.rollout.generated_tokens for a in ran]),
        "seconds_per_sample": _mean([a.rollout.seconds for a in ran]),
        "latency_s": _quantiles([a.rollout.latency for a in ran]),
        "stops": dict(Counter(a.rollout.stop.value for a in answered).most_common()),
        "unparsed": sum(not verdict.is_parsed for _, verdict in decided),
        "graded": len(decided),
        "undecided": len(ran) - len(decided),
        "failed": len(answered) - len(ran),
        "necessity": _against_truth(ran),
    }


def _against_truth(ran: Sequence[Answered]) -> dict[str, Any] | None:
    """Return how looks agree with the known need; None if it is not known of all."""
    truths = [a.question.needs_look for a in ran]
    if not ran or any(truth is None for truth in truths):
        return None
    return agreement([a.rollout.is_used for a in ran], [bool(truth) for truth in truths])


def agreement(looked: Sequence[bool], needed: Sequence[bool]) -> dict[str, Any]:
    """Return precision, recall, F1 and MCC of decisions to look, the base rate beside them."""
    confusion = Confusion.of(looked, needed)
    return {
        "precision": confusion.precision,
        "recall": confusion.recall,
        "f1": confusion.f1,
        "mcc": confusion.mcc,
        "over_use": confusion.over_use,
        "under_use": confusion.under_use,
        "base_rate": confusion.base_rate,
        "n": confusion.n,
    }


def _clusters(answered: Sequence[Answered]) -> list[str]:
    return [a.question.unit for a in answered]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _quantiles(values: Sequence[float]) -> dict[str, float] | None:
    """Return median and 90th percentile; None without values."""
    if not values:
        return None
    median, p90 = np.percentile(values, [50, 90])
    return {"median": float(median), "p90": float(p90)}
