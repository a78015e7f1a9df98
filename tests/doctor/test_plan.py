"""Plans against sums by hand, and against what a training step really took."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from doctor.conftest import MakeRecipe
from lookless.doctor.demonstrations import examine_demonstrations
from lookless.doctor.machine import GIB, Machine
from lookless.doctor.model import Subject, open_subject
from lookless.doctor.plan import Load, Plan, Sizes, device_plan, host_plan, sizes_of, vllm_rollouts
from lookless.lookworld.base import base_folder, load_base
from lookless.recipe import Recipe
from lookless.vlm.families import FAMILIES, NO_LIMITS, load_parts

SIZES = Sizes(
    weights=1_000_000, vision=200_000, root=300_000, largest=150_000, adapters=1000, layers=5,
    hidden=10, outputs=100, vocabulary=50, kept=40, vision_layers=2, vision_hidden=8,
    vision_outputs=30, patches=4, stored=2,
)  # fmt: skip
LOAD = Load(rows=8, longest=100, learned=0.5, seen=0.2, pictures=10, view=25)
ALONE, FOUR = Machine(1, 80 * GIB), Machine(4, 80 * GIB)


def parts(plan: Plan) -> dict[str, float]:
    return {part.name: part.bytes for part in plan.parts}


def test_shapes_of_the_embedded_model(subject: Subject) -> None:
    sizes = sizes_of(subject)
    model = load_base().model
    assert sizes.weights == sum(p.numel() for p in model.parameters()) == 2_605_184
    assert sizes.vision == sum(p.numel() for p in model.model.visual.parameters())
    assert sizes.root == 704 * 128 + 128  # tied embeddings, and the last norm
    assert sizes.layer * 4 + sizes.root + sizes.vision == sizes.weights
    assert sizes.outputs == 256 + 2 * 128 + 128 + 2 * 384 + 128
    assert sizes.kept == 4 * 2 * 2 * 64
    assert (sizes.patches, sizes.stored, sizes.vision_layers) == (4, 2, 6)


def test_full_training_alone(recipe: MakeRecipe) -> None:
    found = parts(device_plan("sft", SIZES, recipe(), LOAD, ALONE))
    assert found["weights"] == 4e6
    assert found["gradients"] == 4 * 800_000  # the vision tower is frozen
    assert found["AdamW's moments"] == 8 * 800_000
    assert found["logits"] == 16 * 400 * 50  # half of 8 rows of 100 tokens
    assert "gathered layers" not in found
    seen = parts(device_plan("sft", SIZES, recipe(engine={"train_vision": True}), LOAD, ALONE))
    assert seen["gradients"] == 4e6


def test_full_training_on_four_gpus(recipe: MakeRecipe) -> None:
    made = recipe(engine={"dtype": "bfloat16"}, rl={"kl_weight": 0.1})
    found = parts(device_plan("rl", SIZES, made, LOAD, FOUR))
    assert found["weights"] == 4 * 800_000 / 4 + 2 * 200_000  # the frozen tower is whole
    assert found["gradients"] == 800_000
    assert found["the model that KL refers to"] == 4 * (800_000 / 4 + 200_000)
    assert found["the whole model before it is sharded"] == 8e6
    layer = 100_000
    assert found["gathered layers"] == 2 * (2 * 300_000 + 2 * layer) + 2 * 300_000 + 6 * layer
    assert found["a copy for rollouts"] == 2e6


def test_adapters_alone_have_gradients(recipe: MakeRecipe) -> None:
    made = recipe(engine={"lora": {"rank": 8}}, rl={"kl_weight": 0.1})
    found = parts(device_plan("rl", SIZES, made, LOAD, ALONE))
    assert found["weights"] == 4 * 1_008_000
    assert found["gradients"] == 4 * 8000
    assert "the model that KL refers to" not in found  # it is the model without adapters


def test_checkpointing_and_smaller_batches_take_less(recipe: MakeRecipe) -> None:
    def activations(**engine: Any) -> float:
        return parts(device_plan("sft", SIZES, recipe(engine=engine), LOAD, ALONE))["activations"]

    assert activations(checkpointing=True) < activations() / 2
    assert activations(micro_batch_tokens=400) == activations() / 2
    assert activations(micro_batch_tokens=1) == activations() / 8  # one row at least


def test_vllm_beside_training(recipe: MakeRecipe) -> None:
    vllm = {"memory": 0.25, "max_context": 4096}
    made = recipe(rollouts={"engine": "vllm", "vllm": vllm}, engine={"dtype": "bfloat16"})
    plan = device_plan("rl", SIZES, made, LOAD, FOUR)
    assert parts(plan)["weights that are handed over"] == 6 * 150_000  # one after the other
    assert parts(plan)["vLLM"] == 20 * GIB
    assert plan.at("rollouts")[0].name == "vLLM"
    room, count = vllm_rollouts(SIZES, made, FOUR)
    assert room == 18 * GIB - 2e6
    assert count == room / (2 * 40 * 4096)
    spread = recipe(rollouts={"engine": "vllm", "vllm": vllm | {"gpus": 2}})
    found = parts(device_plan("rl", SIZES, spread, LOAD, FOUR))
    assert found["weights that are handed over"] == 4e6  # all at once


def test_machine_beside_its_gpus(recipe: MakeRecipe) -> None:
    workers = {"workers": {"count": 2}}
    found = parts(host_plan(SIZES, recipe(rollouts=workers), replace(LOAD, decoded=100), FOUR))
    assert found["the model as it is read"] == 16e6
    assert found["decoded images"] == 400
    assert found["weights for the workers"] == 4e6


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an untrained checkpoint of 47 M parameters with the embedded model's tokenizer."""
    folder = tmp_path_factory.mktemp("large")
    config = AutoConfig.from_pretrained(base_folder())
    text = {
        "hidden_size": 640, "num_hidden_layers": 8, "intermediate_size": 1920,
        "num_attention_heads": 10, "num_key_value_heads": 2, "vocab_size": 8000,
    }  # fmt: skip
    vision = {
        "hidden_size": 256, "intermediate_size": 768, "depth": 4, "num_heads": 4,
        "out_hidden_size": 640,
    }  # fmt: skip
    for part, changes in ((config.text_config, text), (config.vision_config, vision)):
        for name, value in changes.items():
            setattr(part, name, value)
    config.dtype = torch.float32
    parts = load_parts(base_folder())
    build: Any = FAMILIES["tiny"].model
    parts.family.vlm(build(config), parts.processor, parts.chat).save(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "engine",
    [
        {"micro_batch_tokens": 1500},
        {"micro_batch_tokens": 1500, "checkpointing": True},
        {"micro_batch_tokens": 1500, "train_vision": True},
        {"micro_batch_tokens": 1500, "lora": {"rank": 16}},
        {"micro_batch_tokens": 1500, "dtype": "bfloat16"},
    ],
    ids=lambda engine: next(iter(engine.keys() - {"micro_batch_tokens"}), "plain"),
)
def test_plan_is_near_what_a_step_takes(
    large: Path, data: Path, recipe: MakeRecipe, engine: dict[str, Any]
) -> None:
    """Peak memory of two steps of SFT on a CPU, in a process of its own, with all libraries."""
    rows = (data / "demonstrations.jsonl").read_text().splitlines()
    copies = []
    for j, row in enumerate(map(json.loads, rows)):
        for k in range(4):  # each with an image of its own: equal ones would be computed once
            image = data / f"copy-{j}-{k}.jpg"
            shutil.copy(data / row["image"], image)
            copies.append(row | {"id": f"{j}-{k}", "image": image.name})
    file = data / "demonstrations.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in copies))
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("peak.py")), str(data), str(large),
         json.dumps(engine)],
        capture_output=True, text=True, timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    measured = int(done.stdout.split()[-1])
    planned = _planned(recipe(engine=engine, sft={"batch": 12}), large, file)
    assert 0.7 < planned / measured < 1.4, (planned / GIB, measured / GIB)


def _planned(recipe: Recipe, folder: Path, file: Path) -> float:
    subject = open_subject(folder, NO_LIMITS)
    load = examine_demonstrations("", file, subject, recipe, 1).load
    assert load is not None
    return device_plan("sft", sizes_of(subject), recipe, load, Machine()).bytes
