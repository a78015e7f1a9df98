"""A vision-language model: weights, image processor, and the dialect to talk to it.

Tensor shapes: B rows, T tokens, S tokens in the cache and T together, N visual tokens of one image,
D hidden size, V vocabulary.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoTokenizer,
    Cache,
    PreTrainedTokenizerBase,
    Qwen3VLForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from lookless.chat import families
from lookless.chat.chatml import ChatML
from lookless.errors import CheckpointError
from lookless.frames import View
from lookless.picture import Picture


@dataclass(frozen=True)
class ImageFeatures:
    """What the vision tower makes of one image."""

    tokens_ND: Tensor
    deepstack: tuple[Tensor, ...]
    """Features added to the hidden states of the first text layers, each (N, D); may be empty."""
    grid_thw: tuple[int, int, int]
    """Patches in time, height and width."""

    @property
    def nbytes(self) -> int:
        """Return what the features take in memory, in bytes."""
        return sum(part.nbytes for part in (self.tokens_ND, *self.deepstack))


@dataclass(frozen=True)
class Segment:
    """Tokens with the features of the images among them, in order."""

    token_ids: Sequence[int]
    images: Sequence[ImageFeatures]


class VLM:
    """A Qwen-VL-architecture model with its tokenizer and image processor."""

    def __init__(
        self,
        model: Qwen3VLForConditionalGeneration,
        processor: Qwen2VLImageProcessorPil,
        chat: ChatML,
    ) -> None:
        self.model = model
        self.processor = processor
        self.chat = chat

    @classmethod
    def load(cls, folder: Path) -> "VLM":
        """Return the model saved in a checkpoint folder.

        Raises:
            CheckpointError: If the folder is no checkpoint of a known model family.
        """
        if not (folder / "config.json").is_file():
            raise CheckpointError(
                f"checkpoint must be a folder with config.json, got {str(folder)!r}; "
                "name a folder that training saved, such as runs/demo/rgrl/checkpoint (make demo)"
            )
        try:
            family = families.family_of(json.loads((folder / "config.json").read_text()))
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
            processor = Qwen2VLImageProcessorPil.from_pretrained(folder)
            model = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
        except (OSError, ValueError, SafetensorError) as error:
            raise CheckpointError(
                f"checkpoint must be complete, got {str(folder)!r}: {error}; "
                "copy it again, or name another one"
            ) from None
        model.eval()
        return cls(model, processor, family(tokenizer, processor))

    def save(self, folder: Path) -> None:
        """Write an ordinary Hugging Face folder."""
        self.model.save_pretrained(folder)
        self.chat.tokenizer.save_pretrained(folder)
        self.processor.save_pretrained(folder)

    @property
    def device(self) -> torch.device:
        """Return where the weights lie."""
        device: torch.device = self.model.device
        return device

    def image_features(self, images: Sequence[Image.Image]) -> list[ImageFeatures]:
        """Return the features of images that already have their view's size (none is resized)."""
        if not images:
            return []
        inputs = self.processor(list(images), do_resize=False, return_tensors="pt")
        grids = inputs["image_grid_thw"]
        out = self.model.model.get_image_features(
            inputs["pixel_values"].to(self.device, self.model.dtype), grids.to(self.device)
        )
        sizes = [len(tokens) for tokens in out.pooler_output]
        stacks = [
            level.split(sizes) if isinstance(level, Tensor) else level
            for level in out.deepstack_features
        ]
        return [
            ImageFeatures(tokens, tuple(level[k] for level in stacks), tuple(grids[k].tolist()))
            for k, tokens in enumerate(out.pooler_output)
        ]

    def positions(self, segment: Segment, start: int) -> tuple[Tensor, int]:
        """Return the M-RoPE positions (3, T) of a segment from `start` on, and the next one."""
        ids = torch.tensor([list(segment.token_ids)])
        grids = (
            torch.tensor([image.grid_thw for image in segment.images]) if segment.images else None
        )
        positions, delta = self.model.model.get_rope_index(
            ids, mm_token_type_ids=(ids == self.chat.image_pad_id).int(), image_grid_thw=grids
        )
        return positions[:, 0] + start, start + ids.shape[1] + int(delta)

    def forward(
        self,
        rows: Sequence[Segment],
        starts: Sequence[int] | None = None,
        *,
        cache: Cache | None = None,
        past_mask_BS: Tensor | None = None,
        pad_left: bool = False,
    ) -> tuple[Tensor, Tensor, list[int]]:
        """Run the text tower over a batch of rows of unequal length.

        Args:
            rows: What to append; tokens and features.
            starts: First position of each row (0 without a cache).
            cache: Keys and values of what came before; extended in place.
            past_mask_BS: Which of the cached tokens are real, (B, S - T).
            pad_left: Pad shorter rows on the left, so that the last token of every row is the last
                column; else on the right.

        Returns:
            The hidden states (B, T, D), the mask of real tokens so far (B, S), and each row's next
            position.
        """
        width = max(len(row.token_ids) for row in rows)
        device = self.device
        ids_BT = torch.full((len(rows), width), self.chat.end_id, dtype=torch.long)
        mask_BT = torch.zeros((len(rows), width), dtype=torch.long)
        positions_3BT = torch.zeros((3, len(rows), width), dtype=torch.long)
        ends = []
        for b, row in enumerate(rows):
            length = len(row.token_ids)
            span = slice(width - length, width) if pad_left else slice(0, length)
            ids_BT[b, span] = torch.tensor(list(row.token_ids), dtype=torch.long)
            mask_BT[b, span] = 1
            positions_3BT[:, b, span], end = self.positions(row, starts[b] if starts else 0)
            ends.append(end)
        ids_BT = ids_BT.to(device)
        embeds_BTD = self.model.get_input_embeddings()(ids_BT)
        is_image_BT = (ids_BT == self.chat.image_pad_id) & mask_BT.bool().to(device)
        images = [image for row in rows for image in row.images]
        deepstack: list[Tensor] | None = None
        if images:
            features = torch.cat([image.tokens_ND for image in images]).to(embeds_BTD)
            embeds_BTD = embeds_BTD.masked_scatter(is_image_BT[..., None], features)
            levels = len(images[0].deepstack)
            deepstack = [torch.cat([image.deepstack[k] for image in images]) for k in range(levels)]
        mask_BS = mask_BT.to(device)
        if past_mask_BS is not None:
            mask_BS = torch.cat([past_mask_BS, mask_BS], dim=1)
        out = self.model.model.language_model(
            inputs_embeds=embeds_BTD,
            position_ids=positions_3BT.to(device),
            attention_mask=mask_BS,
            past_key_values=cache,
            use_cache=cache is not None,
            visual_pos_masks=is_image_BT if deepstack else None,
            deepstack_visual_embeds=deepstack or None,
        )
        return out.last_hidden_state, mask_BS, ends

    def logits(self, hidden_D: Tensor) -> Tensor:
        """Return the next-token logits (..., V) of hidden states (..., D), pad tokens banned."""
        logits: Tensor = self.model.lm_head(hidden_D).float()
        banned = torch.zeros(logits.shape[-1], device=logits.device)
        banned[list(self.chat.banned_ids)] = float("-inf")
        return logits + banned


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
