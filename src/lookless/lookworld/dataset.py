"""LookWorld's splits: scenes and questions by index, and their export to disk."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from lookless.episode import Question
from lookless.frames import Box, Frame
from lookless.lookworld import questions as q
from lookless.lookworld.backgrounds import SHIFTED_BACKGROUNDS, TRAIN_BACKGROUNDS
from lookless.lookworld.render import render
from lookless.lookworld.scene import (
    GRADED_STYLE,
    SHIFTED_STYLE,
    Scene,
    SceneStyle,
    Sign,
    sample_scene,
)
from lookless.lookworld.tiny import VIEW_PX

QUESTIONS_PER_SCENE = 3
NEED_RATE = 0.25
"""Share of the questions whose answer is a small detail."""
OVERVIEW_RATE = 0.25
"""Share of the questions about whole signs."""


class Split(StrEnum):
    """Disjoint sets of scenes: each draws from random streams of its own."""

    TRAIN = "train"
    """For SFT and RL."""
    VALIDATION = "validation"
    TEST = "test"
    SHIFTED = "shifted"
    """Unseen backgrounds, sizes, palettes and phrasings."""
    GRADED = "graded"
    """Details of every size, also those between illegible and legible."""


@dataclass(frozen=True)
class WorldQuestion:
    """A question with the scene that it is about."""

    id: str
    scene_id: str
    scene: Scene
    question: q.SceneQuestion


def scene_questions(
    split: Split, index: int, seed: int = 0, backgrounds: tuple[str, ...] | None = None
) -> list[WorldQuestion]:
    """Return the questions about scene `index` of a split; always the same ones.

    At most QUESTIONS_PER_SCENE, each about another sign (or about whole signs). `backgrounds` takes
    the place of the split's own.
    """
    rng = np.random.default_rng([seed, list(Split).index(split), index])
    style = {Split.SHIFTED: SHIFTED_STYLE, Split.GRADED: GRADED_STYLE}.get(split, SceneStyle())
    is_shifted = split is Split.SHIFTED
    if backgrounds is None:
        backgrounds = SHIFTED_BACKGROUNDS if is_shifted else TRAIN_BACKGROUNDS
    scene = sample_scene(rng, style, backgrounds)
    detail_phrases = q.SHIFTED_DETAIL_PHRASES if is_shifted else q.DETAIL_PHRASES
    overview_phrases = q.SHIFTED_OVERVIEW_PHRASES if is_shifted else q.OVERVIEW_PHRASES
    left = [scene.signs[k] for k in rng.permutation(len(scene.signs))]
    asked: list[q.SceneQuestion] = []
    for _ in range(QUESTIONS_PER_SCENE):
        kind = rng.random()
        wants_small = kind < NEED_RATE
        signs = [s for s in left if split is Split.GRADED or _is_sure(s, wants_small)]
        if kind > 1 - OVERVIEW_RATE and split is not Split.GRADED:
            question = q.overview_question(scene, rng, overview_phrases)
            if all(question.text != other.text for other in asked):
                asked.append(question)
        elif signs:
            left.remove(signs[0])
            asked.append(q.detail_question(signs[0], rng, detail_phrases))
    scene_id = f"{split}-{seed}-{index}"
    return [WorldQuestion(f"{scene_id}-{k}", scene_id, scene, one) for k, one in enumerate(asked)]


def _is_sure(sign: Sign, wants_small: bool) -> bool:
    """Return whether a sign's content is surely illegible in the overview, or surely legible."""
    detail_px = sign.content.detail * VIEW_PX
    return detail_px < q.LEGIBLE_PX if wants_small else detail_px >= q.CLEAR_PX


def questions(
    split: Split,
    count: int,
    seed: int = 0,
    first_scene: int = 0,
    backgrounds: tuple[str, ...] | None = None,
) -> Iterator[WorldQuestion]:
    """Yield `count` questions of a split, scene by scene."""
    index = first_scene
    while count > 0:
        for question in scene_questions(split, index, seed, backgrounds)[:count]:
            count -= 1
            yield question
        index += 1


def export(
    folder: Path,
    worlds: list[WorldQuestion],
    size_px: int = 1024,
    photos: Path | None = None,
    progress: Callable[[], None] = lambda: None,
) -> list[Question]:
    """Write each scene as a JPEG of `size_px` squared and all questions to questions.jsonl.

    Images that exist already are kept, so an interrupted export can be run again.

    Args:
        folder: Where to write.
        worlds: What to write.
        size_px: Side of the images; 1024 or more.
        photos: Folder of photographs for backgrounds; None takes scikit-image's samples.
        progress: Called after each question.

    Returns:
        The questions, their boxes in source pixels and their images under `folder`.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    records = []
    for world in worlds:
        path = folder / "images" / f"{world.scene_id}-{size_px}.jpg"
        if not path.exists():
            part = path.with_suffix(".part")
            render(world.scene, size_px, photos=photos).save(
                part, "JPEG", quality=90, subsampling=0
            )
            part.rename(path)
        records.append(to_question(world, path, size_px))
        progress()
    lines = [json.dumps(record_of(r, folder)) for r in records]
    (folder / "questions.jsonl").write_text("\n".join(lines) + "\n")
    return records


def to_question(world: WorldQuestion, image: Path, size_px: int) -> Question:
    """Return the plain question about an exported image."""
    asked = world.question
    boxes = []
    for box in asked.boxes:
        left, top, right, bottom = (round(v * size_px, 1) for v in box)
        boxes.append(Box(left, top, right, bottom, Frame.SOURCE))
    return Question(
        id=world.id,
        image=image,
        text=asked.text,
        answer=asked.answer,
        family=asked.family.value,
        kind=asked.kind,
        needs_look=asked.needs_look(VIEW_PX),
        detail_px=round(asked.detail * VIEW_PX, 2),
        boxes=tuple(boxes),
        choices=asked.choices,
        cluster=image.stem,
    )


def record_of(question: Question, folder: Path) -> dict[str, object]:
    """Return a question as a JSON object; the image's path is relative to `folder`."""
    return {
        "id": question.id,
        "image": str(question.image.relative_to(folder)),
        "question": question.text,
        "answer": question.answer,
        "family": question.family,
        "kind": question.kind,
        "needs_look": question.needs_look,
        "detail_px": question.detail_px,
        "boxes": [list(box.coordinates) for box in question.boxes],
        "choices": question.choices,
    }
