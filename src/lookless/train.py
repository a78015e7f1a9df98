"""Training runs of a recipe: from its files to a checkpoint, on one process or many."""

import hashlib
from pathlib import Path
from typing import Literal

from lookless.benchmarks.benchmark import Benchmark
from lookless.benchmarks.questions import Selection, read_questions, with_images
from lookless.benchmarks.registry import benchmark
from lookless.demonstrations import Played, read_demonstrations
from lookless.episode import Question
from lookless.errors import ConfigError
from lookless.evaluation.model import fingerprint
from lookless.evaluation.protocol import questions_hash
from lookless.images import SourceCache
from lookless.recipe import Recipe
from lookless.runs import Progress, open_run
from lookless.training.alarms import Alarms
from lookless.training.engine import Engine
from lookless.training.ranks import Ranks
from lookless.training.rollouts import collecting
from lookless.training.scoring import grade_by
from lookless.training.stages import CHECKPOINT, is_finished, rl_stage, sft_stage
from lookless.vlm import load_vlm
from lookless.vlm.families import load_parts
from lookless.vlm.hub import checkpoint_folder

Stage = Literal["sft", "rl"]
FREE = frozenset({"rollouts", "alarms"})
"""Settings that a continued run may change: who makes the rollouts, and what is warned of."""


def run_stage(
    stage: Stage,
    recipe: Recipe,
    out: Path,
    ranks: Ranks,
    progress: Progress,
    cache: Path,
    *,
    resume: bool = False,
) -> Path:
    """Train by SFT or by RL what `out` does not hold yet; return the checkpoint's folder.

    All processes must call it.

    Args:
        stage: Which of the two.
        recipe: The settings; its model is what training starts from.
        out: Folder of the run: a new one or, with `resume`, one that the same recipe began.
        ranks: This process among those that train.
        progress: Shows how far it has come; only the first process's is used.
        cache: Folder for images that come inside tables.
        resume: Whether to continue.

    Raises:
        LooklessError: If settings, data, model or folder do not fit.
        StoppedError: If SIGTERM or SIGINT came; what was done is saved.
    """
    start = checkpoint_folder(recipe.model)
    chat = load_parts(start, recipe.pixels).chat
    sources = SourceCache()
    data = recipe.data
    if stage == "sft":
        file = _given(data.demonstrations, "demonstrations")
        most = recipe.sft.max_context
        shown = Played(chat, read_demonstrations(file), sources, most)
        held_out = None
        if data.held_out is not None:
            held_out = Played(chat, read_demonstrations(data.held_out), sources, most)
        hashes = [_hash(file), data.held_out and _hash(data.held_out)]
    else:
        source = benchmark(data.reader)
        asked = read_all(source, _given(data.questions, "questions"), cache)
        validation = read_all(source, data.validation, cache) if data.validation else []
        hashes = [questions_hash(asked), questions_hash(validation)]
    if ranks.is_first:
        settings = recipe.model_dump(mode="json", exclude={"rl" if stage == "sft" else "sft"})
        identity = {"stage": stage, "model_identity": fingerprint(start), "data_hashes": hashes}
        open_run(out, {**settings, **identity}, resume=resume, free=FREE)
    ranks.wait()
    if is_finished(out):
        return out / CHECKPOINT
    vlm = load_vlm(start, limits=recipe.pixels)
    if stage == "sft":
        engine = Engine(vlm, recipe.engine, ranks)
        sft_stage(out, engine, shown, recipe.sft, recipe.seed, progress, held_out)
        return out / CHECKPOINT
    engine = Engine(vlm, recipe.engine, ranks, with_reference=recipe.rl.kl_weight > 0)
    with collecting(engine, start, sources, recipe.rollouts, recipe.rl, recipe.pixels) as collector:
        rl_stage(
            out, engine, collector, asked, sources, recipe.rl, recipe.seed, progress,
            grade_by(source.grade), Alarms(recipe.alarms), validation,
        )  # fmt: skip
    return out / CHECKPOINT


def read_all(source: Benchmark, data: Path, cache: Path) -> list[Question]:
    """Return all questions of a file or folder, their images as files.

    Raises:
        DataError: If it does not fit, or an image is missing.
    """
    chosen = read_questions(source, data.resolve(), Selection(), is_partial=True)
    return with_images(source, data.resolve(), chosen, cache).questions


def _given(path: Path | None, name: str) -> Path:
    if path is None:
        raise ConfigError(f"data.{name} must be a file or folder, got none; set data.{name}")
    return path


def _hash(file: Path) -> str:
    """Return 12 hex digits that stand for a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:12]
