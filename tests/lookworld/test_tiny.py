import math

import pytest
import torch
from transformers import Qwen3VLConfig

from lookless.lookworld.tiny import HIDDEN, MERGE, PATCH, VIEW_PX, new_tiny_model
from lookless.vlm import VLM


def config_of(vlm: VLM) -> Qwen3VLConfig:
    assert isinstance(vlm.model.config, Qwen3VLConfig)
    return vlm.model.config


def test_model_has_the_size_that_it_says(vlm: VLM) -> None:
    assert 2.5e6 < sum(p.numel() for p in vlm.model.parameters()) < 2.7e6


def test_largest_view_has_whole_visual_tokens() -> None:
    assert VIEW_PX % (PATCH * MERGE) == 0


def test_seed_decides_the_weights(vlm: VLM) -> None:
    again = new_tiny_model(config_of(vlm), 0).state_dict()
    for name, weight in vlm.model.state_dict().items():
        assert torch.equal(weight, again[name])
    other = new_tiny_model(config_of(vlm), 1)
    assert not torch.equal(other.lm_head.weight, vlm.model.lm_head.weight)


def test_matrices_keep_the_scale_of_what_goes_in(vlm: VLM) -> None:
    weight = vlm.model.model.language_model.layers[0].self_attn.q_proj.weight
    assert weight.std().item() * math.sqrt(HIDDEN) == pytest.approx(1, abs=0.05)


def test_output_head_is_the_embedding(vlm: VLM) -> None:
    assert vlm.model.lm_head.weight is vlm.model.get_input_embeddings().weight
