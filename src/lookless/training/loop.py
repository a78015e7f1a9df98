"""The steps of a training run: restored, logged, saved, and stopped between two of them."""

from collections.abc import Callable
from typing import Any, Protocol

from lookless.errors import LooklessError, StoppedError
from lookless.training.checkpoints import Checkpoints
from lookless.training.engine import Engine
from lookless.training.stopping import stopping


class Stateful(Protocol):
    """Something that grows in training besides the weights; the first process's is saved."""

    def state(self) -> Any:
        """Return all of it as plain JSON data."""

    def load_state(self, state: Any) -> None:
        """Replace all of it."""


def train(
    engine: Engine,
    checkpoints: Checkpoints,
    steps: int,
    save_every: int,
    one_step: Callable[[int], LooklessError | None],
    grown: Stateful | None = None,
    score: Callable[[], float | None] | None = None,
) -> None:
    """Take the steps that are still to be taken.

    All processes must call it.

    Args:
        engine: What is trained.
        checkpoints: Where the run goes on from, and what it saves.
        steps: Of the whole run.
        save_every: Steps between checkpoints; the last step has one too.
        one_step: Takes the step of this number, counted from 0, and logs it; returns why training
            must end, which is raised once what was done is saved, or None. A step whose checkpoint
            was not written is taken again, so logs are cut back to the checkpoint.
        grown: Saved along.
        score: Measures the model when it is saved; the best checkpoint stays.

    Raises:
        LooklessError: What `one_step` returned.
        StoppedError: If SIGTERM or SIGINT came; what was done is saved.
        RunError: If the newest checkpoint is damaged.
    """
    first = 0
    progress = checkpoints.restore(engine)
    if progress is not None:
        first = progress["step"]
        if grown is not None:
            grown.load_state(progress["grown"])
    with stopping() as stop:
        for step in range(first, steps):
            ill = one_step(step)
            done = step + 1
            signal = engine.ranks.most(stop.signal or 0)
            if done % save_every == 0 or done == steps or signal or ill:
                is_due = done % save_every == 0 or done == steps
                measured = score() if score is not None and is_due and not ill else None
                kept = {"grown": None if grown is None else grown.state()}
                checkpoints.save(engine, done, kept, measured)
            if ill:
                raise ill
            if signal and done < steps:
                raise StoppedError(done, signal)


def steps_done(checkpoints: Checkpoints) -> int:
    """Return the number of steps that need not be taken again."""
    return max(checkpoints.steps(), default=0)
