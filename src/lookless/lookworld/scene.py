"""A LookWorld scene: coloured signs, each with a large or a small content.

All lengths are in *units*: the scene is 1 wide and 1 high, whatever its size in pixels.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "orange": (245, 133, 24),
    "yellow": (245, 214, 40),
    "green": (46, 150, 60),
    "cyan": (60, 205, 215),
    "blue": (35, 70, 200),
    "purple": (130, 50, 165),
    "pink": (245, 130, 185),
}
PLATES = ("square", "circle", "hexagon", "octagon")
SHAPES = ("disc", "square", "triangle", "star", "cross")
SIDES = ("left", "right")
ARROWS = ("left", "right", "up", "down")
LETTERS = ("A", "C", "E", "H", "K", "T", "X", "Z")
DIGITS = ("2", "3", "4", "5", "7", "8")
CODES = tuple(letter + digit for letter in LETTERS for digit in DIGITS)
COUNTS = ("1", "2", "3", "4", "5")
BARS = ("red", "green", "blue")


class Kind(StrEnum):
    """What a sign carries; each kind asks for another skill."""

    MARK = "mark"
    """One of five shapes."""
    ARROW = "arrow"
    """An arrow in one of four directions."""
    LETTER = "letter"
    """One capital letter."""
    CODE = "code"
    """A letter and a digit."""
    DOTS = "dots"
    """One to five dots."""
    PAIR = "pair"
    """A dot and a cross side by side: on which side is the dot?"""
    CHART = "chart"
    """Three coloured bars, one of them the tallest."""


VALUES: dict[Kind, tuple[str, ...]] = {
    Kind.MARK: SHAPES,
    Kind.ARROW: ARROWS,
    Kind.LETTER: LETTERS,
    Kind.CODE: CODES,
    Kind.DOTS: COUNTS,
    Kind.PAIR: SIDES,
    Kind.CHART: BARS,
}
"""The values a content of each kind can take; chance is one over their number."""


FEATURE: dict[Kind, float] = {
    Kind.MARK: 1.0,
    Kind.ARROW: 1.0,
    Kind.LETTER: 1.0,
    Kind.CODE: 0.6,
    Kind.DOTS: 0.8,
    Kind.PAIR: 0.75,
    Kind.CHART: 0.85,
}
"""Size of what must be made out (a character's height, say) as a share of the content's size."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a sign shows: its kind, its value, and a square of `size` units around (`x`, `y`)."""

    kind: Kind
    value: str
    x: float
    y: float
    size: float
    variant: int
    """Chooses what does not change the answer: font, bar heights, dot layout."""

    @property
    def detail(self) -> float:
        """Size in units of the feature that must be made out to read the value."""
        return self.size * FEATURE[self.kind]

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """The content's box (left, top, right, bottom) in units."""
        half = self.size / 2
        return self.x - half, self.y - half, self.x + half, self.y + half


@dataclass(frozen=True, slots=True)
class Sign:
    """A coloured plate of `size` units around (`x`, `y`) with one content on it."""

    colour: str
    rgb: tuple[int, int, int]
    plate: str
    x: float
    y: float
    size: float
    content: Content

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """The plate's box (left, top, right, bottom) in units."""
        half = self.size / 2
        return self.x - half, self.y - half, self.x + half, self.y + half


@dataclass(frozen=True, slots=True)
class Scene:
    """Signs on a background; `background` and `seed` say how the background is made."""

    signs: tuple[Sign, ...]
    background: str
    seed: int


@dataclass(frozen=True, slots=True)
class SceneStyle:
    """The ranges a scene is drawn from; the shifted test uses another style than training."""

    signs: tuple[int, int] = (2, 5)
    plate_size: tuple[float, float] = (0.13, 0.29)
    small: tuple[float, float] = (0.012, 0.016)
    """Detail in units of a content that cannot be read in the overview."""
    large_share: tuple[float, float] = (0.52, 0.58)
    """Size of a content that can be read, as a share of its plate."""
    large_plate: float = 0.21
    """Smallest plate that carries a large content."""
    small_rate: float = 0.5
    """Share of the signs whose content is small."""
    graded: tuple[float, float] | None = None
    """If set, content sizes are drawn from this range, log-uniformly, instead."""
    shade: tuple[float, float] = (0.82, 1.12)
    """Brightness factors of the plate colours."""
    tint: float = 12.0
    """Standard deviation of the noise added to each colour channel (0..255)."""


SHIFTED_STYLE = SceneStyle(
    small=(0.0100, 0.0118),
    large_share=(0.44, 0.51),
    shade=(0.66, 0.80),
    tint=16.0,
)
"""Contents smaller and plates darker than any in training."""
GRADED_STYLE = SceneStyle(plate_size=(0.13, 0.30), graded=(0.012, 0.18))
INNER = 0.62
"""The white square of a plate that carries the content, as a share of the plate's size."""
OFFSET = 0.08
"""How far a content may lie off its plate's centre, as a share of the plate's size."""


def sample_scene(
    rng: np.random.Generator, style: SceneStyle, backgrounds: tuple[str, ...]
) -> Scene:
    """Return a random scene of `style` on one of `backgrounds`."""
    count = int(rng.integers(style.signs[0], style.signs[1] + 1))
    colours = rng.permutation(list(COLOURS))[:count]
    signs: list[Sign] = []
    for colour in colours:
        sign = _place_sign(rng, style, str(colour), signs)
        if sign is not None:
            signs.append(sign)
    return Scene(tuple(signs), str(rng.choice(backgrounds)), int(rng.integers(2**31)))


def _place_sign(
    rng: np.random.Generator, style: SceneStyle, colour: str, placed: list[Sign]
) -> Sign | None:
    """Return a sign that does not touch those already placed, or None if there is no room."""
    is_small = rng.random() < style.small_rate
    for attempt in range(60):
        low, high = style.plate_size
        if not is_small and style.graded is None:
            low = max(low, style.large_plate)
        size = float(rng.uniform(low, low + (high - low) * (1 - attempt / 80)))
        margin = size / 2 + 0.01
        x, y = (float(v) for v in rng.uniform(margin, 1 - margin, 2))
        gap = 0.02
        if all(
            max(abs(x - other.x), abs(y - other.y)) > (size + other.size) / 2 + gap
            for other in placed
        ):
            content = _sample_content(rng, style, is_small, x, y, size)
            factor = rng.uniform(*style.shade)
            noise = rng.normal(0.0, style.tint, 3)
            r, g, b = (
                int(np.clip(base * factor + n, 0, 255))
                for base, n in zip(COLOURS[colour], noise, strict=True)
            )
            return Sign(colour, (r, g, b), str(rng.choice(PLATES)), x, y, size, content)
    return None


def _sample_content(
    rng: np.random.Generator, style: SceneStyle, is_small: bool, x: float, y: float, plate: float
) -> Content:
    kind = Kind(rng.choice([k.value for k in Kind]))
    value = str(rng.choice(VALUES[kind]))
    if style.graded is not None:
        low, high = style.graded
        detail = math.exp(rng.uniform(math.log(low), math.log(high)))
        size = min(detail / FEATURE[kind], INNER * plate)
    elif is_small:
        size = float(rng.uniform(*style.small)) / FEATURE[kind]
    else:
        size = float(rng.uniform(*style.large_share)) * plate
    slack = max(min((INNER * plate - size) / 2, OFFSET * plate), 0.0)
    dx, dy = (float(v) for v in rng.uniform(-1, 1, 2) * slack)
    return Content(kind, value, x + dx, y + dy, size, int(rng.integers(2**31)))
