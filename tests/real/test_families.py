"""Each family against its own chat template and transformers' own forward pass."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import AutoConfig, AutoTokenizer

from lookless.chat.template import template_mismatch
from lookless.episode import TRAINED_MODES, Mode
from lookless.errors import CheckpointError, ConfigError
from lookless.frames import Box, Frame, View
from lookless.vlm import VLM, load_vlm
from lookless.vlm.families import PixelLimits
from lookless.vlm.features import Segment
from lookless.vlm.forest import grow

pytestmark = pytest.mark.real


def test_prompts_are_those_of_the_chat_template(vlm: VLM) -> None:
    assert template_mismatch(vlm.chat) is None


QUESTIONS = st.text(max_size=40) | st.sampled_from(
    ["What?", "What? ", "A.\nB.", "12", "\n\nx", "...", "é", "a\n", "What is it?!\n\n", "(A) x (B)"]
)


@settings(max_examples=60, deadline=None)
@given(question=QUESTIONS, mode=st.sampled_from(TRAINED_MODES))
def test_any_question_is_tokenised_as_within_the_whole_text(
    vlm: VLM, question: str, mode: Mode
) -> None:
    """Wherever tokens run over from the question into what follows it."""
    chat = vlm.chat
    view = View(Box(0, 0, 99, 80, Frame.SOURCE), *chat.budget.resized(99, 80))
    prefix, rest = chat.prompt(view, question, mode)
    shared = [tuple(chat.prompt(view, question, other)[0]) for other in TRAINED_MODES]
    assert len(set(shared)) == 1
    image = chat.image(view)
    start = prefix.index(image[-1]) + 1
    behind = chat.tokenizer.encode(
        f"{chat.marks.after}{question.strip()}\n{chat.wording.modes[mode]}",
        add_special_tokens=False,
        split_special_tokens=True,
    )
    assert [*prefix[start:], *rest][: len(behind)] == behind


@torch.no_grad()
def test_features_and_logits_are_those_of_the_whole_model(vlm: VLM) -> None:
    """Our pieces against one call of the model with processed images of two sizes."""
    chat, model = vlm.chat, vlm.model
    sizes = [chat.budget.resized(*size) for size in ((640, 480), (300, 900))]
    images = [Image.effect_noise(size, 90).convert("RGB") for size in sizes]
    views = [View(Box(0, 0, *size, Frame.SOURCE), *size) for size in sizes]
    prefix, rest = chat.prompt(views[0], "What is it?", Mode.ADAPTIVE)
    ids = [*prefix, *rest, *chat.encode("Hm."), chat.end_id, *chat.observation(views[1])]
    hidden_BTD, _, _ = vlm.forward([Segment(ids, vlm.image_features(images))])
    ours = model.lm_head(hidden_BTD)
    processor: Any = vlm.processor
    if chat.marks.pad == "<IMG_CONTEXT>":
        inputs = processor(images, crop_to_patches=True, return_tensors="pt")
        inputs.pop("num_patches")
    else:
        inputs = processor(images, do_resize=False, return_tensors="pt")
        is_image = (torch.tensor([ids]) == chat.image_pad_id).int()
        inputs["mm_token_type_ids"] = is_image
    theirs = model(input_ids=torch.tensor([ids]), **inputs).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_packed_rows_are_what_each_is_alone(vlm: VLM) -> None:
    """Rows that share image and question, one of which sees a second image."""
    chat = vlm.chat
    sizes = [chat.budget.resized(*size) for size in ((640, 480), (300, 900))]
    images = [Image.effect_noise(size, 90).convert("RGB") for size in sizes]
    views = [View(Box(0, 0, *size, Frame.SOURCE), *size) for size in sizes]
    overview, crop = vlm.image_features(images)
    rows = []
    for mode in TRAINED_MODES:
        prefix, rest = chat.prompt(views[0], "What is it? " * 9, mode)
        rows += [Segment([*prefix, *rest, *chat.encode(said)], [overview]) for said in ("A", "It")]
    seen = [*rows[0].token_ids, chat.end_id, *chat.observation(views[1]), *chat.encode("Red.")]
    rows.append(Segment(seen, [overview, crop]))
    assert vlm.packs
    forest = grow(rows, chat.image_pad_id)
    assert len(forest) < sum(len(row.token_ids) for row in rows) / 2
    packed_LD = vlm.forward_packed(forest)
    for row, columns in zip(rows, forest.columns, strict=True):
        [alone_TD], _, _ = vlm.forward([row])
        torch.testing.assert_close(packed_LD[columns], alone_TD, rtol=1e-3, atol=1e-4)


def test_tokens_for_pixels_are_banned(vlm: VLM) -> None:
    banned = {vlm.chat.decode([token]) for token in vlm.chat.banned_ids}
    marks = vlm.chat.marks
    assert {marks.start, marks.pad, marks.end, "<|im_start|>"} <= banned


def test_saved_folder_is_an_ordinary_one(vlm: VLM, folder: Path, tmp_path: Path) -> None:
    (folder / "LICENSE").write_text("terms")
    vlm.save(tmp_path / "again")
    assert (tmp_path / "again" / "LICENSE").read_text() == "terms"
    again = load_vlm(tmp_path / "again")
    for name, weight in vlm.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], weight), name
    AutoTokenizer.from_pretrained(tmp_path / "again")
    AutoConfig.from_pretrained(tmp_path / "again")


def test_pixel_limits_apply(folder: Path, family: str) -> None:
    limits = PixelLimits(max_tiles=2) if family == "internvl" else PixelLimits(max_pixels=128 * 128)
    chat = load_vlm(folder, limits=limits).chat
    usual = load_vlm(folder).chat
    size, larger = chat.budget.resized(2000, 2000), usual.budget.resized(2000, 2000)
    assert chat.budget.visual_tokens(*size) < usual.budget.visual_tokens(*larger)
    wrong = PixelLimits(max_pixels=9999) if family == "internvl" else PixelLimits(max_tiles=2)
    with pytest.raises(ConfigError, match="must be of the model's own kind"):
        load_vlm(folder, limits=wrong)


@pytest.mark.parametrize("fault", ["weights", "tokenizer", "processor"])
def test_incomplete_folder_is_refused(folder: Path, tmp_path: Path, fault: str) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    if fault == "weights":
        (broken / "model.safetensors").write_bytes(b"\0" * 100)
    elif fault == "tokenizer":
        (broken / "tokenizer.json").unlink()
        (broken / "tokenizer_config.json").unlink()
    else:
        (broken / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"must (be|have)") as caught:
        load_vlm(broken)
    assert "\n" not in str(caught.value)


def test_template_that_differs_is_said(vlm: VLM) -> None:
    tokenizer = vlm.chat.tokenizer
    before = tokenizer.chat_template
    try:
        tokenizer.chat_template = str(before).replace("<|im_start|>", "<|im_start|> ")
        assert "prompt: " in (template_mismatch(vlm.chat) or "")
        tokenizer.chat_template = None
        assert template_mismatch(vlm.chat) == "the checkpoint has no chat template"
    finally:
        tokenizer.chat_template = before


def test_thinking_template_opens_the_turn_with_a_thought(folder: Path, tmp_path: Path) -> None:
    """As in Qwen3-VL's Thinking checkpoints."""
    thinking = tmp_path / "thinking"
    shutil.copytree(folder, thinking)
    template = load_vlm(folder).chat.tokenizer.chat_template
    assert isinstance(template, str)
    opened = template.replace("assistant\n", "assistant\n<think>\n")
    opened = opened.replace("assistant\\n'", "assistant\\n<think>\\n'")
    assert opened != template
    (thinking / "chat_template.jinja").write_text(opened)
    config = json.loads((thinking / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (thinking / "tokenizer_config.json").write_text(json.dumps(config))
    chat = load_vlm(thinking).chat
    assert chat.opening == "<think>\n"
    assert template_mismatch(chat) is None
