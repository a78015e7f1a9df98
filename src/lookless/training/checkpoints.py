"""Checkpoints of a run in training: what is needed to go on exactly, on any number of processes."""

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from lookless.errors import RunError
from lookless.runs import write_json
from lookless.training.engine import Engine

PROGRESS = "progress.json"
BEST = "best.json"


class Checkpoints:
    """A folder of checkpoints, one each `step-000020`; each is there as a whole or not at all.

    A checkpoint has the weights and the optimiser's state as torch's distributed checkpoints
    (sharded, and read again by any number of processes), and in progress.json whatever else the run
    needs. The pace of learning, the order of the data and all that is drawn by chance follow from
    the step and the seed.
    """

    def __init__(self, folder: Path, keep: int = 1) -> None:
        """Refer to a folder, which need not exist yet.

        Args:
            folder: Of this run alone.
            keep: How many of the newest stay; the best stays too.
        """
        self.folder = folder
        self.keep = keep

    def steps(self) -> list[int]:
        """Return the steps of the whole checkpoints, in order."""
        found = self.folder.glob("step-*") if self.folder.is_dir() else ()
        names = (place.name.removeprefix("step-") for place in found)
        return sorted(int(name) for name in names if name.isdigit())

    def best(self) -> tuple[int, float] | None:
        """Return the step with the highest score and that score, if any had one."""
        file = self.folder / BEST
        if not file.exists():
            return None
        found = json.loads(file.read_text())
        return int(found["step"]), float(found["score"])

    def place(self, step: int) -> Path:
        """Return the folder of a step's checkpoint."""
        return self.folder / f"step-{step:06d}"

    def save(
        self, engine: Engine, step: int, progress: dict[str, Any], score: float | None = None
    ) -> None:
        """Write the checkpoint of a step, and remove those that need not be kept.

        All processes must call it.

        Args:
            engine: What is trained.
            step: Steps done.
            progress: Plain JSON data, the same on all processes.
            score: The higher the better; None if it was not measured.
        """
        place = self.place(step)
        part = place.with_name(f"{place.name}.part")
        if engine.ranks.is_first:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
        engine.ranks.wait()
        with _quietly():
            save(engine.state(), checkpoint_id=part, no_dist=engine.ranks.world == 1)
        if engine.ranks.is_first:
            write_json(part / PROGRESS, {"step": step, **progress})
            shutil.rmtree(place, ignore_errors=True)
            os.replace(part, place)
            best = self.best()
            if score is not None and (best is None or score > best[1]):
                write_json(self.folder / BEST, {"step": step, "score": score})
            self._remove_old()
        engine.ranks.wait()

    def _remove_old(self) -> None:
        steps, best = self.steps(), self.best()
        for step in steps[: -self.keep]:
            if best is None or step != best[0]:
                shutil.rmtree(self.place(step))

    def restore(self, engine: Engine, step: int | None = None) -> dict[str, Any] | None:
        """Load a checkpoint into an engine; return its progress.

        All processes must call it.

        Args:
            engine: Made as the one that saved, but perhaps of another number of processes.
            step: None for the newest; None is returned if there is none.

        Raises:
            RunError: If the checkpoint is damaged or of another model.
        """
        # Others may not see yet what the first one has written.
        steps = engine.ranks.first(self.steps())
        if not steps:
            return None
        place = self.place(steps[-1] if step is None else step)
        state = engine.state()
        try:
            progress: dict[str, Any] = json.loads((place / PROGRESS).read_text())
            with _quietly():
                load(state, checkpoint_id=place, no_dist=engine.ranks.world == 1)
        except (OSError, ValueError, RuntimeError, CheckpointException) as error:
            said = " ".join(str(error).split())[:200]
            raise RunError(
                f"checkpoint must be whole and of this model, got {str(place)!r}: {said}; "
                "remove it to go on from an earlier one"
            ) from None
        engine.load_state(state)
        return progress

    def remove(self) -> None:
        """Remove all checkpoints: the run has ended, and its model was exported."""
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep torch from remarking that a process is alone."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is")
        yield
