"""What the vision tower makes of images, and tokens with such features among them.

Tensor shapes: N visual tokens of one image, D hidden size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ImageFeatures:
    """What the vision tower makes of one image."""

    tokens_ND: Tensor
    deepstack: tuple[Tensor, ...]
    """Features added to the hidden states of the first text layers, each (N, D); may be empty."""
    grid: tuple[int, ...] = ()
    """Patches in time, height and width, where positions depend on them."""

    @property
    def nbytes(self) -> int:
        """Return what the features take in memory, in bytes."""
        return sum(part.nbytes for part in (self.tokens_ND, *self.deepstack))


@dataclass(frozen=True)
class Segment:
    """Tokens with the features of the images among them, in order."""

    token_ids: Sequence[int]
    images: Sequence[ImageFeatures]
