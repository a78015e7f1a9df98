"""Untrained checkpoints of the real architectures, at any size.

They run through everything that a real checkpoint runs through: pipelines are tried with them
before weights are at hand, and tests are made of them.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken
from torch import nn
from transformers import (
    AutoConfig,
    AutoTokenizer,
    BaseImageProcessor,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from lookless.chat.template import template_of
from lookless.errors import CheckpointError, ConfigError
from lookless.vlm.families import FAMILIES
from lookless.vlm.vlm import VLM

HEAD_DIM = 64
"""Of the text tower's attention; vLLM's CPU kernels take 64, not 16 or 32."""
INTERNVL_TOKENS = (
    "<img>", "</img>", "<IMG_CONTEXT>", "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>",
    "<video>",
)  # fmt: skip
"""What InternVL adds to Qwen2.5's tokenizer."""
INTERNVL_NAMES: dict[str, str | AddedToken] = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
"""By which its processor knows them."""
INTERNVL_TEMPLATE = (
    "{%- for message in messages -%}{{ '<|im_start|>' + message.role + '\n' }}"
    "{%- if message.content is string -%}{{ message.content }}{%- else -%}"
    "{%- for part in message.content -%}"
    "{%- if part.type == 'text' -%}{{ part.text }}{%- else -%}{{ '<IMG_CONTEXT>\n' }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}{{ '<|im_end|>\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)
"""Writes what the template of InternVL 3 (in its transformers form) writes."""


@dataclass(frozen=True)
class Size:
    """How large an untrained model is."""

    hidden: int = 128
    """Of the text tower; a multiple of 64."""
    layers: int = 2
    vision_hidden: int = 128
    """A multiple of 64."""
    vision_layers: int = 2
    min_pixels: int = 64 * 64
    max_pixels: int = 256 * 256
    """Of a view; InternVL's tiles are 448 pixels a side whatever this says."""

    def __post_init__(self) -> None:
        for name in ("hidden", "vision_hidden"):
            if getattr(self, name) % HEAD_DIM or getattr(self, name) < HEAD_DIM:
                raise ConfigError(
                    f"{name} must be a multiple of {HEAD_DIM}, got {getattr(self, name)}; change it"
                )


def fresh_vlm(family: str, tokenizer: PreTrainedTokenizerBase, size: Size, seed: int = 0) -> VLM:
    """Return an untrained model of a family.

    Args:
        family: One of `qwen2_5_vl`, `qwen3_vl`, `internvl`.
        tokenizer: Qwen's own of that generation (Qwen2.5's for InternVL), with a chat template.
        size: How large.
        seed: Of the weights.

    Raises:
        ConfigError: If there is no such family.
        CheckpointError: If the tokenizer is another family's.
    """
    if family not in _CONFIGS:
        raise ConfigError(f"family must be one of {', '.join(_CONFIGS)}, got {family!r}; use one")
    if family == "internvl":
        tokenizer.add_tokens(list(INTERNVL_TOKENS), special_tokens=True)
        tokenizer._set_model_specific_special_tokens(INTERNVL_NAMES)
        tokenizer.chat_template = INTERNVL_TEMPLATE
    ids = tokenizer.get_vocab()
    config = AutoConfig.for_model(family, **_CONFIGS[family](size, ids))
    torch.manual_seed(seed)
    made = FAMILIES[family]
    build: Any = made.model
    model: PreTrainedModel = build(config)
    scale_to_fan_in(model)
    processor = _processor(family, size)
    return made.vlm(model, processor, made.dialect(tokenizer, processor, config.to_dict()))


def fresh_checkpoint(folder: Path, family: str, tokenizer: Path, size: Size, seed: int = 0) -> VLM:
    """Write an untrained checkpoint as an ordinary Hugging Face folder, and return its model.

    Args:
        folder: Where to write.
        family: As in `fresh_vlm`.
        tokenizer: Folder of a tokenizer with its chat template.
        size: As in `fresh_vlm`.
        seed: As in `fresh_vlm`.

    Raises:
        ConfigError: As `fresh_vlm`.
        CheckpointError: As `fresh_vlm`, or if there is no tokenizer.
    """
    try:
        found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tokenizer)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"tokenizer must be a folder with tokenizer.json, got {str(tokenizer)!r}: "
            f"{' '.join(str(error).split())[:200]}; name that of a checkpoint"
        ) from None
    found.chat_template = template_of(tokenizer, found)
    vlm = fresh_vlm(family, found, size, seed)
    vlm.save(folder)
    return vlm


def scale_to_fan_in(model: nn.Module) -> None:
    """Give every matrix the standard deviation 1/sqrt(fan-in), and every bias 0.

    The usual 0.02 is made for wide models; at 128 dimensions it slows learning several times.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d):
            fan_in = math.prod(module.weight.shape[1:])
            nn.init.normal_(module.weight, std=1 / math.sqrt(fan_in))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _text(size: Size, ids: dict[str, int]) -> dict[str, Any]:
    heads = size.hidden // HEAD_DIM
    return {
        "vocab_size": -(-len(ids) // 128) * 128,
        "hidden_size": size.hidden,
        "intermediate_size": 3 * size.hidden,
        "num_hidden_layers": size.layers,
        "num_attention_heads": heads,
        "num_key_value_heads": max(heads // 4, 1),
        "max_position_embeddings": 32_768,
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
    }


def _rope(section: list[int], **more: Any) -> dict[str, Any]:
    return {
        "rope_type": "default",
        "rope_theta": 1_000_000.0,
        "mrope_section": section,
        **more,
    }


def _qwen_ids(ids: dict[str, int]) -> dict[str, int]:
    return {
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
    }


def _qwen2_5(size: Size, ids: dict[str, int]) -> dict[str, Any]:
    return {
        "text_config": _text(size, ids) | {"rope_parameters": _rope([8, 12, 12])},
        "vision_config": {
            "depth": size.vision_layers,
            "hidden_size": size.vision_hidden,
            "intermediate_size": 3 * size.vision_hidden,
            "num_heads": size.vision_hidden // HEAD_DIM,
            "out_hidden_size": size.hidden,
            "fullatt_block_indexes": [size.vision_layers - 1],
        },
        "tie_word_embeddings": True,
        **_qwen_ids(ids),
    }


def _qwen3(size: Size, ids: dict[str, int]) -> dict[str, Any]:
    # The position embeddings are a square that is resized to each image's grid.
    side = math.isqrt(size.max_pixels) // 16
    return {
        "text_config": _text(size, ids)
        | {"head_dim": HEAD_DIM, "rope_parameters": _rope([12, 10, 10], mrope_interleaved=True)},
        "vision_config": {
            "depth": size.vision_layers,
            "hidden_size": size.vision_hidden,
            "intermediate_size": 3 * size.vision_hidden,
            "num_heads": size.vision_hidden // HEAD_DIM,
            "out_hidden_size": size.hidden,
            "num_position_embeddings": side**2,
            "deepstack_visual_indexes": list(range(size.vision_layers))[: size.layers][:2],
        },
        "tie_word_embeddings": True,
        **_qwen_ids(ids),
    }


def _internvl(size: Size, ids: dict[str, int]) -> dict[str, Any]:
    return {
        "text_config": _text(size, ids) | {"model_type": "qwen2"},
        "vision_config": {
            "hidden_size": size.vision_hidden,
            "num_hidden_layers": size.vision_layers,
            "num_attention_heads": size.vision_hidden // HEAD_DIM,
            "intermediate_size": 3 * size.vision_hidden,
            "use_mean_pooling": True,
        },
        "image_token_id": ids["<IMG_CONTEXT>"],
        "tie_word_embeddings": True,
    }


_CONFIGS = {"qwen2_5_vl": _qwen2_5, "qwen3_vl": _qwen3, "internvl": _internvl}


def _processor(family: str, size: Size) -> BaseImageProcessor:
    build: Any = FAMILIES[family].processor
    if family == "internvl":
        made: BaseImageProcessor = build(
            size={"height": 448, "width": 448}, max_patches=4, crop_to_patches=True
        )
        return made
    half = [0.5] * 3
    limits = {"shortest_edge": size.min_pixels, "longest_edge": size.max_pixels}
    own = (
        {"patch_size": 16, "image_mean": half, "image_std": half}
        if family == "qwen3_vl"
        else {"patch_size": 14}
    )
    made = build(size=limits, merge_size=2, temporal_patch_size=2, **own)
    return made


def describe(vlm: VLM) -> str:
    """Return in one line what a model is: family, parameters, budget."""
    count = sum(parameter.numel() for parameter in vlm.model.parameters())
    kind = json.loads(vlm.model.config.to_json_string()).get("model_type")
    return f"{kind}, {count / 1e6:.1f} M parameters, {vlm.chat.budget}"
