"""What looking was worth: gain and harm, the decision, the crops, and accuracy against looks.

Several samples of one question in a mode are paired by their number. Failed and undecided answers
are left out together with their partners.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookless.episode import LookOutcome
from lookless.evaluation.answered import Answered
from lookless.evaluation.summary import agreement
from lookless.frames import Box
from lookless.necessity import Estimator, Necessity
from lookless.statistics.intervals import bootstrap_interval, bounded_mean_interval

Modes = Mapping[str, Sequence[Answered]]
"""The answers of each mode, by the names never, always, adaptive, toolfree and oracle."""

TERMS = ("call_gain", "schema_gain", "call_harm", "schema_harm")
HIT = 0.5
"""Share of the evidence that crops must hold to have found it."""


def gain_and_harm(
    without: Sequence[Answered], with_looks: Sequence[Answered]
) -> dict[str, Any] | None:
    """Return where the difference between two modes comes from; None if they share no question.

    The four terms add up to the difference: gain and harm of answers that looked (`call_`), and of
    those that did not, which only the mention of the operation can have changed (`schema_`).
    `residual` is what is left, zero up to rounding. Each binary term is also given as
    mass x policy x quality: how often the other mode is wrong (right for harm), how often then a
    look is taken (not taken for schema), and how often then the answer turns right (wrong).

    Source: "Med" (arXiv 2602.01334), with the tool-free prompt as `without`. Grades between 0 and
    1 (ANLS) count by how much they rise or fall, which gives the same numbers for 0 and 1; the
    factors are given for grades of 0 and 1 only.
    """
    pairs = list(zip(*_paired(without, with_looks), strict=True))
    if not pairs:
        return None
    before = np.array([_grade(a) for a, _ in pairs])
    after = np.array([_grade(b) for _, b in pairs])
    called = np.array([b.rollout.is_used for _, b in pairs], dtype=bool)
    rise, fall = np.maximum(after - before, 0.0), np.maximum(before - after, 0.0)
    columns = np.stack([rise * called, rise * ~called, fall * called, fall * ~called], axis=1)
    clusters = [a.question.unit for a, _ in pairs]
    result: dict[str, Any] = {"n": len(pairs), "difference": _mean(after - before)}
    for k, name in enumerate(TERMS):
        interval = bounded_mean_interval(columns[:, k].tolist(), clusters)
        result[name] = {"value": _mean(columns[:, k]), "ci": list(interval)}
    total = sum(result[n]["value"] * s for n, s in zip(TERMS, (1, 1, -1, -1), strict=True))
    result["residual"] = result["difference"] - total
    is_binary = bool(np.isin(np.concatenate([before, after]), (0.0, 1.0)).all())
    if is_binary:
        for name, start, kind in zip(TERMS, (0, 0, 1, 1), (True, False, True, False), strict=True):
            here = before == start
            taken = here & (called == kind)
            turned = taken & (after == 1 - start)
            result[name] |= {
                "mass": _mean(here),
                "policy": taken.sum() / here.sum() if here.any() else None,
                "quality": turned.sum() / taken.sum() if taken.any() else None,
            }
    return result


def decision(
    adaptive: Sequence[Answered],
    always: Sequence[Answered],
    never: Sequence[Answered],
    estimator: Estimator,
) -> dict[str, Any]:
    """Return how the adaptive decision agrees with need estimated from the other two modes.

    The rollouts that need is estimated from are never those that are scored. Questions whose need
    the estimator leaves open are counted in `abstained` and left out.
    """
    needs = estimated_needs(always, never, estimator)
    scored = [a for a in adaptive if not a.is_failed and a.question.id in needs]
    known = [(a.rollout.is_used, needs[a.question.id].need) for a in scored]
    sure = [(looked, need == 1.0) for looked, need in known if need is not None]
    return {
        **agreement([looked for looked, _ in sure], [need for _, need in sure]),
        "abstained": len(known) - len(sure),
        "rollouts_per_side": {
            "always": _per_question(always),
            "never": _per_question(never),
        },
    }


def estimated_needs(
    always: Sequence[Answered], never: Sequence[Answered], estimator: Estimator
) -> dict[str, Necessity]:
    """Return each question's need by its answers in the two modes; only where both have some."""
    look, no_look = _grades(always), _grades(never)
    return {key: estimator(look[key], no_look[key]) for key in look if key in no_look}


def split_half(
    always: Sequence[Answered], never: Sequence[Answered], estimator: Estimator
) -> float | None:
    """Return how often the need by even samples equals that by odd ones; None without two each.

    Where either half abstains, the question is left out.
    """
    halves = []
    for parity in (0, 1):
        sides = [[a for a in side if a.sample % 2 == parity] for side in (always, never)]
        halves.append(estimated_needs(sides[0], sides[1], estimator))
    pairs = [(halves[0][k].need, halves[1][k].need) for k in halves[0] if k in halves[1]]
    both = [(a, b) for a, b in pairs if a is not None and b is not None]
    return sum(a == b for a, b in both) / len(both) if both else None


def selective_gain(without: Sequence[Answered], adaptive: Sequence[Answered]) -> dict[str, Any]:
    """Return accuracy with and without looking on the questions that were looked at, and the rest.

    That answers with a look are wrong more often than others says nothing: they are harder.
    """
    pairs = list(zip(*_paired(without, adaptive), strict=True))
    result = {}
    for name, is_used in (("looked", True), ("not_looked", False)):
        part = [(_grade(a), _grade(b)) for a, b in pairs if b.rollout.is_used is is_used]
        before, after = [a for a, _ in part], [b for _, b in part]
        result[name] = {"n": len(part), "without": _mean(before), "with": _mean(after)}
    return result


def zooming_gap(oracle: Sequence[Answered], never: Sequence[Answered]) -> dict[str, Any]:
    """Return accuracy on the evidence's crop minus accuracy on the whole image, same prompt.

    Source: ZoomBench's dual view; the crop here is the evidence with a margin.
    """
    whole, crop = _paired(never, oracle)
    before, after = [_grade(a) for a in whole], [_grade(b) for b in crop]
    return {"n": len(whole), "full": _mean(before), "crop": _mean(after),
            **_difference(whole, before, after)}  # fmt: skip


def coverage(answered: Sequence[Answered]) -> dict[str, Any] | None:
    """Return how much of the known evidence the executed crops hold; None without any such.

    `coverage` is the mean share of the evidence's area inside the union of a rollout's crops,
    `iou` the mean over evidence boxes of the best crop's intersection over union, `found` the share
    of rollouts whose crops hold at least HIT of the evidence. Wrong answers are split into those
    whose crops missed the evidence and those that saw it.
    """
    looked = [a for a in answered if a.rollout.is_used and a.question.boxes and not a.is_failed]
    if not looked:
        return None
    shares, ious, found, missed_wrong, seen_wrong = [], [], 0, 0, 0
    for one in looked:
        crops = [
            one.rollout.views[look.view].region
            for look in one.rollout.looks
            if look.outcome is LookOutcome.EXECUTED and look.view is not None
        ]
        share = covered(one.question.boxes, crops)
        shares.append(share)
        ious.append(float(np.mean([max(iou(b, c) for c in crops) for b in one.question.boxes])))
        found += share >= HIT
        if one.grade is not None and one.grade <= 0.5:
            missed_wrong += share < HIT
            seen_wrong += share >= HIT
    return {
        "n": len(looked),
        "coverage": _mean(shares),
        "iou": _mean(ious),
        "found": found / len(looked),
        "wrong_and_missed": missed_wrong,
        "wrong_and_seen": seen_wrong,
    }


def covered(boxes: Sequence[Box], crops: Sequence[Box]) -> float:
    """Return the share of the boxes' area that lies inside any crop, in 0..1.

    Example:
        >>> from lookless.frames import Frame
        >>> box = Box(0, 0, 10, 10, Frame.SOURCE)
        >>> covered([box], [Box(0, 0, 5, 10, Frame.SOURCE), Box(0, 0, 10, 5, Frame.SOURCE)])
        0.75
    """
    total = sum(box.area for box in boxes)
    if total == 0:
        return 0.0
    held = 0.0
    for box in boxes:
        parts = [part for part in (box.intersection(c) for c in crops) if part.area > 0]
        xs = sorted({x for p in parts for x in (p.left, p.right)})
        ys = sorted({y for p in parts for y in (p.top, p.bottom)})
        for left, right in pairwise(xs):
            for top, bottom in pairwise(ys):
                x, y = (left + right) / 2, (top + bottom) / 2
                if any(p.left < x < p.right and p.top < y < p.bottom for p in parts):
                    held += (right - left) * (bottom - top)
    return held / total


def iou(first: Box, second: Box) -> float:
    """Return intersection over union of two boxes in one frame, in 0..1."""
    common = first.intersection(second).area
    union = first.area + second.area - common
    return common / union if union > 0 else 0.0


def above_mixture(modes: Modes) -> dict[str, Any] | None:
    """Return adaptive accuracy minus that of looking at random as often; None without all modes.

    The mixture answers a random share of the questions as in the mode `always` and the others as in
    `never`, with a share that gives the adaptive look rate. Positive means that the choice of
    where to look is worth something at equal looks.
    """
    if not {"never", "always", "adaptive"} <= modes.keys():
        return None
    rows = _paired(modes["never"], modes["always"], modes["adaptive"])
    if not rows[0]:
        return None
    columns = np.array(
        [[_grade(a), float(a.rollout.is_used)] for part in rows for a in part]
    ).reshape(3, len(rows[0]), 2)
    columns_NK = np.concatenate([*columns, np.ones((len(rows[0]), 1))], axis=1)

    def gain(sums_RK: NDArray[np.float64]) -> NDArray[np.float64]:
        never, used_never, always, used_always, adaptive, used, n = sums_RK.T
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.clip((used - used_never) / (used_always - used_never), 0.0, 1.0)
            return np.asarray((adaptive - never - share * (always - never)) / n)

    value = float(gain(columns_NK.sum(0, keepdims=True))[0])
    if np.isnan(value):
        return None
    low, high = bootstrap_interval(columns_NK, [a.question.unit for a in rows[0]], gain)
    return {"n": len(rows[0]), "value": value, "ci": [low, high]}


def _paired(*parts: Sequence[Answered]) -> list[list[Answered]]:
    """Return the decided answers that all parts have, in the order of the first."""
    tables = [{(a.question.id, a.sample): a for a in p if a.grade is not None} for p in parts]
    keys = [key for key in tables[0] if all(key in table for table in tables[1:])]
    return [[table[key] for key in keys] for table in tables]


def _grades(answered: Sequence[Answered]) -> dict[str, list[float | None]]:
    found: dict[str, list[float | None]] = {}
    for one in answered:
        if not one.is_failed:
            found.setdefault(one.question.id, []).append(one.grade)
    return found


def _per_question(answered: Sequence[Answered]) -> float:
    return len(answered) / max(len({a.question.id for a in answered}), 1)


def _grade(one: Answered) -> float:
    assert one.grade is not None
    return one.grade


def _mean(values: Sequence[float] | NDArray[Any]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _difference(
    rows: Sequence[Answered], before: Sequence[float], after: Sequence[float]
) -> dict[str, Any]:
    """Return the mean paired difference with its interval."""
    differences = [b - a for a, b in zip(before, after, strict=True)]
    low, high = bounded_mean_interval(differences, [a.question.unit for a in rows], lowest=-1.0)
    return {"value": _mean(differences), "ci": [low, high]}
