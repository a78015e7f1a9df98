"""The images of a data file by their headers: sizes, and which of them cannot be opened."""

from collections.abc import Sequence
from pathlib import Path

from lookless.errors import ImageError
from lookless.images import SourceCache

_BYTES = 4
"""Of a decoded pixel."""


class Pictures:
    """Distinct images."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Read the header of each, and decode none."""
        self.sizes: dict[Path, tuple[int, int]] = {}
        """Width and height of those that can be opened."""
        self.faults: list[str] = []
        """One line for each of the others."""
        sources = SourceCache()
        for file in dict.fromkeys(files):
            try:
                self.sizes[file] = sources.get(file).size
            except ImageError as error:
                self.faults.append(str(error))

    @property
    def decoded(self) -> int:
        """Return the bytes of all of them, decoded."""
        return _BYTES * sum(width * height for width, height in self.sizes.values())

    @property
    def largest(self) -> int:
        """Return the bytes of the largest, decoded."""
        return _BYTES * max((width * height for width, height in self.sizes.values()), default=0)
