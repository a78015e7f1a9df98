"""Training runs of a recipe: from its files to a checkpoint, on one process or many."""

from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import torch

from lookless.benchmarks.benchmark import Benchmark
from lookless.benchmarks.questions import Selection, read_questions, with_images
from lookless.benchmarks.registry import benchmark
from lookless.chat.chatml import ChatML
from lookless.demonstrations import Played, read_demonstrations
from lookless.episode import Question
from lookless.errors import ConfigError
from lookless.evaluation.model import fingerprint
from lookless.evaluation.protocol import content_hash, questions_hash
from lookless.images import SourceCache
from lookless.recipe import Recipe
from lookless.runs import Progress, check_folder, open_run
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
"""Settings that a continued run may change: who makes the rollouts, which then differ by rounding
at most, and what is warned of."""


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

    def early() -> None:
        _check_shares(stage, recipe, ranks)
        if ranks.is_first:
            check_folder(out, resume=resume)

    ranks.together(early)
    start = ranks.together(lambda: checkpoint_folder(recipe.model))
    chat = ranks.together(lambda: load_parts(start, recipe.pixels)).chat
    sources = SourceCache()
    data = recipe.data
    source = benchmark(data.reader)
    asked: list[Question] = []
    validation: list[Question] = []
    shown = held_out = None
    if stage == "sft":
        shown = _demonstrated(chat, data.demonstrations, sources, recipe, ranks, progress)
        if data.held_out is not None:
            held_out = _demonstrated(chat, data.held_out, sources, recipe, ranks, progress)
        hashes = [file and content_hash(file)[:12] for file in (data.demonstrations, data.held_out)]
    else:
        asked = ranks.together(lambda: read_all(source, _given(data.questions, "questions"), cache))
        if data.validation is not None:
            file = data.validation
            validation = ranks.together(lambda: read_all(source, file, cache))
        hashes = [questions_hash(asked), questions_hash(validation)]
    settings = recipe.model_dump(mode="json", exclude={"rl" if stage == "sft" else "sft"})
    identity = {"stage": stage, "model_identity": fingerprint(start), "data_hashes": hashes}

    def opened() -> None:
        if ranks.is_first:
            open_run(out, {**settings, **identity}, resume=resume, free=FREE)

    if ranks.first(is_finished(out)):
        ranks.together(opened)
        return out / CHECKPOINT
    vlm = ranks.together(lambda: load_vlm(start, limits=recipe.pixels))
    torch.manual_seed(recipe.seed)  # of adapters, which begin alike in all processes
    if shown is not None:
        engine = Engine(vlm, recipe.engine, ranks)
        ranks.together(opened)
        sft_stage(out, engine, shown, recipe.sft, recipe.seed, progress, held_out)
        return out / CHECKPOINT
    engine = Engine(vlm, recipe.engine, ranks, with_reference=recipe.rl.kl_weight > 0)
    with collecting(engine, start, sources, recipe.rollouts, recipe.rl, recipe.pixels) as collector:
        ranks.together(opened)
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


def _demonstrated(
    chat: ChatML,
    file: Path | None,
    sources: SourceCache,
    recipe: Recipe,
    ranks: Ranks,
    progress: Progress,
) -> Played:
    """Return demonstrations of which each is known to be playable; processes share the work."""

    def checked() -> Played:
        shown = read_demonstrations(_given(file, "demonstrations"))
        played = Played(chat, shown, sources, recipe.sft.max_context)
        mine = ranks.share(range(len(shown)))
        with progress("checking", len(mine)) if ranks.is_first else nullcontext() as step:
            for done, k in enumerate(mine, 1):
                _ = played[k]
                if step is not None:
                    step(done, "")
        return played

    return ranks.together(checked)


def _check_shares(stage: Stage, recipe: Recipe, ranks: Ranks) -> None:
    name, count = (
        ("sft.batch", recipe.sft.batch) if stage == "sft" else ("rl.queries", recipe.rl.queries)
    )
    if count < ranks.world:
        raise ConfigError(
            f"{name} must be at least one for each of {ranks.world} processes, got {count}; "
            "raise it, or start fewer"
        )


def _given(path: Path | None, name: str) -> Path:
    if path is None:
        raise ConfigError(f"data.{name} must be a file or folder, got none; set data.{name}")
    return path
