"""Rollouts as JSON records on disk: what reports and later analyses are made from."""

from typing import Any

from lookless.episode import Question, Rollout
from lookless.evaluation.evaluate import Answered
from lookless.rewards import RewardParts
from lookless.training.rl import ScoredGroup


def question_record(question: Question) -> dict[str, Any]:
    """Return a question with what is known about it; the image by its path."""
    return {
        "id": question.id,
        "image": str(question.image),
        "text": question.text,
        "answer": question.answer,
        "family": question.family,
        "kind": question.kind,
        "needs_look": question.needs_look,
        "detail_px": question.detail_px,
        "boxes": [list(box.coordinates) for box in question.boxes],
    }


def rollout_record(r: Rollout) -> dict[str, Any]:
    """Return a rollout without its tokens: turns, looks, views in source pixels, costs."""
    return {
        "mode": r.mode,
        "answer": r.answer,
        "stop": r.stop,
        "turns": [{"role": turn.role, "text": turn.text} for turn in r.turns],
        "looks": [
            {
                "outcome": look.outcome,
                "image": look.image,
                "box": look.box and list(look.box.coordinates),
                "frame": look.box and look.box.frame,
                "view": look.view,
            }
            for look in r.looks
        ],
        "views": [
            {"region": list(v.region.coordinates), "width_px": v.width_px, "height_px": v.height_px}
            for v in r.views
        ],
        "visual_tokens": r.visual_tokens,
        "generated_tokens": r.sampled_tokens,
        "seconds": r.seconds,
    }


def answered_record(one: Answered, parts: RewardParts | None) -> dict[str, Any]:
    """Return an evaluated question with its rollout, grade, and the parts of its reward."""
    return {
        "question": question_record(one.question),
        "rollout": rollout_record(one.rollout),
        "grade": one.grade,
        "parts": parts and parts.parts,
    }


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
