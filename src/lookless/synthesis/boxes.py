"""Demonstrations from boxes alone: offline, and always the same for the same seed.

Each says first where the evidence is and how large, whether or not a look follows, then looks (at
the evidence; at a wrong place, which is noticed; or too wide, then closer) or answers at once.
Whether one looks is drawn by the mixture's shares and by nothing else, so that the demonstrations
do not say when looking is necessary: that is what RL is for. Before the evidence is seen no text
holds the answer.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lookless.demonstrations import (
    THINK,
    DemonstratedLook,
    DemonstratedTurn,
    Demonstration,
    flaw_in,
)
from lookless.episode import Question
from lookless.errors import ImageError, wrong_setting
from lookless.frames import Box, Frame
from lookless.images import SourceCache
from lookless.mixture import Mixture
from lookless.synthesis.phrases import Phrases, filled

_TRIES = 50
_WORD = re.compile(r"\w+")
PLACES = frozenset(
    "left right upper lower top bottom above below over under middle centre center".split()
)
"""Words that say where something is."""


class BoxesConfig(BaseModel):
    """How demonstrations are made of boxes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mixture: Mixture = Mixture()
    around: float = Field(4.0, ge=1)
    """Side of a look over the longer side of the evidence."""
    smallest: float = Field(0.15, gt=0, le=1)
    """Smallest side of a look, as a share of the image's shorter side."""
    jitter: float = Field(0.025, ge=0, lt=0.5)
    """How far each side of a look is off at most, as a share of the image."""
    grid: int = Field(1, ge=1, le=100)
    """Boxes are multiples of this, in 0..1000: a small model says round numbers more easily."""
    seed: int = Field(0, ge=0)


@dataclass
class Made:
    """What came of a set of questions."""

    demonstrations: int = 0
    looks: Counter[str] = field(default_factory=Counter)
    """How they go: none, look, corrected, closer."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Questions without a demonstration, by the reason."""


def from_boxes(
    questions: Sequence[Question],
    config: BoxesConfig,
    phrases: Phrases,
    sources: SourceCache,
    made: Made,
) -> Iterator[Demonstration]:
    """Yield a demonstration for each question whose evidence is known.

    Args:
        questions: What is asked.
        config: How.
        phrases: In what words.
        sources: Opens the images; only their sizes are needed.
        made: Counts what is made and left out.
    """
    for question in questions:
        if not question.boxes:
            made.left_out["no boxes"] += 1
            continue
        try:
            size = sources.get(question.image).size
        except ImageError as error:
            made.left_out[str(error).split(",")[0]] += 1
            continue
        # Each question has a stream of its own: what others are asked changes nothing.
        rng = np.random.default_rng([config.seed, *question.id.encode()])
        try:
            shown, way = _demonstration(question, size, config, phrases, rng)
            flaw = flaw_in(shown, sources.get(shown.image))
        except ValidationError as error:
            flaw = str(wrong_setting(Demonstration, error))
        except ImageError as error:
            flaw = str(error)
        if flaw is not None:
            made.left_out[flaw.split(",")[0]] += 1
            continue
        made.demonstrations += 1
        made.looks[way] += 1
        yield shown


def _demonstration(
    question: Question,
    size: tuple[int, int],
    config: BoxesConfig,
    phrases: Phrases,
    rng: np.random.Generator,
) -> tuple[Demonstration, str]:
    mode, is_look = config.mixture.draw(rng)
    width, height = size
    boxes = [
        Box(b.left / width, b.top / height, b.right / width, b.bottom / height, Frame.UNIT)
        for b in question.boxes
    ]
    scene = _Scene(boxes, width / height, config, rng)
    looks, way = scene.looks() if is_look else ([], "none")

    def say(templates: Sequence[str]) -> tuple[str, str]:
        template = templates[int(rng.integers(len(templates)))]
        return template, filled(template, boxes, phrases.each, config.grid)

    def say_safely(templates: Sequence[str]) -> str:
        """Return words that do not give the answer away; at worst none."""
        for offered in (templates, phrases.neutral):
            for _ in range(_TRIES):
                template, text = say(offered)
                counts = "{each}" in template and str(len(boxes)) in answers_of(question)
                if not counts and not holds_answer(text, question):
                    return text
        return ""

    texts = [f"{THINK}{say_safely(phrases.thought)}</think>\n"]
    if way in ("corrected", "closer"):
        texts.append(say_safely(phrases.not_there if way == "corrected" else phrases.closer))
    _, said = say(phrases.seen if is_look else phrases.unseen)
    answer = f"{said}\\boxed{{{question.answer}}}"
    texts = [*texts, answer] if is_look else [texts[0] + answer]
    turns = [
        DemonstratedTurn(say=text, look=look)
        for text, look in zip(texts, [*looks, None], strict=True)
    ]
    shown = Demonstration(
        id=question.id, image=question.image, question=question.text, mode=mode, turns=tuple(turns)
    )
    return shown, way


def holds_answer(text: str, question: Question) -> bool:
    r"""Return whether a text gives the answer away.

    It does if it holds the answer as words of their own, in whatever case, or says where something
    is while the answer does. With options the text of the right one counts.

    Example:
        >>> from pathlib import Path
        >>> asked = Question("1", Path(), "Which side?", "left")
        >>> holds_answer("It is in the upper left.", asked), holds_answer("Leftover", asked)
        (True, False)
        >>> holds_answer("At the lower edge.", Question("2", Path(), "Where?", "on top of it"))
        True
    """
    said = text.casefold()
    answers = answers_of(question)
    if PLACES & set(_WORD.findall(said)) and any(PLACES & set(_WORD.findall(a)) for a in answers):
        return True
    return any(re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", said) for answer in answers)


def answers_of(question: Question) -> set[str]:
    """Return what would give a question away, in lower case."""
    answers = {*question.references, question.answer}
    if question.options:
        answers = {question.options[ord(question.answer) - ord("A")]}
    return {answer.casefold().strip() for answer in answers if answer.strip()}


@dataclass
class _Scene:
    """The evidence in an image, and where one may look."""

    boxes: list[Box]
    """As shares of the image."""
    aspect: float
    """Width over height."""
    config: BoxesConfig
    rng: np.random.Generator

    def looks(self) -> tuple[list[DemonstratedLook], str]:
        """Return the looks of one that looks, and what kind they are."""
        target = self._jittered(self._target())
        draw = self.rng.random()
        mixture = self.config.mixture
        if draw < mixture.corrected:
            wrong = self._wrong()
            if wrong is not None:
                return [_look(wrong, is_mistake=True), _look(target)], "corrected"
        elif draw < mixture.corrected + mixture.closer:
            wide = self._on_grid(self._wide(target))
            if wide.area > 1.5 * target.area:
                return [_look(wide), _look(_within(target, wide), image=1)], "closer"
        return [_look(target)], "look"

    def _square(self, x: float, y: float, side: float) -> Box:
        """Return what looks square, around a point, moved so that it lies in the image.

        `side` is a share of the image's shorter side.
        """
        across = min(side / max(self.aspect, 1.0), 1.0)
        down = min(side * min(self.aspect, 1.0), 1.0)
        left = min(max(x - across / 2, 0.0), 1.0 - across)
        top = min(max(y - down / 2, 0.0), 1.0 - down)
        return Box(left, top, left + across, top + down, Frame.UNIT)

    def _target(self) -> Box:
        """Return what a look at all of the evidence shows."""
        hull = _hull(self.boxes)
        extent = max(hull.width * max(self.aspect, 1.0), hull.height / min(self.aspect, 1.0))
        side = max(self.config.smallest, self.config.around * extent)
        # Evidence that is spread wide must not leave the look; there is no room around it.
        around = self._square(
            (hull.left + hull.right) / 2, (hull.top + hull.bottom) / 2, min(side, 1.2 * extent)
            if extent > 0.25 else side,
        )  # fmt: skip
        return replace(
            around,
            left=min(around.left, hull.left),
            top=min(around.top, hull.top),
            right=max(around.right, hull.right),
            bottom=max(around.bottom, hull.bottom),
        )

    def _wide(self, target: Box) -> Box:
        """Return what is three times as wide as a look and contains it."""
        dx, dy = self.rng.uniform(-0.8, 0.8, 2)
        side = 3 * max(target.width * max(self.aspect, 1.0), target.height / min(self.aspect, 1.0))
        x = (target.left + target.right) / 2 + dx * target.width
        y = (target.top + target.bottom) / 2 + dy * target.height
        wide = self._square(x, y, side)
        return replace(
            wide,
            left=min(wide.left, target.left),
            top=min(wide.top, target.top),
            right=max(wide.right, target.right),
            bottom=max(wide.bottom, target.bottom),
        )

    def _wrong(self) -> Box | None:
        """Return a place that shows none of the evidence, however rounded, if found."""
        slack = max(self.config.grid / 1000, 0.005)
        low = self.config.smallest
        for _ in range(_TRIES):
            x, y = self.rng.uniform(0.05, 0.95, 2)
            side = float(self.rng.uniform(low, max(0.25, 1.5 * low)))
            box = self._on_grid(self._square(float(x), float(y), side))
            if all(box.intersection(one.grown(slack)).area == 0 for one in self.boxes):
                return box
        return None

    def _jittered(self, box: Box) -> Box:
        """Return a look as a model would say it: each side off a little, all evidence within."""
        off = self.rng.uniform(-self.config.jitter, self.config.jitter, 4)
        left, top, right, bottom = (v + float(d) for v, d in zip(box.coordinates, off, strict=True))
        moved = self._on_grid(Box(left, top, right, bottom, Frame.UNIT))
        hull, step = _hull(self.boxes), self.config.grid / 1000
        return replace(
            moved,
            left=min(moved.left, math.floor(hull.left / step) * step),
            top=min(moved.top, math.floor(hull.top / step) * step),
            right=max(moved.right, min(math.ceil(hull.right / step) * step, 1.0)),
            bottom=max(moved.bottom, min(math.ceil(hull.bottom / step) * step, 1.0)),
        )

    def _on_grid(self, box: Box) -> Box:
        """Return a box on the grid within the image, at least two steps or 1 % wide and high."""
        step = self.config.grid / 1000
        least = max(2 * step, 0.01)
        left, top, right, bottom = (
            min(max(round(v / step) * step, 0.0), 1.0) for v in box.coordinates
        )
        left, top = min(left, 1.0 - least), min(top, 1.0 - least)
        return Box(left, top, max(right, left + least), max(bottom, top + least), Frame.UNIT)


def _hull(boxes: Sequence[Box]) -> Box:
    return Box(
        max(min(box.left for box in boxes), 0.0),
        max(min(box.top for box in boxes), 0.0),
        min(max(box.right for box in boxes), 1.0),
        min(max(box.bottom for box in boxes), 1.0),
        Frame.UNIT,
    )


def _within(box: Box, outer: Box) -> Box:
    """Return a box as shares of another one that contains it."""
    return Box(
        (box.left - outer.left) / outer.width,
        (box.top - outer.top) / outer.height,
        (box.right - outer.left) / outer.width,
        (box.bottom - outer.top) / outer.height,
        Frame.UNIT,
    )


def _look(box: Box, image: int = 0, *, is_mistake: bool = False) -> DemonstratedLook:
    left, top, right, bottom = (round(v, 6) for v in box.coordinates)
    return DemonstratedLook(
        box=(left, top, right, bottom), frame=Frame.UNIT, image=image, is_mistake=is_mistake
    )
