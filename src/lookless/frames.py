"""Boxes that know their coordinate frame; the only place where coordinates are converted.

A *view* is what the model sees: a region of the source image, resized. A model names boxes in the
frame of one view (its resized pixels, or 0..1000 across it); crops are cut from the source. Frames
are carried by the type and never guessed from the size of the numbers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

_ROUNDING = 1e-6


class Frame(StrEnum):
    """What the numbers of a box mean."""

    SOURCE = "source"
    """Pixels of the full-resolution source image, after EXIF orientation."""
    UNIT = "unit"
    """0..1 across a view."""
    PERMILLE = "permille"
    """0..1000 across a view (Qwen3-VL, and the tiny model)."""
    RESIZED = "resized"
    """Pixels of a view as the model gets it, after resizing (Qwen2.5-VL)."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in `frame`; nothing is checked, so that a model's bad box can be represented."""

    left: float
    top: float
    right: float
    bottom: float
    frame: Frame

    @property
    def coordinates(self) -> tuple[float, float, float, float]:
        """Return (left, top, right, bottom)."""
        return self.left, self.top, self.right, self.bottom

    @property
    def width(self) -> float:
        """Return right minus left."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Return bottom minus top."""
        return self.bottom - self.top

    @property
    def area(self) -> float:
        """Return the area; 0 if the corners are swapped."""
        return max(self.width, 0.0) * max(self.height, 0.0)

    @property
    def is_finite(self) -> bool:
        """Whether no coordinate is NaN or infinite."""
        return all(math.isfinite(v) for v in self.coordinates)

    def outward(self) -> "Box":
        """Return the box of whole numbers around this one, at least 1 wide and high.

        A corner within 1e-6 of a whole number is that number: conversions leave such noise.

        Example:
            >>> Box(0.5, 2.0000000001, 3, 3.2, Frame.SOURCE).outward().coordinates
            (0, 2, 3, 4)
        """
        left, top = math.floor(self.left + _ROUNDING), math.floor(self.top + _ROUNDING)
        right, bottom = math.ceil(self.right - _ROUNDING), math.ceil(self.bottom - _ROUNDING)
        return Box(left, top, max(right, left + 1), max(bottom, top + 1), self.frame)

    def intersection(self, other: "Box") -> "Box":
        """Return the common part of two boxes in the same frame (area 0 if there is none).

        Raises:
            ValueError: If the frames differ.
        """
        if self.frame != other.frame:
            raise ValueError(f"boxes must share a frame, got {self.frame} and {other.frame}")
        return Box(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
            self.frame,
        )

    def grown(self, by: float) -> "Box":
        """Return the box that reaches `by` further on each side.

        Example:
            >>> Box(10, 20, 30, 40, Frame.SOURCE).grown(5).coordinates
            (5, 15, 35, 45)
        """
        return Box(self.left - by, self.top - by, self.right + by, self.bottom + by, self.frame)


def surroundings(boxes: Sequence[Box]) -> Box:
    """Return what holds all boxes, with a margin on each side of half its longer side.

    Example:
        >>> one, other = Box(10, 0, 20, 4, Frame.SOURCE), Box(14, 2, 30, 10, Frame.SOURCE)
        >>> surroundings([one, other]).coordinates
        (0.0, -10.0, 40.0, 20.0)
    """
    around = Box(
        min(box.left for box in boxes),
        min(box.top for box in boxes),
        max(box.right for box in boxes),
        max(box.bottom for box in boxes),
        boxes[0].frame,
    )
    return around.grown(max(around.width, around.height) / 2)


@dataclass(frozen=True, slots=True)
class View:
    """One image that the model gets: `region` of the source at `width_px` x `height_px`."""

    region: Box
    """In `Frame.SOURCE`."""
    width_px: int
    height_px: int

    def _extent(self, frame: Frame) -> tuple[float, float]:
        """Return the width and height of the view in `frame`."""
        match frame:
            case Frame.UNIT:
                return 1.0, 1.0
            case Frame.PERMILLE:
                return 1000.0, 1000.0
            case Frame.RESIZED:
                return float(self.width_px), float(self.height_px)
            case Frame.SOURCE:
                raise ValueError("source pixels are not relative to a view")

    def to_source(self, box: Box) -> Box:
        """Return `box`, given in a frame of this view, in source pixels.

        Example:
            >>> view = View(Box(100, 200, 300, 400, Frame.SOURCE), 160, 160)
            >>> view.to_source(Box(0, 500, 1000, 1000, Frame.PERMILLE)).coordinates
            (100.0, 300.0, 300.0, 400.0)
        """
        if box.frame is Frame.SOURCE:
            return box
        extent_x, extent_y = self._extent(box.frame)
        scale_x, scale_y = self.region.width / extent_x, self.region.height / extent_y
        return Box(
            self.region.left + box.left * scale_x,
            self.region.top + box.top * scale_y,
            self.region.left + box.right * scale_x,
            self.region.top + box.bottom * scale_y,
            Frame.SOURCE,
        )

    def from_source(self, box: Box, frame: Frame) -> Box:
        """Return `box`, given in source pixels, in `frame` of this view.

        Raises:
            ValueError: If `box` is not in source pixels.
        """
        if box.frame is not Frame.SOURCE:
            raise ValueError(f"box must be in source pixels, got {box.frame}")
        if frame is Frame.SOURCE:
            return box
        extent_x, extent_y = self._extent(frame)
        scale_x, scale_y = extent_x / self.region.width, extent_y / self.region.height
        return Box(
            (box.left - self.region.left) * scale_x,
            (box.top - self.region.top) * scale_y,
            (box.right - self.region.left) * scale_x,
            (box.bottom - self.region.top) * scale_y,
            frame,
        )
