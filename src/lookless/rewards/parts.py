"""What all rewards share: the parts of a reward, and facts about a group of rollouts."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from lookless.episode import Group, LookOutcome, Mode, Rollout, StopReason
from lookless.necessity import decided_grades


class RewardConfig(BaseModel):
    """Base of every reward's settings: frozen, finite, no unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class RewardParts:
    """One rollout's reward, kept apart by cause so that a log can show what paid."""

    parts: dict[str, float]
    """Name to value, each already weighted."""

    @property
    def total(self) -> float:
        """Return the sum of the parts."""
        return sum(self.parts.values())


def is_right(grade: float) -> bool:
    """Return whether a grade in 0..1 counts as correct where a baseline asks yes or no.

    Source: DeepEyes' threshold; the other baselines grade 0 or 1 only.
    """
    return grade > 0.5


def is_well_formed(rollout: Rollout) -> bool:
    """Return whether the rollout gave a final answer and every tool call could be parsed."""
    return rollout.stop is StopReason.ANSWERED and all(
        look.outcome is not LookOutcome.MALFORMED for look in rollout.looks
    )


def decided_adaptive(group: Group) -> list[tuple[Rollout, float]]:
    """Return the adaptive rollouts that have a grade, with it."""
    return [
        (rollout, grade)
        for rollout, grade in zip(group.rollouts, decided_grades(group), strict=True)
        if rollout.mode is Mode.ADAPTIVE and grade is not None
    ]


def look_share(group: Group) -> float | None:
    """Return the share of graded adaptive rollouts that executed a look; None without any."""
    adaptive = decided_adaptive(group)
    if not adaptive:
        return None
    return sum(rollout.is_used for rollout, _ in adaptive) / len(adaptive)
