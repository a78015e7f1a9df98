"""SFT and RL from settings to a checkpoint, each in a folder that survives being killed.

The folder gets metrics.jsonl and tensorboard/ with a row each step, rollouts.jsonl with some groups
of RL, checkpoints/ while it is under way, and in the end checkpoint/, an ordinary Hugging Face
folder, with trained.json beside it.
"""

import logging
import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from lookless.demonstrations import Played
from lookless.episode import Mode, Question, Rollout
from lookless.images import SourceCache
from lookless.runs import Progress, Step, append_jsonl, keep_rows, write_json
from lookless.training.alarms import Alarm, Alarms
from lookless.training.checkpoints import Checkpoints
from lookless.training.collector import Collector
from lookless.training.engine import Engine
from lookless.training.loop import steps_done
from lookless.training.ranks import Ranks
from lookless.training.records import group_record
from lookless.training.rl import rl
from lookless.training.rl_config import RlConfig
from lookless.training.scoring import Grade, ScoredGroup
from lookless.training.sft import SftConfig, held_out_loss, sft

LOG = logging.getLogger(__name__)
CHECKPOINT = "checkpoint"
METRICS, ROLLOUTS, ALARMS = "metrics.jsonl", "rollouts.jsonl", "alarms.jsonl"
VALIDATION, TRAINED = "validation.jsonl", "trained.json"
MEASURED_AT_ONCE = 96
"""Validation questions under way at once in each process."""
SHOWN_GROUPS = 2
"""Groups of each step that are written to rollouts.jsonl."""
_PART = "reward/part/"


def is_finished(folder: Path) -> bool:
    """Return whether a stage has ended and left its checkpoint."""
    return (folder / CHECKPOINT / "config.json").exists()


def sft_stage(
    folder: Path,
    engine: Engine,
    shown: Played,
    config: SftConfig,
    seed: int,
    progress: Progress,
    held_out: Played | None = None,
) -> None:
    """Train on demonstrations, from where `folder` was left; all processes must call it.

    Args:
        folder: Of this stage.
        engine: The model to train.
        shown: What it learns from.
        config: Settings.
        seed: Of the order of demonstrations.
        progress: Shows how far it has come.
        held_out: What it only measures itself on; the best checkpoint is exported then.

    Raises:
        LooklessError: As `sft`.
        StoppedError: As `sft`.
    """
    checkpoints = Checkpoints(folder / "checkpoints", engine.config.keep)
    with _recording(folder, engine.ranks, checkpoints, progress, "SFT",
                    config.steps(len(shown))) as recorder:  # fmt: skip

        def log(metrics: dict[str, float]) -> None:
            recorder.write(metrics, f"loss {metrics['loss']:.3f}")
            if not math.isfinite(metrics["loss"] + metrics["grad_norm"]):
                LOG.warning(
                    "step %d: loss and gradient must be finite, got %g and %g, of which nothing is "
                    "learned; lower lr if it happens again",
                    metrics["step"], metrics["loss"], metrics["grad_norm"],
                )  # fmt: skip

        def score() -> float:
            assert held_out is not None
            loss = held_out_loss(engine, held_out, held_out.source)
            recorder.measured(loss=loss)
            return -loss

        sft(
            engine, shown, shown.source, config, seed, checkpoints, log,
            None if held_out is None else score,
        )  # fmt: skip
    _export(folder, engine, checkpoints)


def rl_stage(
    folder: Path,
    engine: Engine,
    collector: Collector,
    questions: Sequence[Question],
    sources: SourceCache,
    config: RlConfig,
    seed: int,
    progress: Progress,
    grade: Grade,
    alarms: Alarms | None = None,
    validation: Sequence[Question] = (),
) -> None:
    """Train by RL, from where `folder` was left; all processes must call it.

    Args:
        folder: Of this stage.
        engine: The model to train.
        collector: Makes the rollouts.
        questions: What is asked.
        sources: Opens their images.
        config: Settings.
        seed: Of the order of questions and of sampling.
        progress: Shows how far it has come.
        grade: Grades rollouts.
        alarms: Watch the metrics.
        validation: What it only measures itself on; the best checkpoint is exported then.

    Raises:
        LooklessError: As `rl`.
        StoppedError: As `rl`.
    """
    checkpoints = Checkpoints(folder / "checkpoints", engine.config.keep)
    title = f"RL, {config.reward} reward"
    with _recording(folder, engine.ranks, checkpoints, progress, title, config.steps) as recorder:

        def log(metrics: dict[str, Any], groups: list[ScoredGroup], said: list[Alarm]) -> None:
            recorder.write(metrics, _note(metrics), said)
            chosen = random.Random(metrics["step"]).sample(groups, min(SHOWN_GROUPS, len(groups)))
            for one in chosen:
                append_jsonl(folder / ROLLOUTS, {"step": metrics["step"]} | group_record(one))

        def validate() -> float | None:
            collector.synchronise(engine)
            found = measured(collector, engine.ranks, validation, grade)
            recorder.measured(**found)
            if "accuracy" not in found:
                return None
            return found["accuracy"] - config.look_cost * found["look_rate"]

        rl(
            engine, collector, questions, sources, config, seed, checkpoints, log, grade, alarms,
            validate if validation else None,
        )  # fmt: skip
    _export(folder, engine, checkpoints)


def measured(
    collector: Collector, ranks: Ranks, questions: Sequence[Question], grade: Grade
) -> dict[str, float]:
    """Return accuracy and look rate of adaptive rollouts, sampled as in training.

    `undecided` counts faults, and what could not be graded; if that is all, it stands alone.

    All processes must call it; the collector must have the weights that are measured.
    """
    mine = ranks.share(questions)
    asked = [(question, Mode.ADAPTIVE) for question in mine]

    def collected() -> list[Rollout]:
        parts = [asked[k : k + MEASURED_AT_ONCE] for k in range(0, len(asked), MEASURED_AT_ONCE)]
        return [r for part in parts for r in collector.collect(part, "validation")]

    rollouts = ranks.together(collected)
    graded = [(grade(question, r), r.is_used) for question, r in zip(mine, rollouts, strict=True)]
    every = [one for part in ranks.gather(graded) for one in part]
    decided = [(g, used) for g, used in every if g is not None]
    found: dict[str, float] = {"undecided": float(len(every) - len(decided))}
    if decided:
        found["accuracy"] = sum(g for g, _ in decided) / len(decided)
        found["look_rate"] = sum(used for _, used in decided) / len(decided)
    return found


class _Recorder:
    """Writes what a stage leaves behind while it is under way; without a board, nothing."""

    def __init__(self, folder: Path, board: SummaryWriter | None, step: Step) -> None:
        self.folder = folder
        self.board = board
        self.step = step
        self.last = 0

    def write(self, metrics: dict[str, Any], note: str, said: Sequence[Alarm] = ()) -> None:
        """Write a step's metrics and alarms, and show them."""
        self.last = int(metrics["step"])
        append_jsonl(self.folder / METRICS, metrics)
        self._draw({k: v for k, v in metrics.items() if k not in ("step", "steps")})
        for alarm in said:
            append_jsonl(self.folder / ALARMS, alarm)
            LOG.warning("step %d: alarm %s: %s", alarm.step, alarm.name, alarm.message)
        self.step(self.last, note)

    def measured(self, **values: float) -> None:
        """Write what was measured on data that is not learned from."""
        if self.board is None:
            return
        append_jsonl(self.folder / VALIDATION, {"step": self.last, **values})
        self._draw({f"validation/{name}": value for name, value in values.items()})

    def _draw(self, scalars: dict[str, float]) -> None:
        assert self.board is not None
        for name, value in scalars.items():
            self.board.add_scalar(name, value, self.last)


@contextmanager
def _recording(
    folder: Path,
    ranks: Ranks,
    checkpoints: Checkpoints,
    progress: Progress,
    title: str,
    steps: int,
) -> Iterator[_Recorder]:
    """Open a stage's records, cut back to its newest checkpoint; the first process writes them."""
    if not ranks.is_first:
        yield _Recorder(folder, None, lambda done, note: None)
        return
    folder.mkdir(exist_ok=True)
    done = steps_done(checkpoints)
    for name in (METRICS, ROLLOUTS, ALARMS, VALIDATION):
        keep_rows(folder / name, lambda row: row["step"] <= done)
    with (
        progress(title, steps) as step,
        SummaryWriter(folder / "tensorboard", purge_step=done + 1) as board,
    ):
        step(done, "")
        yield _Recorder(folder, board, step)


def _export(folder: Path, engine: Engine, checkpoints: Checkpoints) -> None:
    """Leave the best checkpoint, or else the last one, as an ordinary folder."""
    best, last = engine.ranks.first((checkpoints.best(), steps_done(checkpoints)))
    if best is not None and best[0] != last:
        checkpoints.restore(engine, best[0])
    if engine.ranks.is_first:
        step, score = best or (last, None)
        write_json(folder / TRAINED, {"step": step, "score": score})
    engine.export(folder / CHECKPOINT)
    if engine.ranks.is_first:
        checkpoints.remove()
    engine.ranks.wait()


def _note(metrics: dict[str, Any]) -> str:
    """Return what is shown of a step of RL."""
    shown = {
        "acc": metrics.get("accuracy/adaptive"),
        "look": metrics.get("look_rate/adaptive"),
        "needed": metrics.get("look_rate/adaptive/needed"),
        "not": metrics.get("look_rate/adaptive/not_needed"),
        "reward": metrics.get("reward/adaptive"),
    } | {
        name.removeprefix(_PART): value
        for name, value in metrics.items()
        if name.startswith(_PART) and value
    }
    return " ".join(f"{k} {v:.2f}" for k, v in shown.items() if v is not None)
