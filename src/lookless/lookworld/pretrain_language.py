"""Stage 2 of the base weights: the language model learns to say what the vision tower sees.

Perception only: where the target of a question lies and how large its detail is; the answer, where
the overview shows it; the answer from a crop. No tool call and no decision to look is ever trained:
prompts carry one of the three modes' instructions, drawn by chance, and it changes nothing in what
is said.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from lookless.episode import TRAINED_MODES, Mode
from lookless.frames import Box, Frame, View
from lookless.lookworld import questions as q
from lookless.lookworld import speech
from lookless.lookworld.backgrounds import TRAIN_BACKGROUNDS
from lookless.lookworld.pretrain_vision import (
    SOURCE_PX,
    PatchHeads,
    colour_words,
    joined,
    optimizers,
    patch_labels,
    patch_loss,
    save_state,
    schedule,
)  # fmt: skip
from lookless.lookworld.render import render
from lookless.lookworld.scene import COLOURS, Kind, Scene, SceneStyle, sample_scene
from lookless.lookworld.tiny import VIEW_PX
from lookless.runs import Step, append_jsonl, keep_rows
from lookless.vlm import VLM, Segment

ASK_WHAT = "What is it?"
QUESTIONS = 2
OVERVIEW_SHARE = 0.4
"""Share of the questions that are about whole signs."""
CODES_FIRST = 0.3
"""Share of the scenes in which signs with codes, the hardest to read, are asked about first."""
DETAIL_CROPS, OVERVIEW_CROPS = 0.3, 0.2
"""Share of the questions answered from a crop though the overview shows enough."""
LOOK_SIDES = (0.125, 0.2)
"""Range of the smallest side of a crop, in units."""
AT_ONCE = 0.5
"""Share of the answers without a crop that follow the thought in the same turn."""
ANSWER_WEIGHT = 4.0
"""An answer's tokens weigh this much: they are few among those of the thoughts, and hardest."""
PATCH_WEIGHT = 0.3
STREAM = 1000
"""Second number of the random streams' seeds, which is the split's index in `dataset`: no split has
this one, so no lesson is about a scene of theirs."""


@dataclass(frozen=True)
class Lesson:
    """One scene's conversation: tokens, how much each is learned, and the images among them."""

    token_ids: list[int]
    weights: list[float]
    """0 for tokens that are not learned."""
    images: list[Image.Image]
    labels: dict[str, torch.Tensor]
    """What the patches of the images show."""


def crop_view(vlm: VLM, scene: Scene, box: q.Box) -> tuple[View, Image.Image]:
    """Return the view that a look at `box` (units) would give, rendered without the whole scene."""
    left, top, right, bottom = (round(v * SOURCE_PX) for v in box)
    region = (left / SOURCE_PX, top / SOURCE_PX, right / SOURCE_PX, bottom / SOURCE_PX)
    width, height = vlm.chat.budget.resized(right - left, bottom - top)
    view = View(Box(left, top, right, bottom, Frame.SOURCE), width, height)
    pixels = render(scene, SOURCE_PX, region).resize((width, height), Image.Resampling.BICUBIC)
    return view, pixels


def sample_lesson(vlm: VLM, rng: np.random.Generator) -> Lesson:
    """Return a conversation about a random scene."""
    scene = sample_scene(rng, SceneStyle(), TRAIN_BACKGROUNDS)
    while not scene.signs:
        scene = sample_scene(rng, SceneStyle(), TRAIN_BACKGROUNDS)
    if rng.random() < 0.25:
        overview = render(scene, SOURCE_PX).resize((VIEW_PX, VIEW_PX), Image.Resampling.BICUBIC)
    else:
        overview = render(scene, VIEW_PX, oversample=4)
    signs = [scene.signs[k] for k in rng.permutation(len(scene.signs))]
    if rng.random() < CODES_FIRST:
        signs.sort(key=lambda sign: sign.content.kind is not Kind.CODE)
    order = [
        q.overview_question(scene, rng)
        if rng.random() < OVERVIEW_SHARE
        else q.detail_question(signs[number % len(signs)], rng)
        for number in range(QUESTIONS)
    ]
    chat = vlm.chat
    view = View(Box(0, 0, SOURCE_PX, SOURCE_PX, Frame.SOURCE), VIEW_PX, VIEW_PX)
    ids, _ = chat.prompt(view, order[0].text, Mode.ADAPTIVE)
    weights = [0.0] * len(ids)
    images = [overview]
    labels = [patch_labels(scene, (0.0, 0.0, 1.0, 1.0), overview.size)]

    def say(tokens: list[int], weight: float) -> None:
        ids.extend(tokens)
        weights.extend([weight] * len(tokens))

    open_user, open_model = "\n<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"
    for number, question in enumerate(order):
        if number:
            say(chat.encode(open_user + question.text), 0.0)
        say(chat.instruction(TRAINED_MODES[int(rng.integers(len(TRAINED_MODES)))]), 0.0)
        thought = f"<think>{speech.thought(scene, question, VIEW_PX)}</think>\n"
        say(chat.encode(thought), 1.0)
        is_small = question.needs_look(VIEW_PX)
        crops = OVERVIEW_CROPS if question.kind == "overview" else DETAIL_CROPS
        boxed, answer = chat.encode("\\boxed{"), chat.encode(f"{question.answer}}}")
        # What follows a thought is not learned: it would depend on the size of what is asked for.
        if is_small or rng.random() < crops:
            box = speech.look_box(question, float(rng.uniform(*LOOK_SIDES)))
            crop, pixels = crop_view(vlm, scene, speech.jittered(box, rng))
            images.append(pixels)
            region = tuple(v / SOURCE_PX for v in crop.region.coordinates)
            labels.append(
                patch_labels(scene, (region[0], region[1], region[2], region[3]), pixels.size)
            )
            say([chat.end_id, *chat.observation(crop)], 0.0)
        elif rng.random() >= AT_ONCE:
            say([chat.end_id, *chat.encode(f"{open_user}{ASK_WHAT}{open_model}")], 0.0)
        say(boxed, 0.0)
        say([*answer, chat.end_id], ANSWER_WEIGHT)
    return Lesson(ids, weights, images, joined(labels))


class Lessons(IterableDataset[list[Lesson]]):
    """An endless stream of batches, a pure function of `seed` and the step."""

    def __init__(self, vlm: VLM, seed: int, batch: int, first_step: int, steps: int) -> None:
        self.vlm, self.seed, self.batch = vlm, seed, batch
        self.first_step, self.steps = first_step, steps

    def __iter__(self) -> Iterator[list[Lesson]]:
        for step in range(self.first_step, self.steps):
            rng = np.random.default_rng([self.seed, STREAM, step])
            yield [sample_lesson(self.vlm, rng) for _ in range(self.batch)]


def lesson_loss(
    vlm: VLM, heads: PatchHeads | None, lessons: list[Lesson]
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the loss, and accuracies of answers and of other tokens.

    The weighted mean cross-entropy of the learned tokens. With `heads`, PATCH_WEIGHT times the loss
    of what the patches should say comes on top; without, the vision tower gets no gradient.
    """
    with torch.set_grad_enabled(heads is not None):
        features = vlm.image_features([image for lesson in lessons for image in lesson.images])
    rows, start = [], 0
    for lesson in lessons:
        rows.append(Segment(lesson.token_ids, features[start : start + len(lesson.images)]))
        start += len(lesson.images)
    hidden_BTD, mask_BT, _ = vlm.forward(rows)
    width = mask_BT.shape[1]
    ids_BT = torch.zeros(mask_BT.shape, dtype=torch.long)
    weights_BT = torch.zeros(mask_BT.shape)
    for b, lesson in enumerate(lessons):
        ids_BT[b, : len(lesson.token_ids)] = torch.tensor(lesson.token_ids)
        weights_BT[b, : len(lesson.token_ids)] = torch.tensor(lesson.weights)
    target = weights_BT[:, 1:] > 0
    logits = vlm.logits(hidden_BTD[:, : width - 1][target])
    wanted = ids_BT[:, 1:][target]
    weights = weights_BT[:, 1:][target]
    loss = (F.cross_entropy(logits, wanted, reduction="none") * weights).sum() / weights.sum()
    is_right = logits.argmax(-1) == wanted
    # The token after `\boxed{` is the answer's first.
    boxed = vlm.chat.encode("\\boxed{")[0]
    is_answer = (ids_BT[:, :-1] == boxed)[target]
    # The number after a colour tells which sign is meant; the others follow from it.
    words = torch.tensor([vlm.chat.encode(f" {colour}")[0] for colour in COLOURS])
    comma = vlm.chat.encode(", ")[0]
    is_place = torch.isin(ids_BT[:, :-1], words)[target] & (wanted != comma)
    stats = {
        "loss": loss.item(),
        "answer": is_right[is_answer].float().mean().item(),
        "place": is_right[is_place].float().mean().item(),
        "other": is_right[~is_answer].float().mean().item(),
    }
    if heads is not None:
        labels = {k: torch.cat([lesson.labels[k] for lesson in lessons]) for k in lessons[0].labels}
        tokens_ND = torch.cat([f.tokens_ND for f in features])
        patches, patch_stats = patch_loss(heads(tokens_ND, colour_words(vlm)), labels)
        loss = loss + PATCH_WEIGHT * patches
        stats |= {f"patch_{name}": value for name, value in patch_stats.items()}
    return loss, stats


def pretrain_language(
    vlm: VLM,
    heads: PatchHeads | None,
    out: Path,
    name: str,
    steps: int,
    progress: Step,
    batch: int = 16,
    lr: float = 2e-3,
    vision_lr: float = 1e-3,
    seed: int = 0,
) -> None:
    """Train the model in place; log to `out`/`name`.jsonl, resume from `out`/`name`.pt.

    `progress` is told of every step. Without `heads` the vision tower stays as it is, which makes a
    step twice as fast; with them everything is trained.
    """
    text = nn.ModuleList([vlm.model.model.language_model])
    opts = [(opt, lr) for opt in optimizers([text], lr)]
    modules: list[nn.Module] = [vlm.model]
    if heads is not None:
        opts += [(opt, vision_lr) for opt in optimizers([vlm.model.model.visual, heads], vision_lr)]
        modules.append(heads)
    parts: list[nn.Module | torch.optim.Optimizer] = [*modules, *(opt for opt, _ in opts)]
    out.mkdir(parents=True, exist_ok=True)
    state_file, log_file = out / f"{name}.pt", out / f"{name}.jsonl"
    first, mean, seconds = 0, dict[str, float](), 0.0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        first, mean, seconds = state["step"], state["mean"], state["seconds"]
        for part, saved in zip(parts, state["parts"], strict=True):
            part.load_state_dict(saved)
    keep_rows(log_file, lambda row: row["step"] <= first)
    lessons = DataLoader(
        Lessons(vlm, seed, batch, first, steps),
        batch_size=None,
        num_workers=1,
        prefetch_factor=4,
        collate_fn=lambda batch: batch,
    )
    started = time.monotonic() - seconds
    vlm.model.train()
    for step, one in enumerate(lessons, start=first):
        for opt, peak in opts:
            for group in opt.param_groups:
                group["lr"] = peak * group["factor"] * schedule(step, steps)
        with torch.autocast("cpu", torch.bfloat16):
            loss, stats = lesson_loss(vlm, heads, one)
        for opt, _ in opts:
            opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(vlm.model.parameters(), 1.0)
        for opt, _ in opts:
            opt.step()
        for key, value in stats.items():
            mean[key] = 0.98 * mean.get(key, value) + 0.02 * value
        if (step + 1) % 50 == 0 or step + 1 == steps:
            row = {"step": step + 1, "seconds": round(time.monotonic() - started, 1)}
            append_jsonl(log_file, row | {key: round(value, 4) for key, value in mean.items()})
        progress(step + 1, f"answers {mean['answer']:.2f} places {mean['place']:.2f}")
        if (step + 1) % 250 == 0 or step + 1 == steps:
            saved = [part.state_dict() for part in parts]
            seconds = time.monotonic() - started
            save_state(
                state_file, {"step": step + 1, "mean": mean, "seconds": seconds, "parts": saved}
            )
    vlm.model.eval()
