"""Whether a box means the same to the model and to us, tried with images whose content is known.

In each image a rectangle is marked, and a smaller one in it. Both are named as a model of that
family names them, and the crops must show the marks' colours. How large images are shown is held
against the checkpoint's own image processor.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from lookless.chat.internvl import TileBudget
from lookless.doctor.finding import Finding, fault, ok, warning
from lookless.doctor.model import Subject
from lookless.episode import LookOutcome
from lookless.frames import Box, Frame, View
from lookless.images import PixelBudget, Source
from lookless.ops import zoom_in

CHECK = "coordinates"
SIZES = ((200, 150), (640, 480), (1500, 400), (300, 1100), (2400, 1800))
"""Width and height of the images in pixels."""
TRAINED = {"qwen2_5_vl": Frame.RESIZED, "qwen3_vl": Frame.PERMILLE, "internvl": Frame.PERMILLE}
"""What models write boxes in, as their authors say, by `model_type`.

Source: the reports of Qwen2.5-VL (arXiv 2502.13923, absolute coordinates) and Qwen3-VL (arXiv
2511.21631, normalised to 0..1000); InternVL's documentation of `<box>`.
"""
ENOUGH = 0.8
"""Share of a crop that the mark must fill; rounding a box to whole numbers costs a few percent."""
_COLOURS = ((230, 40, 40), (30, 60, 230))
"""Of the mark, and of the one in it."""
_NEAR = 60


def check_coordinates(subject: Subject) -> list[Finding]:
    """Return where boxes or the sizes of views go astray."""
    spoken = TRAINED.get(str(subject.config.get("model_type")))
    found = [*_frame(subject, spoken), *_geometry(subject)]
    if found:
        return found
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            source = Source(_drawn(Path(folder), size))
            found += [*_shown(subject, source), *_round_trip(subject, source, spoken)]
    if found:
        return found[:1]  # the others say the same of other sizes
    tokens = sorted(_tokens(subject, size) for size in SIZES)
    return [
        ok(
            CHECK,
            f"boxes in frame {subject.chat.frame} come back as the crops that were meant; views "
            f"of {tokens[0]} to {tokens[-1]} tokens, as the checkpoint's image processor makes "
            "them",
        )
    ]


def _frame(subject: Subject, spoken: Frame | None) -> Iterator[Finding]:
    """Yield where the frame is not that of the model's training, or not that of the prompt."""
    frame, kind = subject.chat.frame, subject.config.get("model_type")
    if spoken is None:
        yield warning(CHECK, f"nothing is known of what {kind} was trained to write boxes in")
    elif frame is not spoken:
        yield fault(
            CHECK,
            f"boxes of {kind} must be in frame {spoken}, which it was trained to write, got "
            f"{frame}; correct its entry in FAMILIES",
        )
    said = [one for one, unit in zoom_in.UNITS.items() if unit in subject.chat.wording.system]
    if said and said != [frame]:
        yield fault(
            CHECK,
            f"prompts must declare boxes in frame {frame}, got {', '.join(said)}; give wording() "
            "the same frame in FAMILIES",
        )


def _geometry(subject: Subject) -> Iterator[Finding]:
    """Yield where image processor and vision tower cut images into other pieces."""
    budget, vision = subject.chat.budget, subject.config["vision_config"]
    if isinstance(budget, TileBudget):
        side = vision.get("image_size", budget.tile_px)
        model, ours = (side[0] if isinstance(side, list) else side), budget.tile_px
    elif isinstance(budget, PixelBudget):
        config: Any = subject.vlm.model.config.vision_config
        model, ours = config.patch_size * config.spatial_merge_size, budget.factor
    else:
        return
    if model != ours:
        yield fault(
            CHECK,
            f"image processor must cut images into squares of {model} pixels as the model does, "
            f"got {ours}; use the preprocessor_config.json that belongs to the checkpoint",
        )


def _shown(subject: Subject, source: Source) -> Iterator[Finding]:
    """Yield where the image processor resizes in another way than we do."""
    chat = subject.chat
    width, height = source.size
    view = source.full_view(chat.budget)
    ours = f"{view.width_px}x{view.height_px} pixels and {chat.visual_tokens(view)} tokens"
    try:
        theirs = _processed(subject, source.pixels(_whole(source)))
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        theirs = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
    if ours != theirs:
        yield fault(
            CHECK,
            f"image processor must show {width}x{height} pixels as {ours}, got {theirs}; use the "
            "preprocessor_config.json that belongs to the checkpoint",
        )


def _processed(subject: Subject, image: Image.Image) -> str:
    """Return the size and the tokens at which the checkpoint's own processor shows an image.

    A canvas of tiles is known by its number of tiles only; its size is taken to be ours.
    """
    chat = subject.chat
    processor: Any = subject.parts.processor
    settings = chat.budget.processor_settings()
    if isinstance(chat.budget, TileBudget):
        inputs = processor([image], crop_to_patches=True, return_tensors="pt", **settings)
        width, height = chat.budget.resized(*image.size)
        tokens = int(inputs["num_patches"][0]) * chat.budget.tile_tokens
    else:
        inputs = processor([image], return_tensors="pt", **settings)
        _, rows, columns = inputs["image_grid_thw"][0].tolist()
        width, height = columns * processor.patch_size, rows * processor.patch_size
        tokens = rows * columns // processor.merge_size**2
    return f"{width}x{height} pixels and {tokens} tokens"


def _round_trip(subject: Subject, source: Source, spoken: Frame | None) -> Iterator[Finding]:
    """Yield where a crop, or a crop of a crop, does not show what was named."""
    chat = subject.chat
    views = [source.full_view(chat.budget)]
    outer, inner = _marks(source.size)
    for mark, colours in ((outer, _COLOURS), (inner, _COLOURS[1:])):
        box = views[-1].from_source(mark, spoken or chat.frame)
        said = {"bbox_2d": [round(v) for v in box.coordinates], "image": len(views) - 1}
        look = zoom_in.validate(said, chat.frame, tuple(views))
        share = 0.0
        if look.outcome is LookOutcome.EXECUTED:
            views.append(source.view(zoom_in.region_of(look, tuple(views)), chat.budget))
            share = _share(source.pixels(views[-1]), colours)
        if share < ENOUGH:
            width, height = source.size
            yield fault(
                CHECK,
                f"crop of {said['bbox_2d']} in image {said['image']} of {width}x{height} pixels "
                f"must show the mark there, got {look.outcome} with {share:.0%} of it; correct "
                "the family's frame in FAMILIES",
            )
            return


def _tokens(subject: Subject, size: tuple[int, int]) -> int:
    return subject.chat.budget.visual_tokens(*subject.chat.budget.resized(*size))


def _whole(source: Source) -> View:
    """Return all of an image at its own size."""
    width, height = source.size
    return View(Box(0, 0, width, height, Frame.SOURCE), width, height)


def _marks(size: tuple[int, int]) -> tuple[Box, Box]:
    """Return the marked rectangle of an image, and the one in it, in whole pixels."""
    outer = _part(Box(0, 0, *size, Frame.SOURCE), (0.55, 0.2, 0.8, 0.45))
    return outer, _part(outer, (0.2, 0.3, 0.7, 0.8))


def _part(box: Box, part: tuple[float, float, float, float]) -> Box:
    left, top = box.left + part[0] * box.width, box.top + part[1] * box.height
    right, bottom = box.left + part[2] * box.width, box.top + part[3] * box.height
    return Box(round(left), round(top), round(right), round(bottom), Frame.SOURCE)


def _drawn(folder: Path, size: tuple[int, int]) -> Path:
    """Return the file of an image with its marks."""
    file = folder / f"{size[0]}x{size[1]}.png"
    image = Image.new("RGB", size, (120, 150, 110))
    draw = ImageDraw.Draw(image)
    for mark, colour in zip(_marks(size), _COLOURS, strict=True):
        left, top, right, bottom = mark.coordinates
        draw.rectangle((left, top, right - 1, bottom - 1), fill=colour)
    image.save(file)
    return file


def _share(image: Image.Image, colours: tuple[tuple[int, int, int], ...]) -> float:
    """Return the share of an image's pixels that have one of some colours."""
    pixels_H_W_3 = np.asarray(image).astype(int)
    near = [np.abs(pixels_H_W_3 - colour).max(-1) < _NEAR for colour in colours]
    return float(np.any(near, axis=0).mean())
