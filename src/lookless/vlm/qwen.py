"""Qwen2.5-VL and Qwen3-VL: images on a grid of patches, positions of three axes (M-RoPE)."""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from lookless.vlm.features import ImageFeatures, Segment
from lookless.vlm.vlm import VLM


class QwenVLM(VLM):
    """Either family; Qwen3-VL also feeds features to its first text layers (deepstack)."""

    axes = 3

    @property
    def vision(self) -> tuple[nn.Module, ...]:
        """Return the vision tower, whose last part is the merger."""
        return (self.model.model.visual,)

    def image_features(self, images: Sequence[Image.Image]) -> list[ImageFeatures]:
        """Return the features of images that already have their view's size (none is resized)."""
        if not images:
            return []
        inputs = self.processor(list(images), do_resize=False, return_tensors="pt")
        grids = inputs["image_grid_thw"]
        out = self.model.model.get_image_features(
            inputs["pixel_values"].to(self.device, self.pixel_dtype or self.model.dtype),
            grids.to(self.device),
        )
        sizes = [len(tokens) for tokens in out.pooler_output]
        stacks = [
            level.split(sizes) if isinstance(level, Tensor) else level
            for level in getattr(out, "deepstack_features", None) or ()
        ]
        return [
            ImageFeatures(tokens, tuple(level[k] for level in stacks), tuple(grids[k].tolist()))
            for k, tokens in enumerate(out.pooler_output)
        ]

    def positions(self, segment: Segment, start: int) -> tuple[Tensor, int]:
        """Return the M-RoPE positions (3, T) of a segment from `start` on, and the next one."""
        ids = torch.tensor([list(segment.token_ids)])
        grids = torch.tensor([image.grid for image in segment.images]) if segment.images else None
        positions, delta = self.model.model.get_rope_index(
            ids, mm_token_type_ids=(ids == self.chat.image_pad_id).int(), image_grid_thw=grids
        )
        return positions[:, 0] + start, start + ids.shape[1] + int(delta)

    def _deepstack(self, images: Sequence[ImageFeatures], is_image_BT: Tensor) -> dict[str, Any]:
        levels = len(images[0].deepstack) if images else 0
        if not levels:
            return {}
        stacked = [torch.cat([image.deepstack[k] for image in images]) for k in range(levels)]
        return {"visual_pos_masks": is_image_BT, "deepstack_visual_embeds": stacked}
