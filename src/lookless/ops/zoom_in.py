"""The operation `zoom_in(bbox_2d, image)`: cut a box out of any view, at full resolution."""

import math
from typing import Any

from lookless.episode import Look, LookOutcome
from lookless.frames import Box, Frame, View
from lookless.images import MAX_ASPECT_RATIO

NAME = "zoom_in"
MIN_SIDE_PX = 8
"""A crop's shorter side in source pixels must be at least this, and not a sliver of the longer."""
REPEATED_IOU = 0.95
"""Two looks that overlap by more than this are the same look."""

UNITS = {
    Frame.PERMILLE: "in thousandths of the image's width and height (0 to 1000)",
    Frame.RESIZED: "in pixels of the image as you see it",
}
"""What the numbers of a box mean, by the frames that a model can be told of."""


def declaration(frame: Frame) -> dict[str, Any]:
    """Return the operation in the form of the chat templates' `tools`.

    Args:
        frame: What the model writes boxes in, one of `UNITS`.
    """
    return {
        "type": "function",
        "function": {
            "name": NAME,
            "description": "Zoom in on a region of an image and get it back at higher resolution.",
            "parameters": {
                "type": "object",
                "properties": {
                    "bbox_2d": {
                        "type": "array",
                        "items": {"type": "number"},
                        "minItems": 4,
                        "maxItems": 4,
                        "description": "The region as [x1, y1, x2, y2]: left, top, right, bottom, "
                        f"{UNITS[frame]}.",
                    },
                    "image": {
                        "type": "integer",
                        "minimum": 0,
                        "description": "The image to zoom into: 0 (if left out) is the original, "
                        "k the k-th crop.",
                    },
                },
                "required": ["bbox_2d"],
            },
        },
    }


def validate(arguments: Any, frame: Frame, views: tuple[View, ...]) -> Look:
    """Return what would become of a call: `EXECUTED` if it can be carried out, else the reason.

    Args:
        arguments: The call's `arguments` as parsed from JSON; anything at all.
        frame: The frame that the model family writes boxes in.
        views: What the model has seen so far; 0 is the overview.

    Returns:
        A look without `view`. Boxes that reach beyond their image are accepted (they are clipped
        later) unless nothing of them lies inside.
    """
    if not isinstance(arguments, dict) or set(arguments) - {"bbox_2d", "image"}:
        return Look(LookOutcome.BAD_ARGUMENTS)
    numbers = arguments.get("bbox_2d")
    image = arguments.get("image", 0)
    if not isinstance(numbers, list) or len(numbers) != 4 or not all(map(_is_number, numbers)):
        return Look(LookOutcome.BAD_ARGUMENTS)
    if not isinstance(image, int) or isinstance(image, bool):
        return Look(LookOutcome.BAD_ARGUMENTS)
    if not all(map(_is_finite, numbers)):
        return Look(LookOutcome.NOT_FINITE, image)
    left, top, right, bottom = (float(v) for v in numbers)
    box = Box(left, top, right, bottom, frame)
    if not 0 <= image < len(views):
        return Look(LookOutcome.UNKNOWN_IMAGE, image, box)
    if box.right < box.left or box.bottom < box.top:
        return Look(LookOutcome.SWAPPED_CORNERS, image, box)
    view = views[image]
    region = view.to_source(box).intersection(view.region)
    if region.right <= region.left or region.bottom <= region.top:
        is_empty = box.width == 0 or box.height == 0
        return Look(LookOutcome.TOO_SMALL if is_empty else LookOutcome.OUTSIDE, image, box)
    short, long = sorted((region.width, region.height))
    if short < MIN_SIDE_PX or long > MAX_ASPECT_RATIO * (short - 1):
        return Look(LookOutcome.TOO_SMALL, image, box)
    if any(_iou(region.outward(), seen.region) > REPEATED_IOU for seen in views[1:]):
        return Look(LookOutcome.REPEATED, image, box)
    return Look(LookOutcome.EXECUTED, image, box)


def region_of(look: Look, views: tuple[View, ...]) -> Box:
    """Return the part of the source that a valid look asks for, clipped to the view it names.

    Raises:
        ValueError: If the look was not valid.
    """
    if look.outcome is not LookOutcome.EXECUTED or look.box is None or look.image is None:
        raise ValueError(f"look must be executed, got {look.outcome}")
    view = views[look.image]
    return view.to_source(look.box).intersection(view.region)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer too large for a float
        return False


def _iou(a: Box, b: Box) -> float:
    common = a.intersection(b).area
    return common / (a.area + b.area - common)
