"""LookWorld's questions: what is asked, what must be seen, and whether that needs a look."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from lookless.lookworld.scene import FEATURE, VALUES, Kind, Scene, Sign

Box = tuple[float, float, float, float]


class Family(StrEnum):
    """What a question asks for."""

    ATTRIBUTE = "attribute"
    """The shape of a mark or the direction of an arrow on one sign."""
    READING = "reading"
    """A letter or a two-character code on one sign."""
    RELATION = "relation"
    """Where one sign lies relative to another, or a dot relative to a cross on one sign."""
    COMPARISON = "comparison"
    """Which of two signs is larger."""
    COUNTING = "counting"
    """How many signs there are, or how many dots on one sign."""
    CHART = "chart"
    """The colour of the tallest bar of a chart on one sign."""


FAMILY_OF: dict[Kind, Family] = {
    Kind.MARK: Family.ATTRIBUTE,
    Kind.ARROW: Family.ATTRIBUTE,
    Kind.LETTER: Family.READING,
    Kind.CODE: Family.READING,
    Kind.DOTS: Family.COUNTING,
    Kind.PAIR: Family.RELATION,
    Kind.CHART: Family.CHART,
}
LEGIBLE_PX = 5.0
"""The legibility rule: a detail smaller than this in the overview cannot be made out there."""
CLEAR_PX = 13.0
"""From here on a detail can be made out for sure; in between, only the graded split asks."""

DETAIL_PHRASES: dict[Kind, tuple[str, ...]] = {
    Kind.MARK: (
        "What shape is the mark on the {a} sign?",
        "Which shape does the {a} sign show?",
        "On the {a} sign, what shape is the mark?",
    ),
    Kind.ARROW: (
        "Which way does the arrow on the {a} sign point?",
        "Where does the arrow on the {a} sign point?",
        "On the {a} sign, which way does the arrow point?",
    ),
    Kind.LETTER: (
        "What letter is on the {a} sign?",
        "Which letter does the {a} sign show?",
        "On the {a} sign, which letter is there?",
    ),
    Kind.CODE: (
        "What code is on the {a} sign?",
        "Which code does the {a} sign show?",
        "On the {a} sign, which code is there?",
    ),
    Kind.DOTS: (
        "How many dots are on the {a} sign?",
        "How many dots does the {a} sign show?",
        "On the {a} sign, how many dots are there?",
    ),
    Kind.PAIR: (
        "Is the dot left or right of the cross on the {a} sign?",
        "On the {a} sign, is the dot left or right of the cross?",
        "On which side of the cross is the dot on the {a} sign?",
    ),
    Kind.CHART: (
        "What colour is the tallest bar on the {a} sign?",
        "Which bar on the {a} sign is the tallest?",
        "On the {a} sign, what colour is the tallest bar?",
    ),
}
OVERVIEW_PHRASES: dict[Family, tuple[str, ...]] = {
    Family.RELATION: (
        "Where is the {a} sign, seen from the {b} sign?",
        "On which side of the {b} sign is the {a} sign?",
        "Is the {a} sign left, right, above or below the {b} sign?",
    ),
    Family.COMPARISON: (
        "Which sign is larger, the {a} or the {b} sign?",
        "What colour is the larger sign, {a} or {b}?",
        "Is the {a} sign or the {b} sign larger?",
    ),
    Family.COUNTING: (
        "How many signs are there?",
        "How many signs does the image show?",
        "What is the number of signs?",
    ),
}
SHIFTED_DETAIL_PHRASES: dict[Kind, tuple[str, ...]] = {
    Kind.MARK: ("What shape does the {a} sign show?", "Which shape is on the {a} sign?"),
    Kind.ARROW: ("On the {a} sign, where does the arrow point?",),
    Kind.LETTER: ("On the {a} sign, what letter is there?", "Which letter is on the {a} sign?"),
    Kind.CODE: ("What code does the {a} sign show?", "Which code is on the {a} sign?"),
    Kind.DOTS: ("What is the number of dots on the {a} sign?",),
    Kind.PAIR: ("On the {a} sign, on which side of the cross is the dot?",),
    Kind.CHART: ("On the {a} sign, which bar is the tallest?",),
}
SHIFTED_OVERVIEW_PHRASES: dict[Family, tuple[str, ...]] = {
    Family.RELATION: ("On which side is the {a} sign, seen from the {b} sign?",),
    Family.COMPARISON: ("Which is the larger sign, the {a} or the {b} sign?",),
    Family.COUNTING: (
        "What number of signs does the image show?",
        "What number of signs is there?",
    ),
}


@dataclass(frozen=True, slots=True)
class SceneQuestion:
    """A question about a scene, with what is known about it because the scene is known."""

    text: str
    answer: str
    family: Family
    kind: str
    """The content's kind, or `overview` for questions about whole signs."""
    targets: tuple[str, ...]
    """Colours of the signs that it is about."""
    boxes: tuple[Box, ...]
    """The boxes in units that hold the evidence: the content, or the signs."""
    detail: float
    """Size in units of what must be made out."""
    choices: int
    """Number of possible answers; chance is one over it."""

    def needs_look(self, overview_px: int) -> bool:
        """Whether an overview with sides of `overview_px` is too coarse: the legibility rule."""
        return self.detail * overview_px < LEGIBLE_PX


def detail_question(
    sign: Sign, rng: np.random.Generator, phrases: dict[Kind, tuple[str, ...]] = DETAIL_PHRASES
) -> SceneQuestion:
    """Return a question about the content of one sign."""
    content = sign.content
    return SceneQuestion(
        text=str(rng.choice(phrases[content.kind])).format(a=sign.colour),
        answer=content.value,
        family=FAMILY_OF[content.kind],
        kind=content.kind.value,
        targets=(sign.colour,),
        boxes=(content.corners,),
        detail=content.size * FEATURE[content.kind],
        choices=len(VALUES[content.kind]),
    )


def overview_question(
    scene: Scene,
    rng: np.random.Generator,
    phrases: dict[Family, tuple[str, ...]] = OVERVIEW_PHRASES,
) -> SceneQuestion:
    """Return a question about whole signs, which the overview always shows well enough.

    Falls back to counting where no pair of signs is clearly apart or clearly of different size.
    """
    pairs = [(a, b) for a in scene.signs for b in scene.signs if a is not b]
    family = Family(rng.choice([f.value for f in OVERVIEW_PHRASES]))
    if family is Family.RELATION:
        pairs = [(a, b) for a, b in pairs if _side(a, b) is not None]
    elif family is Family.COMPARISON:
        pairs = [(a, b) for a, b in pairs if max(a.size, b.size) > 1.25 * min(a.size, b.size)]
    if family is Family.COUNTING or not pairs:
        family, targets = Family.COUNTING, scene.signs
        answer, choices = str(len(scene.signs)), 4
        a = b = ""
    else:
        first, second = pairs[int(rng.integers(len(pairs)))]
        targets, a, b = (first, second), first.colour, second.colour
        if family is Family.RELATION:
            answer, choices = _side(first, second) or "", 4
        else:
            answer, choices = (a if first.size > second.size else b), 2
    return SceneQuestion(
        text=str(rng.choice(phrases[family])).format(a=a, b=b),
        answer=answer,
        family=family,
        kind="overview",
        targets=tuple(s.colour for s in targets),
        boxes=tuple(s.corners for s in targets),
        detail=min(s.size for s in targets),
        choices=choices,
    )


def _side(a: Sign, b: Sign) -> str | None:
    """Return where `a` lies seen from `b`, or None if that is not clear."""
    dx, dy = a.x - b.x, a.y - b.y
    if abs(dx) > 1.6 * abs(dy):
        return "left" if dx < 0 else "right"
    if abs(dy) > 1.6 * abs(dx):
        return "above" if dy < 0 else "below"
    return None
