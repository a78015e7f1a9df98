"""What the tiny VLM says: its thoughts, its tool calls, its boxes."""

import math

import numpy as np

from lookless.lookworld.questions import Box, SceneQuestion
from lookless.lookworld.scene import Scene

STEP = 25
"""Boxes are spoken in multiples of this, in 0..1000."""
_UNIT = STEP / 1000
MIN_LOOK = 0.125
"""Smallest side of a look in units, unless another is asked for."""
NOT_THERE = "Not there.\n"
"""Said after a look that does not show the evidence."""
SIZES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64)
"""Detail sizes are spoken as the nearest of these, in pixels of the overview."""


def spoken_box(box: Box) -> str:
    """Return a box in units as `x1, y1, x2, y2` in 0..1000, rounded to STEP, never empty.

    Example:
        >>> spoken_box((0.1, 0.212, 0.3, 0.4))
        '100, 200, 300, 400'
    """
    return ", ".join(str(round(v * 1000)) for v in rounded(box))


def rounded(box: Box) -> Box:
    """Return a box in units moved to multiples of STEP within 0..1000, at least one step wide."""
    steps = 1000 // STEP
    left, top, right, bottom = (min(max(round(v * steps), 0), steps) for v in box)
    left, top = min(left, steps - 1), min(top, steps - 1)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    return left / steps, top / steps, right / steps, bottom / steps


def spoken_size(pixels: float) -> str:
    """Return the nearest of SIZES, in the logarithm."""
    return str(min(SIZES, key=lambda s: abs(math.log(s / max(pixels, 0.5)))))


def thought(scene: Scene, question: SceneQuestion, view_px: int) -> str:
    """Return what the overview shows of the target: where it is and how large its detail.

    The same for trajectories with and without a look, so that it says nothing of what follows. A
    place follows the colour's name at once: one step of attention leads from the name to a sign of
    that colour. With words between them the place was that of any sign.
    """
    size = spoken_size(question.detail * view_px)
    if question.kind == "overview" and len(question.targets) != 2:
        signs = sorted(scene.signs, key=lambda s: s.x)
        return f"See {', '.join(s.colour for s in signs)}. Detail {size} px."
    by_colour = {sign.colour: sign for sign in scene.signs}
    places = [f"See {c} {spoken_box(by_colour[c].corners)}." for c in question.targets]
    return " ".join([*places, f"Detail {size} px."])


def look_box(question: SceneQuestion, smallest: float = MIN_LOOK) -> Box:
    """Return the box in units that shows a question's evidence, no side below `smallest`."""
    left = min(b[0] for b in question.boxes)
    top = min(b[1] for b in question.boxes)
    right = max(b[2] for b in question.boxes)
    bottom = max(b[3] for b in question.boxes)
    extent = max(right - left, bottom - top)
    side = 1.2 * extent if question.kind == "overview" else look_side(extent, smallest)
    return square_around((left + right) / 2, (top + bottom) / 2, side)


def look_side(extent: float, smallest: float = MIN_LOOK) -> float:
    """Return the side in units of a look at something of `extent` units: four times as wide."""
    return min(max(smallest, 4 * extent), 1.0)


def jittered(box: Box, rng: np.random.Generator) -> Box:
    """Return a look's box as a model would speak it: rounded, each side off by up to a step."""
    steps = [round(v * 1000 / STEP) + int(rng.integers(-1, 2)) for v in box]
    left, top, right, bottom = (min(max(s, 0), 1000 // STEP) * STEP / 1000 for s in steps)
    return left, top, max(right, left + 0.05), max(bottom, top + 0.05)


def square_around(x: float, y: float, side: float) -> Box:
    """Return a square of `side` units around a point, moved so that it lies inside the scene."""
    side = min(side, 1.0)
    left, top = (min(max(c - side / 2, 0.0), 1.0 - side) for c in (x, y))
    return left, top, left + side, top + side


def wrong_box(question: SceneQuestion, rng: np.random.Generator) -> Box:
    """Return a box of a plausible size that shows none of a detail's evidence, however rounded."""
    x0, y0, x1, y1 = question.boxes[0]
    left, top, right, bottom = (x0 - _UNIT, y0 - _UNIT, x1 + _UNIT, y1 + _UNIT)
    while True:
        x, y = rng.uniform(0.1, 0.9, 2)
        box = square_around(float(x), float(y), float(rng.uniform(MIN_LOOK, 0.25)))
        if box[2] <= left or right <= box[0] or box[3] <= top or bottom <= box[1]:
            return box
