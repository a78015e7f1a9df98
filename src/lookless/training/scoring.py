"""What learning takes from a query's rollouts: necessity, rewards, advantages, credits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lookless.advantages import decision_advantages, hdpo_advantages, per_mode_advantages
from lookless.episode import Group, Question, Rollout
from lookless.evaluation.answered import verdict_on
from lookless.grading.verdict import Grader
from lookless.necessity import Necessity, NecessityPool, necessity_grades, posterior, strict
from lookless.rewards import REWARDS, RewardParts
from lookless.training.rl_config import RlConfig

Grade = Callable[[Question, Rollout], float | None]
"""Returns a rollout's grade in 0..1; None for faults, and where it cannot be decided."""


def grade_by(grader: Grader) -> Grade:
    """Return how a benchmark's rules grade a rollout."""

    def grade(question: Question, done: Rollout) -> float | None:
        verdict = verdict_on(question, done, grader)
        return None if verdict is None else verdict.grade

    return grade


@dataclass(frozen=True)
class ScoredGroup:
    """A query's rollouts with all that learning takes from them; lists have one entry each."""

    group: Group
    necessity: Necessity
    """By the configured estimator; its `need` steers the reward."""
    strict: Necessity
    pooled: Necessity
    rewards: list[RewardParts | None]
    advantages: list[float | None]
    decisions: list[float | None]
    """Weighted credit of the decision whether to look."""


def score(group: Group, pool: NecessityPool, config: RlConfig) -> ScoredGroup:
    """Return a group's necessity, rewards and advantages; the pool must know its grades already."""
    by_strict = strict(*necessity_grades(group))
    by_posterior = pool.estimate(group.question.id, posterior)
    necessity = by_strict if config.estimator == "strict" else by_posterior
    rewards = REWARDS[config.reward].function(group, necessity, config.reward_config)
    if config.reward == "hdpo":
        advantages = hdpo_advantages(
            [None if r is None else r.parts for r in rewards],
            config.reward_config.weight,
            normalise=config.normalise,
        )
    else:
        totals = [None if r is None else r.total for r in rewards]
        advantages = per_mode_advantages(group, totals, normalise=config.normalise)
    return ScoredGroup(
        group, necessity, by_strict, by_posterior, rewards, advantages, [None] * len(rewards)
    )


def look_price(gains: Sequence[float | None], config: RlConfig) -> float:
    """Return the gain in accuracy that a look must exceed.

    Args:
        gains: Of all queries of the step, None where unknown.
        config: Says the price, or that it is the mean gain (at least 0).
    """
    if config.look_price != "mean":
        return config.look_price
    known = [gain for gain in gains if gain is not None]
    return max(sum(known) / max(len(known), 1), 0.0)


def with_decisions(
    groups: Sequence[ScoredGroup], price: float, config: RlConfig
) -> list[ScoredGroup]:
    """Return groups with the credit of their decisions at a price of looking, if it counts."""
    if not config.decision_weight:
        return list(groups)
    return [
        replace(
            one,
            decisions=[
                None if d is None else config.decision_weight * d
                for d in decision_advantages(one.group, one.necessity, price, config.obedience)
            ],
        )
        for one in groups
    ]


def reward_alone(
    question: Question, done: Rollout, grade: float | None, config: RlConfig
) -> RewardParts | None:
    """Return what a single rollout would earn if its question's true need were the estimate.

    Alone in its group it always agrees with the majority. None if the need or the grade is unknown.
    """
    if question.needs_look is None:
        return None
    need = float(question.needs_look)
    truth = Necessity(need, 1.0, 1.0 - need, 1, 1, None)
    alone = Group(question, (done,), (grade,))
    return REWARDS[config.reward].function(alone, truth, config.reward_config)[0]
