"""Stage 1 of the base weights: the vision tower learns to see, supervised patch by patch.

A language model's loss reaches the vision tower through a few answer tokens per image; here every
patch says what sign it lies on, where that sign is and what it shows. The heads are thrown away
afterwards.
"""

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from lookless.lookworld import questions as q
from lookless.lookworld import speech
from lookless.lookworld.backgrounds import TRAIN_BACKGROUNDS
from lookless.lookworld.render import render
from lookless.lookworld.scene import (
    ARROWS,
    BARS,
    COLOURS,
    COUNTS,
    DIGITS,
    GRADED_STYLE,
    LETTERS,
    SHAPES,
    SIDES,
    Content,
    Kind,
    Scene,
    SceneStyle,
    sample_scene,
)  # fmt: skip
from lookless.lookworld.tiny import HIDDEN, MERGE, PATCH, VIEW_PX
from lookless.runs import Step, append_jsonl, keep_rows
from lookless.vlm import VLM

KINDS = list(Kind)
GLYPHS = (*SHAPES, *ARROWS, *LETTERS, *COUNTS, *SIDES, *BARS)
GLYPH_OFFSET = {
    Kind.MARK: 0, Kind.ARROW: 5, Kind.LETTER: 9, Kind.CODE: 9,
    Kind.DOTS: 17, Kind.PAIR: 22, Kind.CHART: 24,
}  # fmt: skip
STEPS = 1000 // speech.STEP
CLASSES = {
    "colour": len(COLOURS), "kind": len(KINDS), "glyph": len(GLYPHS), "digit": len(DIGITS),
    "left": STEPS + 1, "top": STEPS + 1, "right": STEPS + 1, "bottom": STEPS + 1,
    "x": STEPS + 1, "y": STEPS + 1, "size": len(speech.SIZES),
}  # fmt: skip
"""What a patch says of the sign it lies on, and how many classes that has: its colour, the kind and
value of its content, its box, its content's centre, and the size of the detail."""
GRID = VIEW_PX // PATCH
READABLE_PX = 8.0
"""Contents whose detail is smaller than this in the view have no label for their value."""
SOURCE_PX = 1024


def glyph_label(content: Content) -> tuple[int, int]:
    """Return (index into GLYPHS, index into DIGITS or -100) of a content's value."""
    table = {
        Kind.MARK: SHAPES, Kind.ARROW: ARROWS, Kind.LETTER: LETTERS, Kind.CODE: LETTERS,
        Kind.DOTS: COUNTS, Kind.PAIR: SIDES, Kind.CHART: BARS,
    }[content.kind]  # fmt: skip
    value = content.value[0] if content.kind is Kind.CODE else content.value
    digit = DIGITS.index(content.value[1]) if content.kind is Kind.CODE else -100
    return GLYPH_OFFSET[content.kind] + table.index(value), digit


def sample_view(rng: np.random.Generator) -> tuple[Scene, q.Box, Image.Image]:
    """Return (scene, region, view): half overviews, half crops around some content."""
    style = GRADED_STYLE if rng.random() < 0.25 else SceneStyle()
    scene = sample_scene(rng, style, TRAIN_BACKGROUNDS)
    if not scene.signs or rng.random() < 0.5:
        region = (0.0, 0.0, 1.0, 1.0)
        return scene, region, render(scene, VIEW_PX, oversample=4)
    sign = scene.signs[int(rng.integers(len(scene.signs)))]
    content = sign.content
    side = min(speech.look_side(content.size) * math.exp(rng.uniform(-0.2, 0.4)), 1.0)
    slack = max((side - content.size) / 2, 0) * 0.9
    x, y = (c + rng.uniform(-1, 1) * slack for c in (content.x, content.y))
    region = speech.square_around(x, y, side)
    crop = render(scene, SOURCE_PX, region)
    return scene, region, crop.resize((VIEW_PX, VIEW_PX), Image.Resampling.BICUBIC)


Labels = dict[str, np.ndarray]
"""Per patch, patches in the order of the visual tokens that they are merged into, four to a token:
`inside` (P,) float, and one class (P,) int for each other head, -100 for none."""


def patch_labels(scene: Scene, region: q.Box, size_px: tuple[int, int]) -> Labels:
    """Return what each patch of a view of `region`, `size_px` (width, height) large, should say.

    Places are those of the whole view in the steps that boxes are spoken in, so that the language
    model only has to copy what a visual token says.
    """
    width, height = size_px
    columns, rows = width // PATCH, height // PATCH
    labels: Labels = {name: np.full(columns * rows, -100, np.int64) for name in CLASSES}
    labels["inside"] = np.zeros(columns * rows, np.float32)
    px, py = (
        a.ravel()
        for a in np.meshgrid((np.arange(columns) + 0.5) * PATCH, (np.arange(rows) + 0.5) * PATCH)
    )
    left, top, right, bottom = region
    scale_x, scale_y = width / (right - left), height / (bottom - top)

    def in_view(box: q.Box) -> q.Box:
        x0, y0, x1, y1 = box
        return (
            (x0 - left) * scale_x,
            (y0 - top) * scale_y,
            (x1 - left) * scale_x,
            (y1 - top) * scale_y,
        )

    def patch_at(x: float, y: float) -> int:
        column, row = (
            int(min(max(v, 0), end - 1) // PATCH) for v, end in ((x, width), (y, height))
        )
        return row * columns + column

    for sign in scene.signs:
        x0, y0, x1, y1 = in_view(sign.corners)
        if min(x1, width) - max(x0, 0) < 4 or min(y1, height) - max(y0, 0) < 4:
            continue
        hit = (px > x0) & (px < x1) & (py > y0) & (py < y1)
        hit[patch_at((x0 + x1) / 2, (y0 + y1) / 2)] = True
        labels["inside"][hit] = 1
        labels["colour"][hit] = list(COLOURS).index(sign.colour)
        spoken = speech.rounded((x0 / width, y0 / height, x1 / width, y1 / height))
        for name, value in zip(("left", "top", "right", "bottom"), spoken, strict=True):
            labels[name][hit] = round(value * STEPS)
        content = sign.content
        cx0, cy0, cx1, cy1 = in_view(content.corners)
        if cx0 < -1 or cy0 < -1 or cx1 > width + 1 or cy1 > height + 1:
            continue
        cx, cy = (cx0 + cx1) / 2, (cy0 + cy1) / 2
        labels["x"][hit] = round(min(max(cx / width, 0), 1) * STEPS)
        labels["y"][hit] = round(min(max(cy / height, 0), 1) * STEPS)
        detail_px = content.detail * scale_x
        labels["size"][hit] = speech.SIZES.index(int(speech.spoken_size(detail_px)))
        if detail_px >= READABLE_PX:
            # Only patches that show the content: what is seen must be told where it is seen.
            near = (px > cx0 - 4) & (px < cx1 + 4) & (py > cy0 - 4) & (py < cy1 + 4)
            near[patch_at(cx, cy)] = True
            labels["kind"][near] = KINDS.index(content.kind)
            labels["glyph"][near], labels["digit"][near] = glyph_label(content)
    grid = np.arange(columns * rows).reshape(rows // MERGE, MERGE, columns // MERGE, MERGE)
    order = grid.transpose(0, 2, 1, 3).ravel()
    return {name: array[order] for name, array in labels.items()}


def joined(labels: Sequence[Labels]) -> dict[str, Tensor]:
    """Return the labels of several views one after the other."""
    return {
        name: torch.from_numpy(np.concatenate([one[name] for one in labels])) for name in labels[0]
    }


def patchify(image_BHWC: np.ndarray) -> Tensor:
    """Return (B * P, 3 * 2 * 16 * 16) pixel values in Qwen-VL's order, scaled to -1..1."""
    pixels = torch.from_numpy(image_BHWC).permute(0, 3, 1, 2).float() / 127.5 - 1
    b, c, h, w = pixels.shape
    gh, gw = h // PATCH, w // PATCH
    x = pixels.view(b, c, gh // MERGE, MERGE, PATCH, gw // MERGE, MERGE, PATCH)
    x = x.permute(0, 2, 5, 3, 6, 1, 4, 7)  # B, rows, cols, in-row, in-col, C, PATCH, PATCH
    x = x.unsqueeze(6).expand(-1, -1, -1, -1, -1, -1, 2, -1, -1)
    return x.reshape(b * gh * gw, c * 2 * PATCH * PATCH)


class Views(IterableDataset[tuple[np.ndarray, dict[str, Tensor]]]):
    """An endless stream of batches (images, labels), a pure function of `seed` and the step."""

    def __init__(self, seed: int, batch: int, first_step: int, steps: int) -> None:
        self.seed, self.batch, self.first_step, self.steps = seed, batch, first_step, steps

    def __iter__(self) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
        for step in range(self.first_step, self.steps):
            rng = np.random.default_rng([self.seed, step])
            images, labels = [], []
            for _ in range(self.batch):
                scene, region, view = sample_view(rng)
                images.append(np.asarray(view))
                labels.append(patch_labels(scene, region, (VIEW_PX, VIEW_PX)))
            yield np.stack(images), joined(labels)


def colour_words(vlm: VLM) -> Tensor:
    """Return the language model's embeddings (8, HIDDEN) of the colours' names."""
    ids = [vlm.chat.encode(f" {colour}") for colour in COLOURS]
    assert all(len(one) == 1 for one in ids)
    words_CD: Tensor = vlm.model.model.language_model.embed_tokens.weight[[one[0] for one in ids]]
    return words_CD


class PatchHeads(nn.Module):
    """Linear heads: each merged visual token speaks for its four patches.

    Colours have no head of their own: a visual token must resemble the embedding of its colour's
    name. Whether a sign is the one asked for is then a matter of likeness, which attention finds
    at once; without, the language model named any sign's place, for thousands of steps.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sizes = {"inside": 1} | {k: n for k, n in CLASSES.items() if k != "colour"}
        self.linear = nn.Linear(HIDDEN, MERGE * MERGE * sum(self.sizes.values()))

    def forward(self, tokens_ND: Tensor, words_CD: Tensor) -> dict[str, Tensor]:
        """Return each head's output (P, size) for the patches of N visual tokens, P = 4 N.

        Args:
            tokens_ND: The tower's output.
            words_CD: As from `colour_words`.
        """
        out = self.linear(tokens_ND).view(len(tokens_ND) * MERGE * MERGE, -1)
        outputs = dict(zip(self.sizes, out.split(list(self.sizes.values()), -1), strict=True))
        outputs["colour"] = (tokens_ND @ words_CD.T).repeat_interleave(MERGE * MERGE, 0)
        return outputs


def patch_loss(
    out: dict[str, Tensor], labels: dict[str, Tensor]
) -> tuple[Tensor, dict[str, float]]:
    """Return the summed loss and each head's accuracy."""
    total = F.binary_cross_entropy_with_logits(out["inside"].squeeze(-1), labels["inside"])
    stats = {}
    for name in CLASSES:
        logits, target = out[name], labels[name]
        known = target >= 0
        if known.any():
            weight = 1.0 if name == "glyph" else 0.5 if name in ("colour", "kind", "digit") else 0.3
            total = total + weight * F.cross_entropy(logits[known], target[known])
            stats[name] = (logits[known].argmax(-1) == target[known]).float().mean().item()
    stats["loss"] = total.item()
    return total, stats


def optimizers(modules: list[nn.Module], lr: float) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices inside the network and AdamW for the rest.

    The patch filters, 1536 weights each, get a tenth of the learning rate: every step moves each
    weight by about it, and their sum would change beyond recognition. A group's `factor` says so.
    """
    params = {p for m in modules for p in m.parameters() if p.requires_grad}
    named = [(n, p) for m in modules for n, p in m.named_parameters() if p in params]
    matrix = [p for n, p in named if p.ndim == 2 and "embed" not in n and n != "linear.weight"]
    ids = {id(p) for p in matrix}
    rest = list({id(p): p for _, p in named if id(p) not in ids}.values())
    filters = [p for p in rest if p.ndim == 5]
    others = [p for p in rest if p.ndim != 5]
    groups = [{"params": others, "factor": 1.0}]
    if filters:
        groups.append({"params": filters, "factor": 0.1})
    return [
        torch.optim.Muon(
            [{"params": matrix, "factor": 1.0}],
            lr=lr,
            weight_decay=0.01,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(groups, lr=lr, weight_decay=0.01, betas=(0.9, 0.98)),
    ]


def schedule(step: int, steps: int, warmup: int = 100, decay: float = 0.4) -> float:
    """Return the learning-rate factor: warm-up, constant, linear to 0 over the last `decay`."""
    return min((step + 1) / warmup, 1.0, max((steps - step) / (decay * steps), 0.0))


def save_state(file: Path, state: dict[str, Any]) -> None:
    """Write what a stage resumes from, as a whole or not at all."""
    part = file.with_suffix(".part")
    torch.save(state, part)
    part.replace(file)


def pretrain_vision(
    vlm: VLM,
    out: Path,
    steps: int,
    progress: Step,
    batch: int = 24,
    lr: float = 3e-3,
    seed: int = 0,
) -> PatchHeads:
    """Train the vision tower in place and return the heads.

    Logs to `out`/vision.jsonl, resumes from `out`/vision.pt; `progress` is told of every step.
    """
    tower, heads = vlm.model.model.visual, PatchHeads()
    words_CD = colour_words(vlm).detach()
    opts = optimizers([tower, heads], lr)
    grid_thw = torch.tensor([[1, GRID, GRID]] * batch)
    out.mkdir(parents=True, exist_ok=True)
    state_file, log_file = out / "vision.pt", out / "vision.jsonl"
    first, mean, seconds = 0, dict[str, float](), 0.0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        first, mean, seconds = state["step"], state["mean"], state["seconds"]
        for part, saved in zip((tower, heads, *opts), state["parts"], strict=True):
            part.load_state_dict(saved)
    keep_rows(log_file, lambda row: row["step"] <= first)
    views = DataLoader(
        Views(seed, batch, first, steps), batch_size=None, num_workers=1, prefetch_factor=4
    )
    started = time.monotonic() - seconds
    for step, (images, labels) in enumerate(views, start=first):
        for opt in opts:
            for group in opt.param_groups:
                group["lr"] = lr * group["factor"] * schedule(step, steps)
        with torch.autocast("cpu", torch.bfloat16):
            tokens = tower(patchify(np.asarray(images)), grid_thw=grid_thw).pooler_output
        loss, stats = patch_loss(heads(tokens.float(), words_CD), labels)
        for opt in opts:
            opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([*tower.parameters(), *heads.parameters()], 1.0)
        for opt in opts:
            opt.step()
        for name, value in stats.items():
            mean[name] = 0.98 * mean.get(name, value) + 0.02 * value
        if (step + 1) % 100 == 0 or step + 1 == steps:
            row = {"step": step + 1, "seconds": round(time.monotonic() - started, 1)}
            append_jsonl(log_file, row | {name: round(value, 4) for name, value in mean.items()})
        progress(step + 1, f"values {mean.get('glyph', 0.0):.2f} places {mean['left']:.2f}")
        if (step + 1) % 500 == 0 or step + 1 == steps:
            parts = [part.state_dict() for part in (tower, heads, *opts)]
            seconds = time.monotonic() - started
            save_state(
                state_file, {"step": step + 1, "mean": mean, "seconds": seconds, "parts": parts}
            )
    return heads
