"""Everything that is reported of an evaluation, computed from its answers alone."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from lookless.benchmarks.benchmark import Benchmark, Graded
from lookless.evaluation.answered import Answered
from lookless.evaluation.config import MODES
from lookless.evaluation.looking import (
    above_mixture,
    coverage,
    decision,
    gain_and_harm,
    selective_gain,
    split_half,
    zooming_gap,
)
from lookless.evaluation.summary import summary
from lookless.necessity import posterior, strict
from lookless.statistics.paired import (
    design_effect,
    detectable_difference,
    holm,
    non_inferiority,
    paired,
)

Modes = Mapping[str, Sequence[Answered]]
"""The answers of each mode by its name."""


def results_of(source: Benchmark, modes: Modes, margin: float) -> dict[str, Any]:
    """Return the tables: each mode, the differences between them, and what looking was worth."""
    return {
        "modes": {
            name: {**summary(part), "metrics": metrics(source, part)}
            for name, part in modes.items()
        },
        "comparisons": comparisons(modes, margin),
        "looking": looking(modes),
    }


def metrics(source: Benchmark, answered: Sequence[Answered]) -> list[dict[str, Any]]:
    """Return the benchmark's official metrics over the answers that have a verdict."""
    graded = [Graded(a.question, a.verdict, a.sample) for a in answered if a.verdict is not None]
    return [asdict(metric) for metric in source.score(graded)] if graded else []


def comparisons(modes: Modes, margin: float) -> list[dict[str, Any]]:
    """Return each pair of modes on the questions that both decided; see `compared`.

    The second mode of `modes` is the freer one. p-values are adjusted for the number of pairs. The
    mode `oracle` is left out: it is shown something else.
    """
    names = [name for name in MODES if name in modes and name != "oracle"]
    pairs = []
    for first, second in combinations(names, 2):
        row = compared(modes[first], modes[second], margin)
        if row is not None:
            pairs.append({"modes": [first, second], **row})
    adjusted = holm({str(k): row["p"] for k, row in enumerate(pairs)})
    return [{**row, "p_holm": adjusted[str(k)]} for k, row in enumerate(pairs)]


def compared(
    first: Sequence[Answered], second: Sequence[Answered], margin: float
) -> dict[str, Any] | None:
    """Return how two sets of answers to the same questions differ; None if they share none.

    Several samples of a question count as one, with their mean. Given are the difference `second` -
    `first` with interval, test and p-value; whether `second` is at most `margin` worse; the
    difference that so many questions are likely to show (None if no answer differs, as then nothing
    tells how much answers vary, or if it is more than all); how many looks `second` saves; and how
    many questions were left out, as only one of the two has a grade for them.
    """
    before, after = means(first), means(second)
    shared = [key for key in before if key in after]
    if not shared:
        return None
    units = {a.question.id: a.question.unit for a in first}
    clusters = [units[key] for key in shared]
    x, y = [before[key] for key in shared], [after[key] for key in shared]
    differences = [b - a for a, b in zip(x, y, strict=True)]
    inferiority = non_inferiority(x, y, clusters, margin)
    looks = _looks(first), _looks(second)
    before_looks, after_looks = (sum(found[key] for key in shared) for found in looks)
    return {
        **asdict(paired(x, y, clusters)),
        "non_inferiority": {**asdict(inferiority), "is_shown": inferiority.is_shown},
        "left_out": len(before.keys() ^ after.keys()),
        "detectable": _detectable(differences, clusters),
        "looks_saved": None if not before_looks else 1 - after_looks / before_looks,
    }


def _detectable(differences: Sequence[float], clusters: Sequence[str]) -> float | None:
    """Return the difference that so many questions are likely to show, None if that is over 1."""
    if not any(differences):
        return None
    square = sum(d * d for d in differences) / len(differences)
    effect = max(design_effect(differences, clusters), 1.0)
    found = detectable_difference(len(differences), square, effect)
    return found if found <= 1 else None


def _looks(answered: Sequence[Answered]) -> dict[str, float]:
    """Return each question's mean number of looks over its decided answers."""
    looks: dict[str, list[int]] = {}
    for one in answered:
        if one.grade is not None:
            looks.setdefault(one.question.id, []).append(one.rollout.executed_looks)
    return {key: sum(some) / len(some) for key, some in looks.items()}


def means(answered: Sequence[Answered]) -> dict[str, float]:
    """Return each question's mean grade over its decided answers."""
    grades: dict[str, list[float]] = {}
    for one in answered:
        if one.grade is not None:
            grades.setdefault(one.question.id, []).append(one.grade)
    return {key: sum(some) / len(some) for key, some in grades.items()}


def looking(modes: Modes) -> dict[str, Any]:
    """Return what looking was worth, as far as the modes that ran can say; else None.

    The four terms of gain and harm take `toolfree` as the mode without looks, as only there the
    prompt says nothing of the operation; `never` beside it keeps the mention constant.
    """
    has = modes.keys()
    found: dict[str, Any] = {
        "gain_and_harm": {
            f"{with_looks} against {without}": terms
            for with_looks in ("adaptive", "always")
            for without in ("toolfree", "never")
            if {without, with_looks} <= has
            and (terms := gain_and_harm(modes[without], modes[with_looks])) is not None
        },
        "coverage": {
            name: row
            for name in ("always", "adaptive")
            if name in has and (row := coverage(modes[name])) is not None
        },
        "above_mixture": above_mixture(modes),
        "decision": None,
        "selective_gain": None,
        "zooming_gap": None,
    }
    if {"always", "never", "adaptive"} <= has:
        adaptive, always, never = modes["adaptive"], modes["always"], modes["never"]
        found["decision"] = {
            "known": summary(adaptive)["necessity"],
            "estimated": {
                name: decision(adaptive, always, never, estimator)
                for name, estimator in (("posterior", posterior), ("strict", strict))
            },
            "split_half": split_half(always, never, strict),
        }
    if {"never", "adaptive"} <= has:
        found["selective_gain"] = selective_gain(modes["never"], modes["adaptive"])
    if {"never", "oracle"} <= has:
        found["zooming_gap"] = zooming_gap(modes["oracle"], modes["never"])
    return found
