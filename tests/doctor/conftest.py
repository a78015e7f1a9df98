import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lookless.demonstrations import write_demonstrations
from lookless.doctor.finding import Finding, Level
from lookless.doctor.machine import GIB, Machine
from lookless.doctor.model import Subject, open_subject
from lookless.lookworld.base import base_folder
from lookless.lookworld.dataset import Split, export, questions
from lookless.lookworld.trajectories import demonstrations
from lookless.recipe import Recipe
from lookless.settings import validated
from lookless.vlm.families import NO_LIMITS

MakeRecipe = Callable[..., Recipe]


def messages(findings: Sequence[Finding], *levels: Level) -> list[str]:
    """Return what was found, of some levels."""
    return [one.message for one in findings if one.level in levels]


def only_fault(findings: Sequence[Finding]) -> str:
    """Return the one fault, after checking that it is one line."""
    (line,) = messages(findings, Level.FAULT)
    assert "\n" not in line
    return line


def rows_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def write_rows(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an export of LookWorld with demonstrations."""
    folder = tmp_path_factory.mktemp("doctor") / "data"
    worlds = list(questions(Split.TRAIN, 6))
    asked = export(folder, worlds)
    write_demonstrations(folder / "demonstrations.jsonl", demonstrations(worlds, asked, 0))
    return folder


@pytest.fixture
def data(exported: Path, tmp_path: Path) -> Path:
    """Return a copy of it that a test may spoil."""
    return Path(shutil.copytree(exported, tmp_path / "data"))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Return a copy of the embedded model that a test may spoil."""
    return Path(shutil.copytree(base_folder(), tmp_path / "model"))


@pytest.fixture(scope="session")
def subject() -> Subject:
    """Return the embedded model."""
    return open_subject(base_folder(), NO_LIMITS)


@pytest.fixture
def recipe(exported: Path) -> MakeRecipe:
    """Return a maker of recipes of the embedded model, with other settings by their sections."""

    def make(**changes: Any) -> Recipe:
        settings: dict[str, Any] = {
            "model": str(base_folder()),
            "data": {
                "demonstrations": exported / "demonstrations.jsonl",
                "questions": exported,
                "reader": "lookworld",
            },
            "sft": {"batch": 4},
            "rl": {"steps": 2, "queries": 4, "max_context": 2048},
        }
        for name, value in changes.items():
            is_section = isinstance(value, dict) and isinstance(settings.get(name), dict)
            settings[name] = settings[name] | value if is_section else value
        return validated(Recipe, settings)

    return make


@pytest.fixture
def machine() -> Machine:
    """Return a machine without a GPU."""
    return Machine(cpus=2, ram_bytes=16 * GIB)
