"""The tiny VLM: Qwen3-VL's architecture from transformers at 2.6 M parameters."""

import math

import torch
from torch import nn
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionAttention

PATCH = 16
MERGE = 2
VIEW_PX = 160
"""Side in pixels of a square view at the largest pixel budget."""
HIDDEN = 128


NEIGHBOURS = (((0, 1), (0, -1)), ((1, 0), (-1, 0))) * 2
"""Which neighbour (rows down, columns right) each head of the first vision layers starts at."""


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
    with torch.no_grad():
        visual = model.model.visual
        visual.pos_embed.weight.copy_(_waves(VIEW_PX // PATCH, HIDDEN))
        visual.patch_embed.proj.weight.copy_(_cosines(HIDDEN)[:, :, None] / 2)
        for block, offsets in zip(visual.blocks, NEIGHBOURS, strict=False):
            _look_at(block.attn, offsets)
        for layer in model.model.language_model.layers:
            # The first head of each key starts by attending to what resembles the query.
            attention = layer.self_attn
            pair = attention.num_key_value_groups * attention.head_dim
            for kv, rows in enumerate(attention.k_proj.weight.split(attention.head_dim)):
                attention.q_proj.weight[kv * pair : kv * pair + attention.head_dim] = rows
    # Tied with the output head, so the logits start small.
    nn.init.normal_(model.model.language_model.embed_tokens.weight, std=0.05)
    return model


def _waves(side: int, width: int) -> torch.Tensor:
    """Return the place embeddings (side^2, width) that training starts from: sines of x and of y.

    The usual noise of 0.02 tells the places apart only after they have been learned one by one.
    """
    place = torch.arange(side).float()[:, None]
    angle = place * torch.logspace(0, -1.3, width // 4)
    wave = torch.cat([angle.sin(), angle.cos()], -1)
    rows = wave[:, None].expand(side, side, -1)
    columns = wave[None, :].expand(side, side, -1)
    return torch.cat([rows, columns], -1).reshape(side * side, width)


def _cosines(width: int) -> torch.Tensor:
    """Return the patch filters (width, 3, PATCH, PATCH) that training starts from.

    The lowest spatial frequencies of the brightness and of two colour differences (as in JPEG),
    high ones amplified as they are weak in images. Noise sees little but a patch's mean colour.
    """
    place = (torch.arange(PATCH) + 0.5) / PATCH
    colours = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
    colours = colours / colours.norm(dim=1, keepdim=True)
    # A frequency of a colour difference counts as two and a half of the brightness.
    choices = [
        (math.hypot(u, v) * (1.0 if colour == 0 else 2.5), math.hypot(u, v), colour, u, v)
        for colour in range(3)
        for u in range(PATCH)
        for v in range(PATCH)
    ]
    filters = []
    for _, frequency, colour, u, v in sorted(choices)[:width]:
        wave = torch.outer((math.pi * u * place).cos(), (math.pi * v * place).cos())
        wave = wave / wave.norm() / PATCH * (1 + frequency)
        filters.append(colours[colour][:, None, None] * wave)
    return torch.stack(filters)


def _look_at(
    attention: Qwen3VLVisionAttention, offsets: tuple[tuple[int, int], ...], sharpness: float = 5.0
) -> None:
    """Make each head of a vision layer attend to one neighbour of every patch to begin with.

    Rotary embeddings turn a constant query and key into attention by relative place, so the biases
    alone do it. Letters reach over several patches; finding out where their parts lie is what the
    tower otherwise spends its first thousands of steps on.
    """
    heads = len(offsets)
    width = attention.qkv.bias.numel() // (3 * heads)
    quarter = width // 4
    frequency = 1 / 10000.0 ** (torch.arange(quarter) / quarter)
    bias = torch.zeros(3, heads, 2, 2 * quarter)
    for head, (down, right) in enumerate(offsets):
        phase = torch.cat([frequency * down, frequency * right])
        bias[0, head] = sharpness * torch.stack([phase.cos(), phase.sin()])
        bias[1, head, 0] = sharpness
    attention.qkv.bias.copy_(bias.view(-1))
    attention.qkv.weight[: 2 * heads * width] *= 0.3
