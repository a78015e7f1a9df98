"""Operation-aware SFT data for LookWorld, played through the rollout loop."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated

import numpy as np
from pydantic import Field

from lookless.chat.chatml import ChatML
from lookless.episode import Mode, Question, Rollout
from lookless.errors import ConfigError
from lookless.images import SourceCache
from lookless.lookworld import speech
from lookless.lookworld.dataset import WorldQuestion
from lookless.lookworld.questions import Box
from lookless.lookworld.tiny import VIEW_PX
from lookless.policies.policy import Prompt
from lookless.policies.scripted import ScriptedPolicy
from lookless.rollout import rollout


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
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Mixture:
    """Shares of what SFT shows, each in 0..1; `forced` and `prohibited` at most 1 together."""

    forced: Share = 0.2
    """Share of the trajectories in forced mode."""
    prohibited: Share = 0.2
    """Share in prohibited mode; the rest is adaptive."""
    look: Share = 0.75
    """Share of adaptive trajectories that look, whatever is asked: Pixel Reasoner's public data."""
    corrected: Share = 0.1
    """Share of looks at a detail that are at the wrong place first."""
    closer: Share = 0.05
    """Share of looks at a detail that are too wide first."""

    def __post_init__(self) -> None:
        if self.forced + self.prohibited > 1:
            raise ConfigError(
                f"forced and prohibited must be at most 1 together, got {self.forced} and "
                f"{self.prohibited}; lower one"
            )


@dataclass(frozen=True)
class _Plan:
    mode: Mode
    kind: TrajectoryKind
    texts: tuple[str, ...]


def demonstrate(
    chat: ChatML,
    worlds: Sequence[WorldQuestion],
    questions: Sequence[Question],
    sources: SourceCache,
    seed: int,
    mixture: Mixture | None = None,
) -> list[tuple[TrajectoryKind, Rollout]]:
    """Return a trajectory for each question, as a rollout whose `is_sampled` is the loss mask.

    Each says first what the overview shows of the target, and only then looks or answers; whether
    an adaptive one looks is drawn by chance, so nothing in it says when looking is necessary.
    The call of a look at the wrong place is not learned, the correction is.
    """
    rng = np.random.default_rng([seed, 11])
    plans = {w.id: _plan(w, rng, mixture or Mixture()) for w in worlds}

    def script(prompt: Prompt, turn: int) -> str:
        return plans[prompt.question.id].texts[turn]

    requests = [(question, plans[question.id].mode) for question in questions]
    played = rollout(ScriptedPolicy(chat, script), requests, sources)
    return [
        (plans[r.question_id].kind, _mask_mistake(chat, r, plans[r.question_id].kind))
        for r in played
    ]


def _plan(world: WorldQuestion, rng: np.random.Generator, mixture: Mixture) -> _Plan:
    """Return the mode and the texts of one trajectory."""
    draw = rng.random()
    if draw < mixture.forced:
        mode, looks = Mode.FORCED, True
    elif draw < mixture.forced + mixture.prohibited:
        mode, looks = Mode.PROHIBITED, False
    else:
        mode, looks = Mode.ADAPTIVE, bool(rng.random() < mixture.look)
    asked = world.question
    think = f"<think>{speech.thought(world.scene, asked, VIEW_PX)}</think>\n"
    answer = f"\\boxed{{{asked.answer}}}"
    if not looks:
        return _Plan(mode, TrajectoryKind.OVERVIEW, (think + answer,))
    target = speech.jittered(speech.look_box(asked, SMALLEST), rng)
    draw = rng.random()
    if asked.kind == "overview":
        draw = 1.0  # whole signs leave little room for a look that shows none of them
    if draw < mixture.corrected:
        wrong = speech.wrong_box(asked, rng)
        texts = (think + speech.call(wrong, 0), speech.NOT_THERE + speech.call(target, 0), answer)
        return _Plan(mode, TrajectoryKind.CORRECTED, texts)
    if draw < mixture.corrected + mixture.closer:
        wide = speech.rounded(_around(target, rng))
        texts = (think + speech.call(wide, 0), speech.call(_within(target, wide), 1), answer)
        return _Plan(mode, TrajectoryKind.CLOSER, texts)
    return _Plan(mode, TrajectoryKind.LOOK, (think + speech.call(target, 0), answer))


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


def _mask_mistake(chat: ChatML, played: Rollout, kind: TrajectoryKind) -> Rollout:
    """Return the rollout with the call at the wrong place taken out of the loss."""
    if kind is not TrajectoryKind.CORRECTED:
        return played
    opening = chat.encode("<tool_call>")[0]
    first_call = played.token_ids.index(opening)
    mask = list(played.is_sampled)
    position = first_call
    while mask[position]:
        mask[position] = False
        position += 1
    return replace(played, is_sampled=tuple(mask))
