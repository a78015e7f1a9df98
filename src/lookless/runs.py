"""Run folders: nothing is overwritten, and only the same run is resumed."""

import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Any

from lookless.errors import DataError, RunError

CONFIG_FILE = "config.json"
LIBRARIES = ("lookless", "torch", "transformers", "numpy", "pillow")


def open_run(folder: Path, config: Mapping[str, Any], *, resume: bool = False) -> Path:
    """Return a run folder that holds `config`, new or (with `resume`) that of the identical config.

    A new folder gets config.json with the resolved settings, library versions, git revision and
    command line, before anything else.

    Raises:
        RunError: If the folder exists and `resume` is off, or its config is another one, or there
            is nothing to resume.
    """
    file = folder / CONFIG_FILE
    settings = json.loads(json.dumps(config, default=plain))
    if resume:
        if not file.is_file():
            raise RunError(
                f"a resumed run must have been started, got {str(folder)!r} without {CONFIG_FILE}; "
                "leave out --resume"
            )
        saved = json.loads(file.read_text())["config"]
        if saved != settings:
            names = sorted(
                k for k in saved.keys() | settings.keys() if saved.get(k) != settings.get(k)
            )
            raise RunError(
                f"a resumed run must keep its config, got another {', '.join(names)}; "
                f"use the settings in {file} or another folder"
            )
        return folder
    if folder.exists() and any(folder.iterdir()):
        raise RunError(
            f"output folder must be new, got {str(folder)!r} which has content; "
            "choose another folder, or continue an interrupted run with --resume"
        )
    folder.mkdir(parents=True, exist_ok=True)
    head = {"config": settings, **provenance()}
    write_json(file, head)
    return folder


def provenance() -> dict[str, Any]:
    """Return versions, git revision (None outside a checkout), machine and command line."""
    revision = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    versions: dict[str, str | None] = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "versions": {"python": platform.python_version(), **versions},
        "revision": revision.stdout.strip() or None,
        "machine": platform.platform(),
        "argv": sys.argv,
    }


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


def append_jsonl(file: Path, row: Any) -> None:
    """Append one JSON object as a line."""
    with file.open("a") as stream:
        stream.write(json.dumps(row, default=plain) + "\n")


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
