"""The model families that can be run in process, and what tells them apart."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from transformers import (
    AutoTokenizer,
    BaseImageProcessor,
    InternVLForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLForConditionalGeneration,
)
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from lookless.chat import internvl, qwen, tiny
from lookless.chat.chatml import QWEN_MARKS, ChatML, ImageMarks, Wording
from lookless.chat.template import opening_of, template_of
from lookless.errors import CheckpointError, ConfigError
from lookless.frames import Frame
from lookless.images import Budget, PixelBudget
from lookless.vlm.internvl import InternVLM
from lookless.vlm.qwen import QwenVLM
from lookless.vlm.vlm import VLM


@dataclass(frozen=True)
class Family:
    """What is said here of a model family; docs/families.md shows how to add one."""

    model: type[PreTrainedModel]
    vlm: type[VLM]
    processor: type[BaseImageProcessor]
    wording: Wording
    frame: Frame
    budget: Callable[[Any, dict[str, Any]], Budget]
    """Given the image processor and config.json: what the model is shown by default."""
    marks: ImageMarks = QWEN_MARKS

    def dialect(
        self,
        tokenizer: PreTrainedTokenizerBase,
        processor: BaseImageProcessor,
        config: dict[str, Any],
    ) -> ChatML:
        """Return how to talk to a checkpoint of this family.

        Raises:
            CheckpointError: If the tokenizer lacks a token that the family's prompts need.
        """
        chat = ChatML(
            tokenizer,
            self.wording,
            self.frame,
            self.budget(processor, config),
            self.marks,
            opening_of(tokenizer),
        )
        check_tokens(chat)
        return chat


def _pixels(processor: Any, config: dict[str, Any]) -> Budget:
    size = processor.size
    factor = processor.patch_size * processor.merge_size
    return PixelBudget(size["shortest_edge"], size["longest_edge"], factor)


def _tiles(processor: Any, config: dict[str, Any]) -> Budget:
    side = processor.size["height"]
    vision = config["vision_config"]
    patch = (
        vision["patch_size"][0] if isinstance(vision["patch_size"], list) else vision["patch_size"]
    )
    tokens = int((side // patch * config["downsample_ratio"]) ** 2)
    return internvl.TileBudget(processor.min_patches, processor.max_patches, side, tokens)


FAMILIES: dict[str, Family] = {
    "qwen2_5_vl": Family(
        Qwen2_5_VLForConditionalGeneration,
        QwenVLM,
        Qwen2VLImageProcessorPil,
        qwen.wording(Frame.RESIZED),
        Frame.RESIZED,
        _pixels,
    ),
    "qwen3_vl": Family(
        Qwen3VLForConditionalGeneration,
        QwenVLM,
        Qwen2VLImageProcessorPil,
        qwen.wording(Frame.PERMILLE),
        Frame.PERMILLE,
        _pixels,
    ),
    "internvl": Family(
        InternVLForConditionalGeneration,
        InternVLM,
        GotOcr2ImageProcessorPil,
        qwen.wording(Frame.PERMILLE),
        Frame.PERMILLE,
        _tiles,
        internvl.MARKS,
    ),
    "tiny": Family(
        Qwen3VLForConditionalGeneration,
        QwenVLM,
        Qwen2VLImageProcessorPil,
        tiny.WORDING,
        Frame.PERMILLE,
        _pixels,
    ),
}
"""By `model_type`, and the embedded tiny VLM by `lookless_family`, of config.json."""


def family_of(config: dict[str, Any]) -> Family:
    """Return the family of the checkpoint that has this `config.json`.

    Raises:
        CheckpointError: If it is not known.
    """
    name = config.get("lookless_family", config.get("model_type"))
    if name not in FAMILIES:
        raise CheckpointError(
            f"model family must be one of {', '.join(FAMILIES)}, got {name!r}; "
            "docs/families.md says how one is added"
        )
    return FAMILIES[name]


def check_tokens(chat: ChatML) -> None:
    """Raise if the tokenizer splits a token that prompts are made of.

    Raises:
        CheckpointError: If it does.
    """
    marks = chat.marks
    for token in (marks.start, marks.pad, marks.end, "<|im_start|>", "<|im_end|>"):
        if len(chat.encode(token)) != 1:
            raise CheckpointError(
                f"tokenizer must have {token} as one token, got {len(chat.encode(token))}; "
                "use the tokenizer that belongs to the checkpoint"
            )


class PixelLimits(BaseModel):
    """A budget that differs from the checkpoint's own; None leaves it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_pixels: int | None = Field(None, ge=1)
    max_pixels: int | None = Field(None, ge=1)
    max_tiles: int | None = Field(None, ge=1)
    """Of families that cut images into tiles."""

    def of(self, budget: Budget) -> Budget:
        """Return the budget within these limits.

        Raises:
            ConfigError: If a limit is not of the budget's kind.
        """
        asked = self.model_dump(exclude_none=True)
        wrong = [name for name in asked if not hasattr(budget, name)]
        if wrong:
            raise ConfigError(
                f"{wrong[0]} must be of the model's own kind, got {budget}; leave it out"
            )
        limited: Budget = replace(budget, **asked)  # type: ignore[type-var]
        return limited


NO_LIMITS = PixelLimits()


@dataclass(frozen=True)
class Parts:
    """What a checkpoint folder holds besides its weights."""

    family: Family
    processor: BaseImageProcessor
    chat: ChatML
    context: int | None = None
    """Tokens that the model can take at most, where its configuration says so."""


def load_parts(folder: Path, limits: PixelLimits = NO_LIMITS) -> Parts:
    """Return what a checkpoint folder holds besides its weights.

    Args:
        folder: An ordinary Hugging Face folder of one of `FAMILIES`.
        limits: What the model is shown, if not what its image processor says.

    Raises:
        CheckpointError: If the folder is no checkpoint of a known model family.
        ConfigError: If the limits do not fit the family.
    """
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"checkpoint must be a folder with config.json, got {str(folder)!r}; "
            "name a folder that training saved, such as runs/demo/rgrl/checkpoint (make demo)"
        )
    try:
        config = json.loads((folder / "config.json").read_text())
        family = family_of(config)
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
        tokenizer.chat_template = template_of(folder, tokenizer)
        processor = family.processor.from_pretrained(folder)
    except (OSError, ValueError, StrictDataclassError) as error:
        raise _incomplete(folder, error) from None
    chat = family.dialect(tokenizer, processor, config)
    limited = replace(chat, budget=limits.of(chat.budget))
    context = config.get("text_config", config).get("max_position_embeddings")
    return Parts(family, processor, limited, context)


def _incomplete(folder: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"checkpoint must be complete, got {str(folder)!r}: {' '.join(str(error).split())}; "
        "copy it again, or name another one"
    )


def load_vlm(
    folder: Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    limits: PixelLimits = NO_LIMITS,
) -> VLM:
    """Return the model saved in a checkpoint folder, ready to answer.

    Args:
        folder: As in `load_parts`.
        dtype: Of the weights.
        device: Where they go.
        limits: As in `load_parts`.

    Raises:
        CheckpointError: As in `load_parts`, or if weights are missing.
        ConfigError: As in `load_parts`.
    """
    parts = load_parts(folder, limits)
    loading: Any = parts.family.model.from_pretrained
    try:
        model, report = loading(folder, dtype=dtype, output_loading_info=True)
    except (OSError, ValueError, SafetensorError) as error:
        raise _incomplete(folder, error) from None
    missing = sorted(report["missing_keys"])
    if missing:
        raise CheckpointError(
            f"checkpoint must have all weights, got {str(folder)!r} without {missing[0]}"
            f"{f' and {len(missing) - 1} others' if len(missing) > 1 else ''}; copy it again"
        )
    model.to(device).eval()
    return parts.family.vlm(model, parts.processor, parts.chat, folder)
