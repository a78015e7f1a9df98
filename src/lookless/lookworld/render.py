"""Drawing a scene, or any part of it at any scale, with Pillow."""

import math
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lookless.lookworld.backgrounds import background_image
from lookless.lookworld.scene import Content, Kind, Scene, Sign

Colour = tuple[int, int, int]
FONTS = ("DejaVuSans-Bold.ttf", "DejaVuSansMono-Bold.ttf", "DejaVuSerif-Bold.ttf")
BAR_RGB: dict[str, Colour] = {"red": (205, 30, 30), "green": (30, 140, 45), "blue": (30, 60, 205)}
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

    ink = ink_for(sign.rgb)
    cx, cy = to_tile(sign.x, sign.y)
    radius = sign.size * scale * over / 2
    outline = plate_polygon(sign.plate, cx, cy, radius)
    ImageDraw.Draw(mask).polygon(outline, fill=255)
    draw = ImageDraw.Draw(tile)
    border = max(1, round(radius * 0.07))
    draw.polygon(outline, outline=ink, width=border)
    px, py = to_tile(sign.content.x, sign.content.y)
    draw_content(draw, sign.content, px, py, sign.content.size * scale * over, ink)
    image.paste(
        tile.resize((side, side), Image.Resampling.BOX),
        (x0, y0),
        mask.resize((side, side), Image.Resampling.BOX),
    )


def ink_for(rgb: Colour) -> Colour:
    """Return black or white, whichever stands out on `rgb`."""
    luminance = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
    return (15, 15, 15) if luminance > 120 else (245, 245, 245)


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
    draw: ImageDraw.ImageDraw, content: Content, cx: float, cy: float, side: float, ink: Colour
) -> None:
    """Draw `content` into the square of `side` pixels around (`cx`, `cy`)."""
    half = side / 2
    x0, y0 = cx - half, cy - half

    def at(u: float, v: float) -> tuple[float, float]:
        return x0 + u * side, y0 + v * side

    def disc(u: float, v: float, r: float) -> None:
        draw.ellipse((*at(u - r, v - r), *at(u + r, v + r)), fill=ink)

    def cross(u: float, v: float, r: float) -> None:
        t = r * 0.36
        draw.rectangle((*at(u - r, v - t), *at(u + r, v + t)), fill=ink)
        draw.rectangle((*at(u - t, v - r), *at(u + t, v + r)), fill=ink)

    match content.kind:
        case Kind.MARK:
            if content.value == "disc":
                disc(0.5, 0.5, 0.46)
            elif content.value == "cross":
                cross(0.5, 0.5, 0.48)
            elif content.value == "square":
                draw.rectangle((*at(0.08, 0.08), *at(0.92, 0.92)), fill=ink)
            elif content.value == "triangle":
                draw.polygon([at(0.5, 0.02), at(0.98, 0.92), at(0.02, 0.92)], fill=ink)
            else:
                draw.polygon([at(u, v) for u, v in _star()], fill=ink)
        case Kind.ARROW:
            points = [
                (0.0, 0.36), (0.5, 0.36), (0.5, 0.08), (1.0, 0.5),
                (0.5, 0.92), (0.5, 0.64), (0.0, 0.64),
            ]  # fmt: skip
            if content.value in ("left", "up"):
                points = [(1 - u, v) for u, v in points]
            if content.value in ("up", "down"):
                points = [(v, u) for u, v in points]
            draw.polygon([at(u, v) for u, v in points], fill=ink)
        case Kind.LETTER | Kind.CODE:
            name = FONTS[content.variant % len(FONTS)]
            _draw_text(draw, content.value, name, cx, cy, side, ink)
        case Kind.DOTS:
            # The same ink for every count: a blur must not give the count away.
            layout = DOT_LAYOUTS[int(content.value)]
            is_mirrored = content.variant % 2 == 1
            for u, v in layout:
                disc(1 - u if is_mirrored else u, v, 0.34 / math.sqrt(len(layout)))
        case Kind.PAIR:
            u = 0.23 if content.value == "left" else 0.77
            disc(u, 0.5, 0.22)
            cross(1 - u, 0.5, 0.23)
        case Kind.CHART:
            draw.rectangle((*at(0, 0), *at(1, 1)), fill=(250, 250, 250), outline=(20, 20, 20))
            for k, (colour, height) in enumerate(chart_bars(content)):
                left = 0.1 + k * 0.28
                draw.rectangle(
                    (*at(left, 0.95 - height), *at(left + 0.24, 0.95)), fill=BAR_RGB[colour]
                )


def chart_bars(content: Content) -> list[tuple[str, float]]:
    """Return the chart's bars, left to right, as (colour, height as a share of the chart)."""
    rng = np.random.default_rng(content.variant)
    others = [c for c in BAR_RGB if c != content.value]
    heights = {content.value: float(rng.uniform(0.75, 0.88))}
    for colour in others:
        heights[colour] = float(rng.uniform(0.18, 0.52))
    return [(str(colour), heights[str(colour)]) for colour in rng.permutation(list(BAR_RGB))]


def _star() -> list[tuple[float, float]]:
    points = []
    for k in range(10):
        r = 0.52 if k % 2 == 0 else 0.2
        a = -math.pi / 2 + math.pi * k / 5
        points.append((0.5 + r * math.cos(a), 0.53 + r * math.sin(a)))
    return points


def _draw_text(
    draw: ImageDraw.ImageDraw, text: str, font: str, cx: float, cy: float, side: float, ink: Colour
) -> None:
    """Draw `text` so that it fills the square: letters as high as it, a code as wide as it."""
    share = 1.36 if len(text) == 1 else 0.72
    size_px = max(2, round(side * share))
    draw.text((cx, cy), text, font=_font(font, size_px), fill=ink, anchor="mm")
