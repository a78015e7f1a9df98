from collections.abc import Callable
from pathlib import Path

import pytest

from lookless.vlm import VLM, load_vlm
from real.parts import FAMILIES, checkpoint

Loaded = Callable[[str], VLM]


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="session", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def folder(family: str, checkpoints: Path) -> Path:
    """Return an untrained checkpoint of a real family."""
    return checkpoint(family, checkpoints)


@pytest.fixture(scope="session")
def vlm(folder: Path) -> VLM:
    """Return it, loaded; tests must not change it."""
    return load_vlm(folder)
