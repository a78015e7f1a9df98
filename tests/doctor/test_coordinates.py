"""Faults of what boxes mean and how large images are shown: silent ones, all of them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from doctor.conftest import only_fault
from lookless.chat import qwen
from lookless.doctor.coordinates import check_coordinates
from lookless.doctor.finding import Finding, Level
from lookless.doctor.model import Subject, open_subject
from lookless.episode import Look
from lookless.frames import Box, Frame, View
from lookless.ops import zoom_in
from lookless.vlm.families import FAMILIES, NO_LIMITS, PixelLimits


def found(folder: Path, limits: PixelLimits = NO_LIMITS) -> list[Finding]:
    return check_coordinates(open_subject(folder, limits))


def with_processor(folder: Path, **changes: object) -> None:
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_healthy(subject: Subject) -> None:
    [one] = check_coordinates(subject)
    assert one.level is Level.OK
    assert one.message == (
        "boxes in frame permille come back as the crops that were meant; views of 18 to 20 tokens, "
        "as the checkpoint's image processor makes them"
    )


def test_other_pixel_limits_are_applied(checkpoint: Path) -> None:
    [one] = found(checkpoint, PixelLimits(min_pixels=3000, max_pixels=9000))
    assert one.level is Level.OK
    assert "views of 5 to 6 tokens" in one.message


def test_swapped_frame(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    swapped = replace(FAMILIES["tiny"], frame=Frame.RESIZED)
    monkeypatch.setitem(FAMILIES, "tiny", swapped)
    assert only_fault(found(checkpoint)) == (
        "boxes of qwen3_vl must be in frame permille, which it was trained to write, got resized; "
        "correct its entry in FAMILIES"
    )


def test_prompt_that_declares_another_frame(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = replace(FAMILIES["tiny"], wording=qwen.wording(Frame.RESIZED))
    monkeypatch.setitem(FAMILIES, "tiny", wrong)
    assert only_fault(found(checkpoint)) == (
        "prompts must declare boxes in frame permille, got resized; give wording() the same frame "
        "in FAMILIES"
    )


def test_crops_of_something_else(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if boxes were read as y before x."""
    real = zoom_in.region_of

    def transposed(look: Look, views: tuple[View, ...]) -> Box:
        assert look.box is not None
        left, top, right, bottom = look.box.coordinates
        return real(replace(look, box=Box(top, left, bottom, right, look.box.frame)), views)

    monkeypatch.setattr(zoom_in, "region_of", transposed)
    line = only_fault(check_coordinates(subject))
    assert line.startswith("crop of [550, 200, 800, 453] in image 0 of 200x150 pixels must show ")
    assert "got executed with 0% of it" in line


def test_crops_of_crops_of_something_else(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if a box on a crop were taken for one on the whole image."""
    real = zoom_in.region_of

    def whole(look: Look, views: tuple[View, ...]) -> Box:
        return real(replace(look, image=0), views)

    monkeypatch.setattr(zoom_in, "region_of", whole)
    line = only_fault(check_coordinates(subject))
    assert "in image 1 of 200x150 pixels must show the mark there" in line


def test_pixel_budget_that_is_not_applied(checkpoint: Path) -> None:
    """An image processor that leaves images as they are."""
    with_processor(checkpoint, do_resize=False)
    line = only_fault(found(checkpoint))
    assert line.startswith(
        "image processor must show 200x150 pixels as 192x128 pixels and 24 tokens, got "
    ) or line.startswith("image processor must show 200x150 pixels as ")
    assert line.endswith("; use the preprocessor_config.json that belongs to the checkpoint")


def test_other_patches_than_the_model(checkpoint: Path) -> None:
    with_processor(checkpoint, patch_size=14)
    assert only_fault(found(checkpoint)) == (
        "image processor must cut images into squares of 32 pixels as the model does, got 28; use "
        "the preprocessor_config.json that belongs to the checkpoint"
    )


def test_frame_of_which_nothing_is_known(checkpoint: Path, subject: Subject) -> None:
    unknown = replace(subject, config=subject.config | {"model_type": "new_vl"})
    [one] = check_coordinates(unknown)
    assert one.level is Level.WARNING
    assert one.message == "nothing is known of what new_vl was trained to write boxes in"
