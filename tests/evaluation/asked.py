"""What tests of evaluations share: small runs on drawn questions."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lookless.evaluation.config import EvalConfig
from lookless.evaluation.run import Keys, run_eval
from lookless.lookworld.dataset import Split, export, questions


class Interrupted(BaseException):
    """Stands for a kill."""


class Watched:
    """Progress that notes what it is told, and ends everything after so many steps."""

    def __init__(self, steps: int | None = None) -> None:
        self.left = steps
        self.notes: list[tuple[str, int, str]] = []

    @contextmanager
    def __call__(self, title: str, total: int) -> Iterator[Callable[[int, str], None]]:
        def step(done: int, note: str) -> None:
            if title == "images":
                return
            self.notes.append((title, done, note))
            if self.left is not None:
                self.left -= 1
                if self.left < 0:
                    raise Interrupted

        yield step


def world(folder: Path, count: int = 8) -> Path:
    """Write LookWorld questions; return their folder."""
    export(folder, list(questions(Split.TEST, count, 0)))
    return folder


def evaluated(
    out: Path,
    data: Path,
    progress: Watched | None = None,
    *,
    keys: Keys | None = None,
    resume: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """Run an evaluation as the command does; by default of the script that knows all answers."""
    defaults = {"benchmark": "lookworld", "data": data, "model": "scripted:gold", "batch": 3}
    config = EvalConfig.model_validate(defaults | settings)
    cache = out.parent / "cache"
    return run_eval(out, config, cache, progress or Watched(), keys, resume=resume)


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def untimed(value: Any) -> Any:
    """Return results without what a clock or the machine says."""
    if isinstance(value, dict):
        timed = {"seconds_per_sample", "latency_s", "peak_memory_mb", "seconds", "latency"}
        return {key: untimed(item) for key, item in value.items() if key not in timed}
    return [untimed(item) for item in value] if isinstance(value, list) else value
