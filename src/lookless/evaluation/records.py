"""Answers as JSON records on disk: every table and figure can be made from them again."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lookless.episode import Look, LookOutcome, Mode, Question, Rollout, StopReason, Turn
from lookless.evaluation.answered import Answered, prediction
from lookless.frames import Box, Frame, View
from lookless.grading.verdict import Verdict

Record = dict[str, Any]


def question_record(question: Question) -> Record:
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
        "choices": question.choices,
        "options": list(question.options),
        "references": list(question.references),
        "cluster": question.cluster,
        "region": question.region and list(question.region.coordinates),
    }


def question_of(record: Mapping[str, Any]) -> Question:
    """Return the question that a record holds."""
    return Question(
        id=record["id"],
        image=Path(record["image"]),
        text=record["text"],
        answer=record["answer"],
        family=record["family"],
        kind=record["kind"],
        needs_look=record["needs_look"],
        detail_px=record["detail_px"],
        boxes=tuple(_box(box) for box in record["boxes"]),
        choices=record["choices"],
        options=tuple(record["options"]),
        references=tuple(record["references"]),
        cluster=record["cluster"],
        region=record["region"] and _box(record["region"]),
    )


def rollout_record(r: Rollout) -> Record:
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
        "generated_tokens": r.generated_tokens,
        "seconds": r.seconds,
        "latency": r.latency,
    }


def views_of(record: Mapping[str, Any]) -> tuple[View, ...]:
    """Return the views of a rollout's record."""
    return tuple(
        View(_box(view["region"]), view["width_px"], view["height_px"]) for view in record["views"]
    )


def looks_of(record: Mapping[str, Any]) -> tuple[Look, ...]:
    """Return the looks of a rollout's record."""
    return tuple(
        Look(
            LookOutcome(look["outcome"]),
            look["image"],
            look["box"] and _box(look["box"], Frame(look["frame"])),
            look["view"],
        )
        for look in record["looks"]
    )


def rollout_of(record: Mapping[str, Any], question_id: str) -> Rollout:
    """Return the rollout that a record holds, without its tokens."""
    return Rollout(
        question_id=question_id,
        mode=Mode(record["mode"]),
        token_ids=(),
        is_sampled=(),
        logprobs=(),
        views=views_of(record),
        looks=looks_of(record),
        turns=tuple(Turn(turn["role"], turn["text"]) for turn in record["turns"]),
        answer=record["answer"],
        stop=StopReason(record["stop"]),
        visual_tokens=record["visual_tokens"],
        generated_tokens=record["generated_tokens"],
        seconds=record["seconds"],
        latency=record["latency"],
    )


def answered_record(one: Answered) -> Record:
    """Return an answer with all that the tables need: one line of samples.jsonl."""
    return {
        "question": question_record(one.question),
        "sample": one.sample,
        "prediction": prediction(one.rollout),
        "answer": one.verdict and one.verdict.answer,
        "grade": one.grade,
        "rollout": rollout_record(one.rollout),
    }


def answered_of(record: Mapping[str, Any]) -> Answered:
    """Return the answer that a record holds; its rollout without tokens."""
    question = question_of(record["question"])
    grade = record["grade"]
    return Answered(
        question,
        rollout_of(record["rollout"], question.id),
        None if grade is None else Verdict(record["answer"], grade),
        record["sample"],
    )


def _box(coordinates: Sequence[float], frame: Frame = Frame.SOURCE) -> Box:
    left, top, right, bottom = coordinates
    return Box(left, top, right, bottom, frame)
