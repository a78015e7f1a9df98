"""RL's groups as JSON records on disk: what reports and later analyses are made from."""

from typing import Any

from lookless.evaluation.records import question_record, rollout_record
from lookless.training.scoring import ScoredGroup


def group_record(one: ScoredGroup) -> dict[str, Any]:
    """Return a query's rollouts with grades, reward parts, advantages and necessity."""
    group = one.group
    return {
        "question": question_record(group.question),
        "need": one.necessity.need,
        "p_look": one.necessity.p_look,
        "p_no_look": one.necessity.p_no_look,
        "rollouts": [
            rollout_record(r) | {"grade": g, "parts": p and p.parts, "advantage": a, "decision": d}
            for r, g, p, a, d in zip(
                group.rollouts,
                group.grades,
                one.rewards,
                one.advantages,
                one.decisions,
                strict=True,
            )
        ],
    }
