"""The tiny VLM: Qwen3-VL's architecture from transformers at 2.6 M parameters."""

import math

import torch
from torch import nn
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

PATCH = 16
MERGE = 2
VIEW_PX = 160
"""Side in pixels of a square view at the largest pixel budget."""
HIDDEN = 128


def tiny_config(vocab_size: int, token_ids: dict[str, int]) -> Qwen3VLConfig:
    """Return the tiny model's configuration.

    Args:
        vocab_size: Number of rows of the embedding.
        token_ids: Ids of `<|image_pad|>`, `<|video_pad|>`, `<|vision_start|>`, `<|vision_end|>`,
            `<|im_end|>` and `<|endoftext|>`.
    """
    text = {
        "vocab_size": vocab_size,
        "hidden_size": HIDDEN,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,  # vLLM's CPU attention takes 64, not 16 or 32
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [12, 10, 10],
            "mrope_interleaved": True,
        },
        "eos_token_id": token_ids["<|im_end|>"],
        "pad_token_id": token_ids["<|endoftext|>"],
    }
    vision = {
        "depth": 6,
        "hidden_size": HIDDEN,
        "intermediate_size": 384,
        "num_heads": 2,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 2,
        "out_hidden_size": HIDDEN,
        "num_position_embeddings": (VIEW_PX // PATCH) ** 2,
        "deepstack_visual_indexes": [],
    }
    config = Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=token_ids["<|image_pad|>"],
        video_token_id=token_ids["<|video_pad|>"],
        vision_start_token_id=token_ids["<|vision_start|>"],
        vision_end_token_id=token_ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    config.lookless_family = "tiny"  # tells `chat.families` which dialect the checkpoint speaks
    return config


def new_tiny_model(config: Qwen3VLConfig, seed: int) -> Qwen3VLForConditionalGeneration:
    """Return an untrained tiny model whose matrices have standard deviation 1/sqrt(fan-in).

    The usual 0.02 is made for wide models; at 128 dimensions it slows learning several times.
    """
    torch.manual_seed(seed)
    model = Qwen3VLForConditionalGeneration(config)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv3d):
            fan_in = math.prod(module.weight.shape[1:])
            nn.init.normal_(module.weight, std=1 / math.sqrt(fan_in))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    # Tied with the output head, so the logits start small.
    nn.init.normal_(model.model.language_model.embed_tokens.weight, std=0.05)
    return model
