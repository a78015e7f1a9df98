"""Run folders: nothing is overwritten, and only the same run is resumed."""

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, is_dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol, TextIO

from lookless.errors import DataError, LooklessError, RunError

CONFIG_FILE = "config.json"
Step = Callable[[int, str], None]
"""Called with the steps done so far and what to show beside them."""
LIBRARIES = ("lookless", "torch", "transformers", "numpy", "pillow")


class Progress(Protocol):
    """Shows how far a stage has come."""

    def __call__(self, title: str, total: int) -> AbstractContextManager[Step]:
        """Begin a stage of `total` steps, 0 if that is not known."""


def open_run(
    folder: Path,
    config: Mapping[str, Any],
    *,
    resume: bool = False,
    free: Collection[str] = (),
) -> Path:
    """Return a run folder that holds `config`, new or (with `resume`) that of the identical config.

    A new folder gets config.json with the resolved settings, library versions, git revision and
    command line, before anything else.

    Args:
        folder: The run's.
        config: The settings.
        resume: Whether to continue.
        free: Settings that may be others when a run is continued, as nothing that it has made
            depends on them; config.json then gets the new ones.

    Raises:
        RunError: If the folder exists and `resume` is off, or its config is another one, or there
            is nothing to resume.
    """
    settings = json.loads(json.dumps(config, default=plain))
    try:
        check_folder(folder, resume=resume)
        return _continued(folder, settings, free) if resume else _new(folder, settings)
    except OSError as error:
        raise RunError(
            f"output folder must be one that can be written, got {str(folder)!r}: {error.strerror}"
        ) from None


@contextmanager
def undone_if_refused(folder: Path, *, resume: bool) -> Iterator[None]:
    """Leave no new folder behind where the input of what was to fill it turns out to be wrong.

    Args:
        folder: Of the run that was just opened in the block.
        resume: Whether it was there before.
    """
    was_there = resume or folder.exists()
    try:
        yield
    except LooklessError:
        if not was_there:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def check_folder(folder: Path, *, resume: bool = False) -> None:
    """Raise what `open_run` would, as far as that is known without the settings.

    Raises:
        RunError: If the folder exists and `resume` is off, or there is nothing to resume.
    """
    if resume:
        if not (folder / CONFIG_FILE).is_file():
            raise RunError(
                f"a resumed run must have been started, got {str(folder)!r} without {CONFIG_FILE}; "
                "leave out --resume"
            )
        return
    if folder.exists() and not folder.is_dir():
        raise RunError(
            f"output folder must be a folder, got the file {str(folder)!r}; choose another"
        )
    if folder.exists() and any(folder.iterdir()):
        raise RunError(
            f"output folder must be new, got {str(folder)!r} which has content; "
            "choose another folder, or continue an interrupted run with --resume"
        )


def _continued(folder: Path, settings: dict[str, Any], free: Collection[str]) -> Path:
    """Return the folder of a run that was started with the same settings."""
    file = folder / CONFIG_FILE
    saved = read_config(file)
    names = sorted(k for k in saved.keys() | settings.keys() if saved.get(k) != settings.get(k))
    fixed = [name for name in names if name not in free]
    if fixed:
        raise RunError(
            f"a resumed run must keep its config, got another {', '.join(fixed)}; "
            f"use the settings in {file} or another folder"
        )
    if names:
        write_json(file, {**json.loads(file.read_text()), "config": settings})
    return folder


def _new(folder: Path, settings: dict[str, Any]) -> Path:
    """Return a new folder with config.json in it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG_FILE, {"config": settings, **provenance()})
    return folder


def read_config(file: Path) -> dict[str, Any]:
    """Return the settings in a run's config.json.

    Raises:
        RunError: If there are none.
    """
    try:
        saved = json.loads(file.read_text())["config"]
    except (OSError, ValueError, TypeError, KeyError):
        saved = None
    if not isinstance(saved, dict):
        raise RunError(
            f"{CONFIG_FILE} must hold the settings of a run, got {str(file)!r} without any; "
            "restore the file, or use another folder"
        )
    return saved


def provenance() -> dict[str, Any]:
    """Return versions, git revision (None outside a checkout), machine and command line."""
    versions: dict[str, str | None] = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "versions": {"python": platform.python_version(), **versions},
        "revision": revision(),
        "machine": platform.platform(),
        "argv": sys.argv,
    }


def revision() -> str | None:
    """Return the commit of the checkout that runs, with `+changes` if files differ from it.

    None where the package is installed, even if that is inside another project's checkout.
    """
    here = Path(__file__).resolve().parents[2]

    def git(*words: str) -> str:
        command = ["git", "-C", str(here), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != here:
            return None
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def plain(value: Any) -> Any:
    """Return `value` as something JSON knows: paths and enums as text, dataclasses as objects."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


def write_json(file: Path, value: Any) -> None:
    """Write `value` so that a reader sees the old content or the new, never half of it."""
    part = file.with_name(file.name + ".part")
    part.write_text(json.dumps(value, indent=1, default=plain) + "\n")
    part.replace(file)


@contextmanager
def whole_file(file: Path) -> Iterator[TextIO]:
    """Give a stream to what becomes `file` when the block ends well: a reader never sees half."""
    part = file.with_name(file.name + ".part")
    with part.open("w", encoding="utf-8") as stream:
        yield stream
    part.replace(file)


def append_jsonl(file: Path, row: Any) -> None:
    """Append one JSON object as a line."""
    with file.open("a") as stream:
        stream.write(json.dumps(row, default=plain) + "\n")


def keep_rows(file: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Take the other rows out of a file, if there is one."""
    if not file.exists():
        return
    part = file.with_name(file.name + ".part")
    part.write_text("".join(json.dumps(row) + "\n" for row in read_jsonl(file) if keep(row)))
    part.replace(file)


def read_jsonl(file: Path) -> list[dict[str, Any]]:
    """Return the rows of a file; a last line cut short by an interruption is left out.

    Raises:
        DataError: If any other line is not JSON.
    """
    rows = []
    lines = file.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise DataError(
                    f"{str(file)!r} line {number} must be JSON, got {error}; restore the file"
                ) from None
    return rows
