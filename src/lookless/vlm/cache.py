"""Features of pictures, each computed once."""

from collections.abc import Sequence

import torch

from lookless.frames import View
from lookless.picture import Picture
from lookless.vlm.features import ImageFeatures
from lookless.vlm.vlm import VLM


class FeatureCache:
    """Features of pictures, each computed once; right while the vision tower does not change."""

    def __init__(self, vlm: VLM, max_bytes: int = 2**29) -> None:
        """Start empty.

        Args:
            vlm: Computes the features.
            max_bytes: Of the features kept between calls; the oldest leave first.
        """
        self.vlm = vlm
        self.max_bytes = max_bytes
        self._bytes = 0
        self._features: dict[tuple[str, View], ImageFeatures] = {}

    @torch.no_grad()
    def encode(self, pictures: Sequence[Picture], batch: int = 64) -> list[ImageFeatures]:
        """Return the features of pictures, without a graph; only new ones are computed."""
        distinct = {picture.key: picture for picture in pictures}
        new = [picture for key, picture in distinct.items() if key not in self._features]
        for start in range(0, len(new), batch):
            part = new[start : start + batch]
            encoded = self.vlm.image_features([picture.pixels for picture in part])
            for picture, features in zip(part, encoded, strict=True):
                self._features[picture.key] = features
                self._bytes += features.nbytes
        found = [self._features[picture.key] for picture in pictures]
        while self._bytes > self.max_bytes:
            self._bytes -= self._features.pop(next(iter(self._features))).nbytes
        return found
