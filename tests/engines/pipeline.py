"""LookWorld for real architectures: data, a recipe, and runs of it that are killed on the way."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lookless.demonstrations import write_demonstrations
from lookless.lookworld.dataset import Split, export, questions
from lookless.lookworld.trajectories import demonstrations
from lookless.mixture import Mixture
from lookless.recipe import Recipe, read_recipe
from lookless.runs import Step
from lookless.train import Stage, run_stage
from lookless.training.ranks import Ranks

QUESTIONS = 6
TEXT = """
model = "{model}"

[data]
reader = "lookworld"
demonstrations = "{data}/demonstrations.jsonl"
questions = "{data}"

[sft]
epochs = 30
batch = 6
lr = 3e-3
warmup_steps = 3
save_every = 15

[rl]
steps = 3
queries = 2
forced = 2
prohibited = 2
adaptive = 4
lr = 1e-4
warmup_steps = 1
temperature = 1.0
max_looks = 2
max_turn_tokens = 96
save_every = 1

[rollouts.vllm]
dtype = "float32"
max_rollouts = 16
eager = true
"""


class Killed(Exception):  # noqa: N818
    """Stands for a kill."""


@contextmanager
def silent(title: str, total: int) -> Iterator[Step]:
    yield lambda done, note: None


@contextmanager
def dying(title: str, total: int) -> Iterator[Step]:
    """Show progress until two thirds are done, then be killed."""

    def move(done: int, note: str) -> None:
        if title != "checking" and done >= 2 * total / 3:
            raise Killed

    yield move


def data(folder: Path) -> Path:
    """Write a few questions with demonstrations, half of which look."""
    worlds = list(questions(Split.TRAIN, QUESTIONS))
    asked = export(folder, worlds, 1024)
    shown = demonstrations(worlds, asked, 0, Mixture(look=0.5, corrected=0, closer=0))
    write_demonstrations(folder / "demonstrations.jsonl", shown)
    return folder


def recipe(folder: Path, model: Path, data: Path, *overrides: str) -> Recipe:
    """Return the recipe of a model, with overrides."""
    (folder / "recipe.toml").write_text(TEXT.format(model=model, data=data))
    return read_recipe(folder, overrides)


def train(stage: Stage, recipe: Recipe, out: Path) -> Path:
    """Run a stage that is killed on the way and resumed; return its checkpoint."""
    try:
        run_stage(stage, recipe, out, Ranks(), dying, out.parent / "cache")
    except Killed:
        return run_stage(stage, recipe, out, Ranks(), silent, out.parent / "cache", resume=True)
    raise AssertionError("the first part must have been killed")
