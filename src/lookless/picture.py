"""A picture for the model: a view of a source, cut only when its pixels are asked for."""

from dataclasses import dataclass

from PIL import Image

from lookless.frames import View
from lookless.images import Source


@dataclass(frozen=True)
class Picture:
    """Which part of which source, at what size."""

    source: Source
    view: View

    @property
    def key(self) -> tuple[str, View]:
        """Return what tells distinct pictures apart."""
        return self.source.key, self.view

    @property
    def pixels(self) -> Image.Image:
        """Return the image as the model gets it, cut from the full-resolution source."""
        return self.source.pixels(self.view)
