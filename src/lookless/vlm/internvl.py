"""InternVL 3 in its transformers form: images cut into tiles, plain positions."""

from collections.abc import Sequence
from typing import Any

from PIL import Image
from torch import nn

from lookless.vlm.features import ImageFeatures
from lookless.vlm.vlm import VLM


class InternVLM(VLM):
    """A view is a canvas of tiles, each encoded by itself, with a thumbnail if it has several."""

    @property
    def vision(self) -> tuple[nn.Module, ...]:
        """Return the vision tower and the projection behind it."""
        return self.model.model.vision_tower, self.model.model.multi_modal_projector

    def image_features(self, images: Sequence[Image.Image]) -> list[ImageFeatures]:
        """Return the features of images that already are canvases of whole tiles."""
        if not images:
            return []
        processor: Any = self.processor
        inputs = processor(list(images), crop_to_patches=True, return_tensors="pt")
        pixels = inputs["pixel_values"].to(self.device, self.pixel_dtype or self.model.dtype)
        out = self.model.model.get_image_features(pixels)
        tiles = out.pooler_output.split([int(count) for count in inputs["num_patches"]])
        return [ImageFeatures(part.flatten(0, 1), ()) for part in tiles]
