"""Boxes drawn on images: where a model looked, where it tried to, and where the evidence is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from lookless.episode import Look, LookOutcome, Rollout
from lookless.frames import Box, Frame, View
from lookless.images import Source

MAX_SIDE_PX = 1600
"""Longest side of the image that `draw_looks` returns."""
LOOK_COLOUR = "#ff8c1a"
FAILED_COLOUR = "#ff4fd8"
EVIDENCE_COLOUR = "#35d07f"
_EDGE_COLOUR = "#101010"
_DASH_PX = 6

Pixels = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Mark:
    """One box to be drawn."""

    box: Box
    """In source pixels; corners may be swapped or lie outside."""
    label: str
    """Written at its upper left corner; may be empty."""
    colour: str
    is_dashed: bool = False


def draw_looks(source: Source, rollout: Rollout) -> Image.Image:
    """Return the image, at most 1600 px wide or high, with the rollout's looks drawn and numbered.

    What was seen is orange; a look that was not executed is dashed and pink, if its box can be
    placed.

    Raises:
        ImageError: If the image cannot be opened.
    """
    width, height = source.size
    whole = View(Box(0, 0, width, height, Frame.SOURCE), *fitted(source.size, MAX_SIDE_PX))
    return draw_marks(source.pixels(whole), look_marks(rollout.looks, rollout.views), source.size)


def look_marks(looks: Sequence[Look], views: Sequence[View]) -> list[Mark]:
    """Return a mark for each look that has a place on the image, numbered from 1 in order."""
    marks = []
    for number, look in enumerate(looks, 1):
        if look.outcome is LookOutcome.EXECUTED and look.view is not None:
            marks.append(Mark(views[look.view].region, str(number), LOOK_COLOUR))
        elif look.box is not None and look.image is not None and 0 <= look.image < len(views):
            asked = views[look.image].to_source(look.box)
            marks.append(Mark(asked, str(number), FAILED_COLOUR, is_dashed=True))
    return marks


def evidence_marks(boxes: Iterable[Box]) -> list[Mark]:
    """Return a mark without a label for each box of a question's evidence."""
    return [Mark(box, "", EVIDENCE_COLOUR) for box in boxes]


def fitted(size: tuple[int, int], max_side_px: int) -> tuple[int, int]:
    """Return the size with the longest side cut to `max_side_px`; never enlarged, never below 1.

    Example:
        >>> fitted((4000, 3000), 1600)
        (1600, 1200)
    """
    scale = min(max_side_px / max(size), 1.0)
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def draw_marks(
    image: Image.Image, marks: Sequence[Mark], source_size: tuple[int, int]
) -> Image.Image:
    """Return a copy of `image` with the marks drawn.

    The lines run around each box, not over it, so that small evidence stays visible.

    Args:
        image: The whole source image at any size.
        marks: What to draw, later ones on top.
        source_size: (width, height) that the marks' boxes refer to.
    """
    drawn = image.convert("RGB")
    draw = ImageDraw.Draw(drawn)
    line_px = max(3, round(max(drawn.size) / 320))
    font = ImageFont.load_default(size=max(14, round(max(drawn.size) / 36)))
    for mark in marks:
        box = _on_canvas(mark.box, source_size, drawn.size)
        line = _grown(box, line_px + 1, drawn.size)
        edge = _grown(box, line_px + 2, drawn.size)
        _outline(draw, edge, _EDGE_COLOUR, line_px + 2, is_dashed=False)
        _outline(draw, line, mark.colour, line_px, is_dashed=mark.is_dashed)
        if mark.label:
            _label(draw, line, mark, font, drawn.size)
    return drawn


def _on_canvas(box: Box, source_size: tuple[int, int], size: tuple[int, int]) -> Pixels:
    """Return the first and last pixel (inclusive) of a box on the canvas."""
    scale_x, scale_y = size[0] / source_size[0], size[1] / source_size[1]
    left, right = sorted((box.left, box.right))
    top, bottom = sorted((box.top, box.bottom))
    return (
        round(_clamp(left * scale_x, size[0] - 1)),
        round(_clamp(top * scale_y, size[1] - 1)),
        round(_clamp(right * scale_x - 1, size[0] - 1)),
        round(_clamp(bottom * scale_y - 1, size[1] - 1)),
    )


def _grown(box: Pixels, by: int, size: tuple[int, int]) -> Pixels:
    """Return a box moved outward on each side as far as the canvas goes."""
    left, top, right, bottom = box
    return (
        max(left - by, 0),
        max(top - by, 0),
        min(max(right, left) + by, size[0] - 1),
        min(max(bottom, top) + by, size[1] - 1),
    )


def _clamp(value: float, highest: int) -> float:
    return min(max(value, 0.0), float(highest))


def _outline(
    draw: ImageDraw.ImageDraw, box: Pixels, colour: str, line_px: int, *, is_dashed: bool
) -> None:
    left, top, right, bottom = box
    if not is_dashed:
        draw.rectangle(box, outline=colour, width=line_px)
        return
    dash = _DASH_PX * line_px // 2
    for start in range(left, right + 1, 2 * dash):
        stop = min(start + dash, right)
        draw.rectangle((start, top, stop, min(top + line_px - 1, bottom)), fill=colour)
        draw.rectangle((start, max(bottom - line_px + 1, top), stop, bottom), fill=colour)
    for start in range(top, bottom + 1, 2 * dash):
        stop = min(start + dash, bottom)
        draw.rectangle((left, start, min(left + line_px - 1, right), stop), fill=colour)
        draw.rectangle((max(right - line_px + 1, left), start, right, stop), fill=colour)


def _label(
    draw: ImageDraw.ImageDraw,
    box: Pixels,
    mark: Mark,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
) -> None:
    """Write a mark's label on a filled tag above its box, or inside it where there is no room."""
    left, top, right, bottom = draw.textbbox((0, 0), mark.label, font=font)
    pad = 3
    width, height = round(right - left) + 2 * pad, round(bottom - top) + 2 * pad
    x = max(min(box[0], size[0] - width), 0)
    y = box[1] - height if box[1] >= height else box[1]
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=mark.colour)
    draw.text((x + pad - left, y + pad - top), mark.label, font=font, fill=_EDGE_COLOUR)
