"""The base weights that ship with the package: the tiny VLM's perception, without any policy."""

import shutil
from importlib import resources
from pathlib import Path

from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from lookless.chat import tiny as wording
from lookless.lookworld.pretrain_language import pretrain_language
from lookless.lookworld.pretrain_vision import pretrain_vision
from lookless.lookworld.tiny import MERGE, PATCH, VIEW_PX, new_tiny_model, tiny_config
from lookless.lookworld.tokenizer import VOCAB_SIZE, train_tokenizer
from lookless.runs import CONFIG_FILE, Progress, open_run
from lookless.vlm import VLM, load_vlm
from lookless.vlm.families import FAMILIES

MIN_VIEW_PX = 130
"""Small crops are enlarged to at least the square of this, which is rounded up to VIEW_PX."""


def base_folder() -> Path:
    """Return the folder of the shipped checkpoint."""
    return Path(str(resources.files("lookless.lookworld"))) / "base"


def load_base() -> VLM:
    """Return the shipped base model."""
    return load_vlm(base_folder())


def new_base(seed: int) -> VLM:
    """Return an untrained tiny VLM with its tokenizer and image processor."""
    tokenizer = train_tokenizer()
    tokenizer.chat_template = wording.TEMPLATE
    ids = tokenizer.get_vocab()
    processor = Qwen2VLImageProcessorPil(
        size={"shortest_edge": MIN_VIEW_PX**2, "longest_edge": VIEW_PX**2},
        patch_size=PATCH,
        merge_size=MERGE,
        temporal_patch_size=2,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    model = new_tiny_model(tiny_config(VOCAB_SIZE, ids), seed)
    family = FAMILIES["tiny"]
    chat = family.dialect(tokenizer, processor, model.config.to_dict())
    return family.vlm(model, processor, chat)


def train_base(
    out: Path,
    progress: Progress,
    seed: int = 0,
    vision_steps: int = 5500,
    language_steps: int = 800,
    joint_steps: int = 2500,
    *,
    resume: bool = False,
) -> None:
    """Train base weights.

    Three stages: the vision tower, patch by patch; the language model on its features; both.
    What ships lies in `out`/base: the checkpoint in half precision, and in its folder `log` the
    settings and each stage's metrics.

    Raises:
        RunError: If `out` exists and may not be continued.
    """
    steps = {"vision": vision_steps, "language": language_steps, "joint": joint_steps}
    open_run(out, {"seed": seed, "steps": steps}, resume=resume)
    vlm = new_base(seed)
    with progress("vision", vision_steps) as step:
        heads = pretrain_vision(vlm, out, vision_steps, step, seed=seed)
    with progress("language", language_steps) as step:
        pretrain_language(vlm, None, out, "language", language_steps, step, seed=seed)
    with progress("joint", joint_steps) as step:
        pretrain_language(vlm, heads, out, "joint", joint_steps, step, seed=seed + 1)
    vlm.model.half()
    vlm.save(out / "base")
    log = out / "base" / "log"
    log.mkdir(exist_ok=True)
    for name in (CONFIG_FILE, *(f"{stage}.jsonl" for stage in steps)):
        shutil.copy(out / name, log)
