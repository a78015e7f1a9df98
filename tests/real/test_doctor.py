"""The doctor on checkpoints of the real families, with their tokenizers and templates."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from lookless.chat import qwen
from lookless.demonstrations import write_demonstrations
from lookless.doctor.coordinates import check_coordinates
from lookless.doctor.finding import Finding, Level
from lookless.doctor.machine import GIB, Machine
from lookless.doctor.model import check_weights, open_subject
from lookless.doctor.plan import sizes_of
from lookless.doctor.prompts import check_prompts
from lookless.doctor.run import examine
from lookless.doctor.versions import installed
from lookless.errors import CheckpointError
from lookless.frames import Frame
from lookless.lookworld.base import base_folder
from lookless.lookworld.dataset import Split, export, questions
from lookless.lookworld.trajectories import demonstrations
from lookless.recipe import Recipe
from lookless.vlm.families import FAMILIES, NO_LIMITS

pytestmark = pytest.mark.real

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "vocab.json",
             "merges.txt", "special_tokens_map.json", "added_tokens.json")  # fmt: skip
OTHER = {"qwen2_5_vl": Frame.PERMILLE, "qwen3_vl": Frame.RESIZED, "internvl": Frame.RESIZED}
HUB_NAMES: dict[str, tuple[tuple[str, str], ...]] = {
    "qwen2_5_vl": (("model.visual.", "visual."), ("model.language_model.", "model.")),
    "qwen3_vl": (),
    "internvl": (
        ("model.language_model.", "language_model.model."),
        ("model.vision_tower.", "vision_tower."),
        ("model.multi_modal_projector.", "multi_modal_projector."),
    ),
}
"""What weights are called on the hub, where that is not what they are called in memory."""


def faults(found: list[Finding]) -> list[str]:
    return [one.message for one in found if one.level is Level.FAULT]


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """Return a copy of the checkpoint that a test may spoil."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "lookworld"
    worlds = list(questions(Split.TRAIN, 6))
    write_demonstrations(
        folder / "demonstrations.jsonl", demonstrations(worlds, export(folder, worlds), 0)
    )
    return folder


def recipe(folder: Path, data: Path, **changes: Any) -> Recipe:
    files = {"demonstrations": data / "demonstrations.jsonl", "questions": data}
    rl = {"steps": 2, "queries": 2}
    settings = {"model": str(folder), "data": {**files, "reader": "lookworld"}, "rl": rl, **changes}
    return Recipe.model_validate(settings)


def test_healthy_checkpoint_has_neither_fault_nor_warning(
    folder: Path, data: Path, tmp_path: Path
) -> None:
    machine = Machine(1, 80 * GIB)
    found = examine(recipe(folder, data), ("sft", "rl"), machine, installed(), tmp_path)
    assert [one for one in found if one.level is not Level.OK] == []


def test_weights_by_their_names_on_the_hub(copy: Path, family: str) -> None:
    file = copy / "model.safetensors"
    weights = load_file(file)
    for ours, theirs in HUB_NAMES[family]:
        weights = {
            theirs + k.removeprefix(ours) if k.startswith(ours) else k: v
            for k, v in weights.items()
        }
    save_file(weights, file)
    subject = open_subject(copy, NO_LIMITS)
    assert [one.level for one in check_weights(subject)] == [Level.OK]
    del weights[min(weights)]
    save_file(weights, file)
    with pytest.raises(CheckpointError, match="checkpoint must have all weights, got "):
        check_weights(subject)


def swap(name: str, monkeypatch: pytest.MonkeyPatch, **more: Any) -> None:
    monkeypatch.setitem(FAMILIES, name, replace(FAMILIES[name], frame=OTHER[name], **more))


def test_swapped_frame(folder: Path, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As consistent as can be: the prompt declares it, too."""
    swap(family, monkeypatch, wording=qwen.wording(OTHER[family]))
    [said] = faults(check_coordinates(open_subject(folder, NO_LIMITS)))
    assert said.startswith(f"boxes of {family} must be in frame ")
    assert f"which it was trained to write, got {OTHER[family]}; " in said


def test_swapped_frame_that_the_prompt_does_not_declare(
    folder: Path, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap(family, monkeypatch)
    said = faults(check_coordinates(open_subject(folder, NO_LIMITS)))
    assert said[1].startswith(f"prompts must declare boxes in frame {OTHER[family]}, got ")


def test_crops_show_a_swapped_frame(
    folder: Path, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a word about frames: what a trained model says is read in another one."""
    subject = open_subject(folder, NO_LIMITS)
    monkeypatch.setattr("lookless.doctor.coordinates._frame", lambda subject, spoken: iter(()))
    parts = replace(subject.parts, chat=replace(subject.chat, frame=OTHER[family]))
    [said] = faults(check_coordinates(replace(subject, parts=parts)))
    assert said.startswith("crop of [")
    assert " must show the mark there, got " in said


def test_wrong_template(copy: Path, data: Path) -> None:
    file = copy / "chat_template.jinja"
    file.write_text(file.read_text().replace("<|im_start|>", "<|im_start|> "))
    [said] = faults(check_prompts(open_subject(copy, NO_LIMITS), recipe(copy, data), ("rl",)))
    assert said.startswith("prompts must be those of the checkpoint's chat template, got others: ")


def test_wrong_tokenizer(copy: Path, family: str) -> None:
    """That of the embedded model, whose tokens are ChatML's too."""
    for name in TOKENIZER:
        (copy / name).unlink(missing_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(base_folder() / name, copy)
    if family == "internvl":
        with pytest.raises(CheckpointError, match="tokenizer must have <img> as one token"):
            open_subject(copy, NO_LIMITS)
        return
    made = Recipe(model=str(copy))
    said = faults(check_prompts(open_subject(copy, NO_LIMITS), made, ("rl",)))
    assert any(one.startswith("<|image_pad|> must be token 151655 as in config.json, got 5")
               for one in said)  # fmt: skip


@pytest.mark.parametrize(
    ("family", "changes", "what"),
    [
        ("qwen2_5_vl", {"do_resize": False}, "image processor must show 200x150 pixels as "),
        ("qwen2_5_vl", {"patch_size": 16}, "image processor must cut images into squares of 28 "),
        ("qwen3_vl", {"merge_size": 1}, "image processor must cut images into squares of 32 "),
        (
            "internvl",
            {"size": {"height": 224, "width": 224}},
            "image processor must cut images into squares of 448 pixels as the model does, got 224",
        ),
    ],
    indirect=["family"],
)
def test_pixel_budget_that_is_not_applied(copy: Path, changes: dict[str, Any], what: str) -> None:
    file = copy / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    [said] = faults(check_coordinates(open_subject(copy, NO_LIMITS)))
    assert said.startswith(what)


def test_context_that_is_too_small(folder: Path, data: Path, tmp_path: Path) -> None:
    short = recipe(folder, data, sft={"max_context": 200}, rl={"max_context": 200})
    found = faults(examine(short, ("sft", "rl"), Machine(), installed(), tmp_path))
    assert [one.partition(",")[0] for one in found] == [
        "sft.max_context must hold the longest demonstration",
        "rl.max_context must hold each prompt and rl.max_turn_tokens",
    ]


IDS = {
    "image_token_id": 151_655, "video_token_id": 151_656,
    "vision_start_token_id": 151_652, "vision_end_token_id": 151_653,
}  # fmt: skip
PUBLISHED: dict[str, tuple[dict[str, Any], int]] = {
    "qwen2_5_vl": (
        {
            "hidden_size": 3584, "intermediate_size": 18_944, "num_hidden_layers": 28,
            "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152_064,
            "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
            "torch_dtype": "bfloat16",
            "vision_config": {
                "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16,
                "out_hidden_size": 3584, "fullatt_block_indexes": [7, 15, 23, 31],
            },
        },
        8_292_166_656,
    ),
    "qwen3_vl": (
        {
            "text_config": {
                "model_type": "qwen3_vl_text", "dtype": "bfloat16", "hidden_size": 4096,
                "intermediate_size": 12_288, "num_hidden_layers": 36, "num_attention_heads": 32,
                "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_936,
                "rope_scaling": {"rope_type": "default", "mrope_section": [24, 20, 20]},
            },
            "vision_config": {
                "depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16,
                "out_hidden_size": 4096, "patch_size": 16, "num_position_embeddings": 2304,
                "deepstack_visual_indexes": [8, 16, 24],
            },
        },
        8_767_123_696,
    ),
}  # fmt: skip
"""Configurations of Qwen2.5-VL-7B and Qwen3-VL-8B, and how many parameters the hub counts."""


@pytest.mark.parametrize("family", PUBLISHED, indirect=True)
def test_parameters_are_as_many_as_published(copy: Path, family: str) -> None:
    config, count = PUBLISHED[family]
    settings = {"model_type": family, "tie_word_embeddings": False, **IDS, **config}
    (copy / "config.json").write_text(json.dumps(settings))
    sizes = sizes_of(open_subject(copy, NO_LIMITS))
    assert sizes.weights == count
    assert (sizes.stored, sizes.patches) == (2, 4)
