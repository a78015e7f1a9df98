"""What InternVL 3 (in its transformers form) has of its own: marks, and images cut into tiles."""

from dataclasses import dataclass
from typing import Any

from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas

from lookless.chat.chatml import ImageMarks
from lookless.errors import ConfigError, ImageError
from lookless.images import MAX_ASPECT_RATIO

MARKS = ImageMarks("<img>", "<IMG_CONTEXT>", "</img>", written="<IMG_CONTEXT>", after="\n")


@dataclass(frozen=True, slots=True)
class TileBudget:
    """How many square tiles a model may be shown of one view.

    The view is a canvas of whole tiles; where it has more than one, a thumbnail comes on top.
    """

    min_tiles: int
    max_tiles: int
    tile_px: int
    """Side of a tile in pixels."""
    tile_tokens: int
    """Visual tokens of one tile."""

    def __post_init__(self) -> None:
        if not (1 <= self.min_tiles <= self.max_tiles and self.tile_px >= 1):
            raise ConfigError(
                "tile budget must have 1 <= min_tiles <= max_tiles and tile_px >= 1, got "
                f"{self.min_tiles}, {self.max_tiles} and {self.tile_px}; change it"
            )

    def __str__(self) -> str:
        return f"{self.min_tiles} to {self.max_tiles} tiles of {self.tile_px} pixels a side"

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Return the (width, height) of the canvas for a region of `width` x `height` pixels.

        Of all grids with a permitted number of tiles it is the one whose aspect ratio is nearest;
        of several such, the largest of which the region fills more than half.

        Raises:
            ImageError: If a side is below 1 or the aspect ratio above `MAX_ASPECT_RATIO`.

        Example:
            >>> TileBudget(1, 12, 448, 256).resized(2000, 1000)
            (1792, 896)
        """
        if min(width, height) < 1 or max(width, height) > MAX_ASPECT_RATIO * min(width, height):
            raise ImageError(
                f"an image or region must have an aspect ratio of at most {MAX_ASPECT_RATIO}, "
                f"got {width}x{height} pixels; use a less elongated one"
            )
        side = self.tile_px
        columns, rows = get_optimal_tiled_canvas(
            (height, width), (side, side), self.min_tiles, self.max_tiles
        )
        return columns * side, rows * side

    def keeping_settings(self) -> dict[str, Any]:
        """Return what the family's image processor must be told to keep canvases as they are."""
        return self.processor_settings()

    def processor_settings(self) -> dict[str, Any]:
        """Return what the family's image processor must be told to tile as `resized` does."""
        return {"min_patches": self.min_tiles, "max_patches": self.max_tiles}

    def visual_tokens(self, width: int, height: int) -> int:
        """Return how many tokens a canvas of `width` x `height` pixels costs."""
        tiles = (width // self.tile_px) * (height // self.tile_px)
        return (tiles + (tiles > 1)) * self.tile_tokens
