import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lookless.doctor.finding import Level
from lookless.doctor.model import check_weights, open_subject
from lookless.errors import CheckpointError
from lookless.vlm.families import NO_LIMITS

Weights = dict[str, torch.Tensor]


def said(folder: Path) -> str:
    """Return the one line that a checkpoint is refused with."""
    with pytest.raises(CheckpointError) as caught:
        check_weights(open_subject(folder, NO_LIMITS))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rewritten(folder: Path, change: Callable[[Weights], Weights]) -> None:
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file)


@pytest.fixture
def sharded(checkpoint: Path) -> Path:
    """Return the checkpoint in two shards."""
    weights = load_file(checkpoint / "model.safetensors")
    (checkpoint / "model.safetensors").unlink()
    listed: dict[str, str] = {}
    for k in range(2):
        name = f"model-0000{k + 1}-of-00002.safetensors"
        part = {one: weights[one] for one in sorted(weights)[k::2]}
        save_file(part, checkpoint / name)
        listed |= dict.fromkeys(part, name)
    index = {"metadata": {}, "weight_map": listed}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    return checkpoint


def test_complete_checkpoint(checkpoint: Path) -> None:
    [one] = check_weights(open_subject(checkpoint, NO_LIMITS))
    assert one.level is Level.OK
    assert one.message.startswith("qwen3_vl, 2.6 M parameters, 16900 to 25600 pixels in squares")


def test_complete_shards(sharded: Path) -> None:
    [one] = check_weights(open_subject(sharded, NO_LIMITS))
    assert one.level is Level.OK
    assert "127 weights are there" in one.message


def test_missing_shard(sharded: Path) -> None:
    (sharded / "model-00002-of-00002.safetensors").unlink()
    assert said(sharded) == (
        f"checkpoint must have all its shards, got '{sharded}' without "
        "model-00002-of-00002.safetensors; copy it again"
    )


def test_shard_that_was_cut_off(sharded: Path) -> None:
    shard = sharded / "model-00001-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1000])
    assert said(sharded).startswith(f"weights must be a whole safetensors file, got '{shard}': ")


def test_index_that_lists_nothing(sharded: Path) -> None:
    (sharded / "model.safetensors.index.json").write_text("{}")
    assert said(sharded).startswith("model.safetensors.index.json must list the weights, got ")


def test_no_weights(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    assert said(checkpoint).startswith("weights must be model.safetensors, or shards with ")


def test_weight_that_is_missing(checkpoint: Path) -> None:
    name = "model.language_model.layers.1.mlp.up_proj.weight"
    rewritten(checkpoint, lambda weights: {k: v for k, v in weights.items() if k != name})
    assert said(checkpoint) == (
        f"checkpoint must have all weights, got '{checkpoint}' without {name}; copy it again"
    )


def test_weight_of_another_shape(checkpoint: Path) -> None:
    name = "model.visual.pos_embed.weight"
    rewritten(checkpoint, lambda weights: weights | {name: torch.zeros(64, 128)})
    assert said(checkpoint).startswith(
        f"{name} must have the shape (100, 128) of config.json, got (64, 128) in "
    )


def test_weights_of_no_use(checkpoint: Path) -> None:
    rewritten(checkpoint, lambda weights: weights | {"head.bias": torch.zeros(2)})
    found = check_weights(open_subject(checkpoint, NO_LIMITS))
    assert [one.level for one in found] == [Level.WARNING, Level.OK]
    assert found[0].message == "weights head.bias are of no use to this model"


@pytest.mark.parametrize(
    ("files", "what"),
    [
        (["config.json"], "checkpoint must be a folder with config.json, got "),
        (["tokenizer.json", "tokenizer_config.json"], "tokenizer must have <|vision_start|> as "),
        (["preprocessor_config.json"], "checkpoint must be complete, got "),
    ],
)
def test_files_that_are_missing(checkpoint: Path, files: list[str], what: str) -> None:
    for file in files:
        (checkpoint / file).unlink()
    assert said(checkpoint).startswith(what)


def test_family_that_is_not_known(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    config |= {"model_type": "llava", "lookless_family": "llava"}
    (checkpoint / "config.json").write_text(json.dumps(config))
    assert said(checkpoint).startswith("model family must be one of qwen2_5_vl, qwen3_vl, ")


def test_config_that_cannot_be_built(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    config["text_config"]["num_hidden_layers"] = "four"
    (checkpoint / "config.json").write_text(json.dumps(config))
    line = said(checkpoint)
    assert line.startswith("checkpoint must be complete, got ")
    assert "num_hidden_layers" in line


def test_config_that_makes_no_sense(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    config["text_config"]["num_key_value_heads"] = 0
    (checkpoint / "config.json").write_text(json.dumps(config))
    assert said(checkpoint).startswith("config.json must describe a model that can be built, got ")
