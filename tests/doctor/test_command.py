import json
from pathlib import Path

import pytest

from lookless.lookworld.base import base_folder
from test_cli import mistake, run_here


@pytest.fixture
def recipe(exported: Path, tmp_path: Path) -> Path:
    file = tmp_path / "recipe.toml"
    file.write_text(
        f"""
model = "{base_folder()}"
[data]
demonstrations = "{exported}/demonstrations.jsonl"
questions = "{exported}"
reader = "lookworld"
[rl]
steps = 2
queries = 4
max_context = 2048
"""
    )
    return file


def test_table_of_a_healthy_recipe(recipe: Path) -> None:
    done = run_here("doctor", str(recipe))
    assert done.returncode == 0, done.stdout
    assert "coordinates" in done.stdout
    assert "fault" not in done.stdout


def test_fault_gives_exit_code_2(recipe: Path) -> None:
    done = run_here("doctor", str(recipe), "--set", "sft.max_context=90", "--stage", "sft")
    assert done.returncode == 2
    assert not done.stderr
    assert "fault" in done.stdout
    assert "sft.max_context must hold" in done.stdout
    assert "memory of RL" not in done.stdout


def test_findings_as_json(recipe: Path) -> None:
    done = run_here("doctor", str(recipe), "--json", "--gpus", "8", "--gpu-memory", "80")
    found = json.loads(done.stdout)
    assert done.returncode == 2
    assert {
        "check": "recipe",
        "level": "fault",
        "message": "rl.queries must be at least one for each of 8 processes, got 4; raise it, or "
        "start fewer",
    } in found
    assert {one["level"] for one in found} <= {"ok", "warning", "fault"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "rl.queries=0"], "rl.queries: Input should be greater than or equal to 1"),
        (["--stage", "rll"], "stage must be one of sft, rl, both, got 'rll'"),
    ],
)
def test_settings_that_cannot_be_read_are_one_line(
    recipe: Path, options: list[str], said: str
) -> None:
    assert said in mistake(run_here("doctor", str(recipe), *options))
