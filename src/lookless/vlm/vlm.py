"""A vision-language model: weights, image processor, and the dialect to talk to it.

Tensor shapes: B rows, T tokens, S tokens in the cache and T together, L packed tokens, P axes of a
position, N visual tokens of one image, D hidden size, V vocabulary.
"""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import BaseImageProcessor, Cache, PreTrainedModel

from lookless.chat.chatml import ChatML
from lookless.vlm import forest_attention
from lookless.vlm.features import ImageFeatures, Segment
from lookless.vlm.forest import Forest

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".index.json")


class VLM(ABC):
    """Weights of one family with their tokenizer and image processor.

    What differs between families is said by subclasses: how images become features, and where
    tokens stand. The text tower is run on embeddings that the features are put into, so that an
    image is encoded once however many rollouts show it.
    """

    axes: int = 1
    """P: numbers that a token's position has."""

    def __init__(
        self,
        model: PreTrainedModel,
        processor: BaseImageProcessor,
        chat: ChatML,
        source: Path | None = None,
    ) -> None:
        """Put together what belongs together.

        Args:
            model: The weights.
            processor: Turns images into pixel values; it resizes nothing.
            chat: How the model is talked to.
            source: The folder that it comes from; what else lies there is saved along.
        """
        self.model = model
        self.processor = processor
        self.chat = chat
        self.source = source
        self.pixel_dtype: torch.dtype | None = None
        """What pixel values are given in; None: the type of the weights."""
        self._bans: dict[torch.device, Tensor] = {}
        if self.packs:
            self._text_config._attn_implementation = forest_attention.NAME

    @property
    def _text_config(self) -> Any:
        return self.model.model.language_model.config

    @property
    def vocabulary(self) -> int:
        """Return V, the number of tokens that have a logit."""
        count: int = self._text_config.vocab_size
        return count

    @property
    def packs(self) -> bool:
        """Return whether rows can be packed."""
        return self.why_not_packed is None

    @property
    def why_not_packed(self) -> str | None:
        """Return what keeps rows from being packed, None if nothing does."""
        config = self._text_config
        kinds = getattr(config, "layer_types", None) or ["full_attention"]
        if set(kinds) != {"full_attention"}:
            return "not every layer attends to all that is before it"
        if config._attn_implementation not in ("sdpa", forest_attention.NAME):
            return f"attention is {config._attn_implementation}, not sdpa"
        return "attention has dropout" if config.attention_dropout else None

    def save(self, folder: Path) -> None:
        """Write an ordinary Hugging Face folder."""
        self.model.save_pretrained(folder)
        self.save_parts(folder)

    def save_parts(self, folder: Path) -> None:
        """Write all of a Hugging Face folder but the weights and their configuration."""
        folder.mkdir(parents=True, exist_ok=True)
        self.chat.tokenizer.save_pretrained(folder)
        self.processor.save_pretrained(folder)
        for file in sorted(self.source.iterdir()) if self.source else ():
            is_new = file.is_file() and not (folder / file.name).exists()
            if is_new and not file.name.endswith(_WEIGHTS):
                shutil.copy(file, folder)

    @property
    def device(self) -> torch.device:
        """Return where the weights lie."""
        device: torch.device = self.model.device
        return device

    @property
    @abstractmethod
    def vision(self) -> tuple[nn.Module, ...]:
        """Return what turns pixels into features, the projection to the text tower included."""

    @abstractmethod
    def image_features(self, images: Sequence[Image.Image]) -> list[ImageFeatures]:
        """Return the features of images that already have their view's size (none is resized)."""

    def positions(self, segment: Segment, start: int) -> tuple[Tensor, int]:
        """Return the positions (P, T) of a segment from `start` on, and the next one."""
        end = start + len(segment.token_ids)
        return torch.arange(start, end).expand(self.axes, -1), end

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
        positions_PBT = torch.zeros((self.axes, len(rows), width), dtype=torch.long)
        ends = []
        for b, row in enumerate(rows):
            length = len(row.token_ids)
            span = slice(width - length, width) if pad_left else slice(0, length)
            ids_BT[b, span] = torch.tensor(list(row.token_ids), dtype=torch.long)
            mask_BT[b, span] = 1
            positions_PBT[:, b, span], end = self.positions(row, starts[b] if starts else 0)
            ends.append(end)
        ids_BT = ids_BT.to(device)
        is_image_BT = (ids_BT == self.chat.image_pad_id) & mask_BT.bool().to(device)
        images = [image for row in rows for image in row.images]
        mask_BS = mask_BT.to(device)
        if past_mask_BS is not None:
            mask_BS = torch.cat([past_mask_BS, mask_BS], dim=1)
        hidden_BTD = self._text(
            positions_PBT.to(device),
            mask_BS,
            cache,
            inputs_embeds=self._embed(ids_BT, images, is_image_BT),
            **self._deepstack(images, is_image_BT),
        )
        return hidden_BTD, mask_BS, ends

    def forward_packed(self, forest: Forest) -> Tensor:
        """Return the hidden states (L, D) of packed rows, each as if it were alone.

        Only where the model `packs`.
        """
        positions: list[Tensor] = []
        ends: list[int] = []
        for node in forest.nodes:
            start = 0 if node.parent is None else ends[node.parent]
            positions_PT, end = self.positions(node.segment, start)
            positions.append(positions_PT)
            ends.append(end)
        ids = [token for node in forest.nodes for token in node.segment.token_ids]
        ids_BT = torch.tensor([ids], device=self.device)
        is_image_BT = ids_BT == self.chat.image_pad_id
        images = [image for node in forest.nodes for image in node.segment.images]
        hidden_BTD = self._text(
            torch.cat(positions, dim=1)[:, None].to(self.device),
            torch.ones(1, 1, 1, 1, dtype=torch.bool, device=self.device),  # the layout says it all
            None,
            inputs_embeds=self._embed(ids_BT, images, is_image_BT),
            layout=forest_attention.Layout(forest.spans, self.device),
            **self._deepstack(images, is_image_BT),
        )
        return hidden_BTD[0]

    def _embed(
        self, ids_BT: Tensor, images: Sequence[ImageFeatures], is_image_BT: Tensor
    ) -> Tensor:
        """Return the embeddings (B, T, D) of tokens, with the features of images among them."""
        embeds_BTD: Tensor = self.model.get_input_embeddings()(ids_BT)
        if not images:
            return embeds_BTD
        features = torch.cat([image.tokens_ND for image in images]).to(embeds_BTD)
        return embeds_BTD.masked_scatter(is_image_BT[..., None], features)

    def advance(self, ids_B: Tensor, ends: Sequence[int], mask_BS: Tensor, cache: Cache) -> Tensor:
        """Append one token to every row of a cache; return the hidden states (B, D).

        Args:
            ids_B: The tokens.
            ends: Their positions.
            mask_BS: Which of all tokens, these included, are real.
            cache: Extended in place.
        """
        ends_B = torch.tensor(list(ends), device=self.device)
        positions_PBT = ends_B[None, :, None].expand(self.axes, -1, -1)
        return self._text(positions_PBT, mask_BS, cache, input_ids=ids_B[:, None])[:, -1]

    def _text(
        self, positions_PBT: Tensor, mask_BS: Tensor, cache: Cache | None, **inputs: Any
    ) -> Tensor:
        """Return the hidden states (B, T, D) of the text tower."""
        out = self.model.model.language_model(
            position_ids=positions_PBT if self.axes > 1 else positions_PBT[0],
            attention_mask=mask_BS,
            past_key_values=cache,
            use_cache=cache is not None,
            **inputs,
        )
        hidden_BTD: Tensor = out.last_hidden_state
        return hidden_BTD

    def _deepstack(self, images: Sequence[ImageFeatures], is_image_BT: Tensor) -> dict[str, Any]:
        """Return what the first text layers are given of the images beside their embeddings."""
        return {}

    def logits(self, hidden_D: Tensor) -> Tensor:
        """Return the next-token logits (..., V) of hidden states (..., D), pad tokens banned."""
        logits: Tensor = self.model.lm_head(hidden_D).float()
        if logits.device not in self._bans:
            ban_V = torch.zeros(logits.shape[-1], device=logits.device)
            ban_V[list(self.chat.banned_ids)] = float("-inf")
            self._bans[logits.device] = ban_V
        return logits + self._bans[logits.device]
