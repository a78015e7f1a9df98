"""Drawing a scene, or any part of it at any scale, with Pillow."""

import math
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lookless.lookworld.backgrounds import background_image
from lookless.lookworld.scene import INNER, Content, Kind, Scene, Sign

Colour = tuple[int, int, int]
INK: Colour = (15, 15, 15)
PAPER: Colour = (250, 250, 250)
FONTS = ("DejaVuSans-Bold.ttf", "DejaVuSansMono-Bold.ttf")
BAR_RGB: dict[str, Colour] = {"red": (205, 30, 30), "green": (30, 140, 45), "blue": (30, 60, 205)}
BAR_INK = 0.12
"""Area of every bar of a chart as a share of the chart's; a taller bar is narrower."""
DOT_LAYOUTS: dict[int, tuple[tuple[float, float], ...]] = {
    1: ((0.5, 0.5),),
    2: ((0.22, 0.22), (0.78, 0.78)),
    3: ((0.18, 0.18), (0.5, 0.5), (0.82, 0.82)),
    4: ((0.2, 0.2), (0.8, 0.2), (0.2, 0.8), (0.8, 0.8)),
    5: ((0.17, 0.17), (0.83, 0.17), (0.5, 0.5), (0.17, 0.83), (0.83, 0.83)),
}


def render(
    scene: Scene,
    size_px: int,
    region: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0),
    photos: Path | None = None,
    oversample: int = 2,
) -> Image.Image:
    """Return the part `region` (units) of a scene as an RGB image.

    Args:
        scene: What to draw.
        size_px: Side in pixels that the *whole* scene would have; it sets the scale.
        region: Left, top, right, bottom in units.
        photos: Folder of photographs that backgrounds named `photo:...` may come from.
        oversample: Signs are drawn this many times larger and averaged, for smooth edges.
    """
    left, top, right, bottom = region
    width, height = round((right - left) * size_px), round((bottom - top) * size_px)
    image = background_image(scene.background, scene.seed, photos).resize_region(
        region, (width, height)
    )
    for sign in scene.signs:
        _draw_sign(image, sign, size_px, left * size_px, top * size_px, oversample)
    return image


def _draw_sign(
    image: Image.Image, sign: Sign, scale: float, left_px: float, top_px: float, over: int
) -> None:
    """Draw `sign` on its own tile at `over` times the scale and paste it."""
    x0 = math.floor((sign.x - sign.size / 2) * scale - left_px) - 1
    y0 = math.floor((sign.y - sign.size / 2) * scale - top_px) - 1
    side = math.ceil(sign.size * scale) + 3
    if x0 >= image.width or y0 >= image.height or x0 + side <= 0 or y0 + side <= 0:
        return
    tile = Image.new("RGB", (side * over, side * over), sign.rgb)
    mask = Image.new("L", tile.size, 0)

    def to_tile(x: float, y: float) -> tuple[float, float]:
        return (x * scale - left_px - x0) * over, (y * scale - top_px - y0) * over

    cx, cy = to_tile(sign.x, sign.y)
    radius = sign.size * scale * over / 2
    outline = plate_polygon(sign.plate, cx, cy, radius)
    ImageDraw.Draw(mask).polygon(outline, fill=255)
    draw = ImageDraw.Draw(tile)
    border = max(1, round(radius * 0.07))
    draw.polygon(outline, outline=INK, width=border)
    half = radius * INNER
    draw.rectangle((cx - half, cy - half, cx + half, cy + half), fill=PAPER)
    px, py = to_tile(sign.content.x, sign.content.y)
    draw_content(draw, sign.content, px, py, sign.content.size * scale * over)
    image.paste(
        tile.resize((side, side), Image.Resampling.BOX),
        (x0, y0),
        mask.resize((side, side), Image.Resampling.BOX),
    )


def plate_polygon(plate: str, cx: float, cy: float, radius: float) -> list[tuple[float, float]]:
    """Return the outline of a plate as points; a circle is a polygon of 40 corners."""
    if plate == "square":
        r = radius * 0.92
        return [(cx - r, cy - r), (cx + r, cy - r), (cx + r, cy + r), (cx - r, cy + r)]
    corners, turn = {"circle": (40, 0.0), "hexagon": (6, 0.0), "octagon": (8, math.pi / 8)}[plate]
    angles = [turn + 2 * math.pi * k / corners for k in range(corners)]
    return [(cx + radius * math.cos(a), cy + radius * math.sin(a)) for a in angles]


@lru_cache(maxsize=256)
def _font(name: str, size_px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)), size_px)


def draw_content(
    draw: ImageDraw.ImageDraw, content: Content, cx: float, cy: float, side: float
) -> None:
    """Draw `content` into the square of `side` pixels around (`cx`, `cy`)."""
    half = side / 2
    x0, y0 = cx - half, cy - half

    def at(u: float, v: float) -> tuple[float, float]:
        return x0 + u * side, y0 + v * side

    def disc(u: float, v: float, r: float) -> None:
        draw.ellipse((*at(u - r, v - r), *at(u + r, v + r)), fill=INK)

    def cross(u: float, v: float, r: float) -> None:
        t = r * 0.28
        draw.rectangle((*at(u - r, v - t), *at(u + r, v + t)), fill=INK)
        draw.rectangle((*at(u - t, v - r), *at(u + t, v + r)), fill=INK)

    # Marks, arrows, dots and bars have the same ink for every value: what cannot be made out must
    # not be given away by how dark its blur is.
    match content.kind:
        case Kind.MARK:
            if content.value == "disc":
                disc(0.5, 0.5, 0.37)
            elif content.value == "cross":
                cross(0.5, 0.5, 0.48)
            elif content.value == "square":
                draw.rectangle((*at(0.17, 0.17), *at(0.83, 0.83)), fill=INK)
            elif content.value == "triangle":
                draw.polygon([at(0.5, 0.02), at(0.98, 0.92), at(0.02, 0.92)], fill=INK)
            else:
                draw.polygon([at(u, v) for u, v in _star()], fill=INK)
        case Kind.ARROW:
            points = [
                (0.0, 0.36), (0.5, 0.36), (0.5, 0.08), (1.0, 0.5),
                (0.5, 0.92), (0.5, 0.64), (0.0, 0.64),
            ]  # fmt: skip
            if content.value in ("left", "up"):
                points = [(1 - u, v) for u, v in points]
            if content.value in ("up", "down"):
                points = [(v, u) for u, v in points]
            draw.polygon([at(u, v) for u, v in points], fill=INK)
        case Kind.LETTER | Kind.CODE:
            name = FONTS[content.variant % len(FONTS)]
            _draw_text(draw, content.value, name, cx, cy, side)
        case Kind.DOTS:
            layout = DOT_LAYOUTS[int(content.value)]
            is_mirrored = content.variant % 2 == 1
            for u, v in layout:
                disc(1 - u if is_mirrored else u, v, 0.34 / math.sqrt(len(layout)))
        case Kind.PAIR:
            u = 0.23 if content.value == "left" else 0.77
            disc(u, 0.5, 0.19)
            cross(1 - u, 0.5, 0.23)
        case Kind.CHART:
            draw.rectangle((*at(0, 0), *at(1, 1)), fill=PAPER, outline=INK)
            bars = chart_bars(content)
            gap = (0.9 - sum(BAR_INK / height for _, height in bars)) / 2
            left = 0.05
            for colour, height in bars:
                right = left + BAR_INK / height
                draw.rectangle((*at(left, 0.95 - height), *at(right, 0.95)), fill=BAR_RGB[colour])
                left = right + gap


def chart_bars(content: Content) -> list[tuple[str, float]]:
    """Return the chart's bars, left to right, as (colour, height as a share of the chart)."""
    rng = np.random.default_rng(content.variant)
    others = [c for c in BAR_RGB if c != content.value]
    heights = {content.value: float(rng.uniform(0.75, 0.88))}
    for colour in others:
        heights[colour] = float(rng.uniform(0.35, 0.55))
    return [(str(colour), heights[str(colour)]) for colour in rng.permutation(list(BAR_RGB))]


def _star() -> list[tuple[float, float]]:
    points = []
    for k in range(10):
        r = 0.52 if k % 2 == 0 else 0.28
        a = -math.pi / 2 + math.pi * k / 5
        points.append((0.5 + r * math.cos(a), 0.53 + r * math.sin(a)))
    return points


def _draw_text(
    draw: ImageDraw.ImageDraw, text: str, font: str, cx: float, cy: float, side: float
) -> None:
    """Draw `text` so that it fills the square: letters as high as it, a code as wide as it."""
    share = 1.36 if len(text) == 1 else 0.72
    size_px = max(2, round(side * share))
    draw.text((cx, cy), text, font=_font(font, size_px), fill=INK, anchor="mm")
