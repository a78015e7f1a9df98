"""What is watched during RL: one flat dictionary of numbers per step."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from lookless.episode import TRAINED_MODES, LookOutcome, Mode, StopReason
from lookless.necessity import disagreement

if TYPE_CHECKING:
    from lookless.training.scoring import ScoredGroup

SIZE_BINS_PX = (0.0, 5.0, 10.0, 15.0, 20.0, 30.0, float("inf"))
"""Edges of the bins of detail size, in overview pixels, for the look rate."""

BAD_CALLS = frozenset(
    {
        LookOutcome.MALFORMED,
        LookOutcome.UNKNOWN_OPERATION,
        LookOutcome.BAD_ARGUMENTS,
        LookOutcome.NOT_FINITE,
        LookOutcome.SWAPPED_CORNERS,
        LookOutcome.OUTSIDE,
        LookOutcome.UNKNOWN_IMAGE,
    }
)
"""Outcomes of calls that were written wrongly, whatever the mode and the looks that were left."""


def of_step(groups: Sequence["ScoredGroup"]) -> dict[str, float]:
    """Return a step's metrics, named `area/name`; what nothing was seen of is left out.

    Faults count in `stop/fault` only.
    """
    metrics: dict[str, float] = {}

    def put(name: str, values: Iterable[float | None]) -> None:
        known = [float(v) for v in values if v is not None]
        if known:
            metrics[name] = sum(known) / len(known)

    pairs = [
        (one, r, g, p)
        for one in groups
        for r, g, p in zip(one.group.rollouts, one.group.grades, one.rewards, strict=True)
    ]
    put("rollout/per_query", (len(one.group.rollouts) for one in groups))
    for stop in sorted({r.stop for _, r, _, _ in pairs}):
        put(f"stop/{stop}", (r.stop is stop for _, r, _, _ in pairs))
    pairs = [pair for pair in pairs if pair[1].stop is not StopReason.FAULT]
    for mode in TRAINED_MODES:
        of_mode = [(g, r, p) for _, r, g, p in pairs if r.mode is mode]
        put(f"accuracy/{mode}", (g for g, _, _ in of_mode))
        put(f"look_rate/{mode}", (r.is_used for _, r, _ in of_mode))
        put(f"reward/{mode}", (None if p is None else p.total for _, _, p in of_mode))
        put(f"obeyed/{mode}", (r.is_obedient for _, r, _ in of_mode))
    adaptive = [(one, r, p) for one, r, _, p in pairs if r.mode is Mode.ADAPTIVE]
    for part in sorted({name for _, _, p in adaptive if p is not None for name in p.parts}):
        put(
            f"reward/part/{part}",
            (None if p is None else p.parts.get(part, 0.0) for _, _, p in adaptive),
        )
    for need, name in ((True, "needed"), (False, "not_needed")):
        put(
            f"look_rate/adaptive/{name}",
            (r.is_used for one, r, _ in adaptive if one.group.question.needs_look is need),
        )
    gains = [(one.necessity.gain, r) for one, r, _ in adaptive if one.necessity.gain is not None]
    put("look_rate/adaptive/gain", (r.is_used for gain, r in gains if gain > 0))
    put("look_rate/adaptive/no_gain", (r.is_used for gain, r in gains if gain <= 0))
    for low, high in itertools.pairwise(SIZE_BINS_PX):
        put(
            f"look_rate/size/{low:g}",
            (r.is_used for one, r, _ in adaptive if _is_in(one, low, high)),
        )
    put("look/changed_answer", _changed_answers(groups))
    put("look/bad_calls", (look.outcome in BAD_CALLS for _, r, _, _ in pairs for look in r.looks))
    _necessity(groups, put)
    put("rollout/sampled_tokens", (r.sampled_tokens for _, r, _, _ in pairs))
    put("rollout/visual_tokens", (r.visual_tokens for _, r, _, _ in pairs))
    return metrics


def _is_in(one: "ScoredGroup", low: float, high: float) -> bool:
    detail = one.group.question.detail_px
    return detail is not None and low <= detail < high


def _changed_answers(groups: Sequence["ScoredGroup"]) -> Iterator[bool]:
    """Yield for each adaptive rollout that looked whether it answers unlike those that may not.

    Their answer is the query's most common one; none at all is an answer, too.
    """
    for one in groups:
        done = [r for r in one.group.rollouts if r.stop is not StopReason.FAULT]
        unlooked = Counter(r.answer for r in done if r.mode is Mode.PROHIBITED)
        if unlooked:
            [(usual, _)] = unlooked.most_common(1)
            yield from (r.answer != usual for r in done if r.mode is Mode.ADAPTIVE and r.is_used)


def _necessity(
    groups: Sequence["ScoredGroup"], put: Callable[[str, Iterable[float | None]], None]
) -> None:
    """Report how each estimator agrees with what the data knows."""
    truths = [one.group.question.needs_look for one in groups]
    for name, estimates in (
        ("strict", [one.strict for one in groups]),
        ("posterior", [one.pooled for one in groups]),
    ):
        noise = disagreement(estimates, truths)
        put(f"necessity/{name}/wrong", [noise.wrong_share])
        put(f"necessity/{name}/abstained", [noise.abstained_share])
    put("necessity/truth", (t for t in truths))
