"""Operation-aware SFT data for LookWorld."""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from lookless.demonstrations import DemonstratedLook, DemonstratedTurn, Demonstration
from lookless.episode import Question
from lookless.frames import Frame
from lookless.lookworld import speech
from lookless.lookworld.dataset import WorldQuestion
from lookless.lookworld.questions import Box
from lookless.lookworld.tiny import VIEW_PX
from lookless.mixture import Mixture


class TrajectoryKind(StrEnum):
    """How a demonstration goes."""

    OVERVIEW = "overview"
    """Thinks, then answers from the overview."""
    LOOK = "look"
    """Thinks, looks at the evidence, answers at once although more looks would be allowed."""
    CORRECTED = "corrected"
    """Looks at the wrong place first, notices, looks at the right one."""
    CLOSER = "closer"
    """Looks too wide first, then at a part of the crop."""


SMALLEST = 0.15
"""Smallest side in units of a demonstrated look: room for a box that is a little off."""


def demonstrations(
    worlds: Sequence[WorldQuestion],
    questions: Sequence[Question],
    seed: int,
    mixture: Mixture | None = None,
) -> list[Demonstration]:
    """Return a demonstration for each question.

    Each says first what the overview shows of the target, and only then looks or answers; whether
    an adaptive one looks is drawn by chance, so nothing in it says when looking is necessary.
    The call of a look at the wrong place is not learned, the correction is.
    """
    rng = np.random.default_rng([seed, 11])
    mixture = mixture or Mixture()
    return [
        _demonstration(world, question, rng, mixture)
        for world, question in zip(worlds, questions, strict=True)
    ]


def kind_of(shown: Demonstration) -> TrajectoryKind:
    """Return how a demonstration goes."""
    looks = [turn.look for turn in shown.turns if turn.look is not None]
    if len(looks) < 2:
        return TrajectoryKind.LOOK if looks else TrajectoryKind.OVERVIEW
    return TrajectoryKind.CORRECTED if looks[0].is_mistake else TrajectoryKind.CLOSER


def _demonstration(
    world: WorldQuestion, question: Question, rng: np.random.Generator, mixture: Mixture
) -> Demonstration:
    mode, is_look = mixture.draw(rng)
    looks = _looks(world, rng, mixture) if is_look else []
    say = f"<think>{speech.thought(world.scene, world.question, VIEW_PX)}</think>\n"
    said = [say, *[""] * len(looks)]
    if len(looks) > 1 and looks[0].is_mistake:
        said[1] = speech.NOT_THERE
    said[-1] += f"\\boxed{{{world.question.answer}}}"
    return Demonstration(
        id=question.id,
        image=question.image,
        question=question.text,
        mode=mode,
        turns=tuple(
            DemonstratedTurn(say=text, look=look)
            for text, look in zip(said, [*looks, None], strict=True)
        ),
    )


def _looks(
    world: WorldQuestion, rng: np.random.Generator, mixture: Mixture
) -> list[DemonstratedLook]:
    """Return the looks of one that looks."""
    asked = world.question
    target = speech.jittered(speech.look_box(asked, SMALLEST), rng)
    draw = rng.random()
    if asked.kind == "overview":
        draw = 1.0  # whole signs leave little room for a look that shows none of them
    if draw < mixture.corrected:
        return [_look(speech.wrong_box(asked, rng), is_mistake=True), _look(target)]
    if draw < mixture.corrected + mixture.closer:
        wide = speech.rounded(_around(target, rng))
        return [_look(wide), _look(_within(target, wide), image=1)]
    return [_look(target)]


def _look(box: Box, image: int = 0, *, is_mistake: bool = False) -> DemonstratedLook:
    return DemonstratedLook(
        box=speech.rounded(box), frame=Frame.UNIT, image=image, is_mistake=is_mistake
    )


def _around(box: Box, rng: np.random.Generator) -> Box:
    """Return a square three times as wide that contains `box`."""
    side = box[2] - box[0]
    dx, dy = rng.uniform(-0.8, 0.8, 2) * side
    return speech.square_around((box[0] + box[2]) / 2 + dx, (box[1] + box[3]) / 2 + dy, 3 * side)


def _within(box: Box, outer: Box) -> Box:
    """Return `box` as shares of `outer`."""
    width, height = outer[2] - outer[0], outer[3] - outer[1]
    return (
        (box[0] - outer[0]) / width,
        (box[1] - outer[1]) / height,
        (box[2] - outer[0]) / width,
        (box[3] - outer[1]) / height,
    )
