"""The whole examination: a healthy recipe, and faults that leave out what comes after them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from doctor.conftest import MakeRecipe, messages, only_fault
from lookless.doctor.finding import Finding, Level
from lookless.doctor.machine import GIB, Machine
from lookless.doctor.run import STAGES, examine
from lookless.recipe import Recipe

Examine = Callable[..., list[Finding]]
VERSIONS = {"torch": "2.13.0+cpu", "transformers": "5.23.0", "peft": "0.21.2"}


@pytest.fixture
def examined(machine: Machine, tmp_path: Path) -> Examine:
    def run(recipe: Recipe, stage: str = "both", on: Machine = machine) -> list[Finding]:
        return examine(recipe, STAGES[stage], on, VERSIONS, tmp_path)

    return run


def test_healthy_recipe_has_no_fault(recipe: MakeRecipe, examined: Examine) -> None:
    found = examined(recipe())
    assert messages(found, Level.FAULT) == []
    checks = list(dict.fromkeys(one.check for one in found))
    assert checks == [
        "recipe", "versions", "model", "prompts", "coordinates", "devices", "demonstrations",
        "questions", "memory of SFT", "memory of RL",
    ]  # fmt: skip


def test_only_the_stage_asked_for_is_examined(recipe: MakeRecipe, examined: Examine) -> None:
    checks = {one.check for one in examined(recipe(), "sft")}
    assert "demonstrations" in checks
    assert not {"questions", "memory of RL"} & checks


def test_stage_without_data_is_left_out(recipe: MakeRecipe, examined: Examine) -> None:
    found = examined(recipe(data={"questions": None}))
    assert messages(found, Level.FAULT) == []
    [said] = [one for one in found if one.check == "recipe" and one.level is Level.WARNING]
    assert said.message == (
        "data.questions must be a file or folder for rl, got none; set data.questions"
    )
    assert "data.questions must be" in only_fault(examined(recipe(data={"questions": None}), "rl"))


def test_fewer_queries_than_processes(recipe: MakeRecipe, examined: Examine) -> None:
    assert messages(examined(recipe(), on=Machine(6, 80 * GIB)), Level.FAULT) == [
        "sft.batch must be at least one for each of 6 processes, got 4; raise it, or start fewer",
        "rl.queries must be at least one for each of 6 processes, got 4; raise it, or start fewer",
    ]


def test_what_needs_the_model_is_left_out_without_it(
    recipe: MakeRecipe, examined: Examine, tmp_path: Path
) -> None:
    found = examined(recipe(model=str(tmp_path / "none")))
    assert only_fault(found).startswith("checkpoint must be a folder with config.json, got ")
    checks = {one.check for one in found}
    assert {"demonstrations", "questions", "devices"} <= checks
    assert not {"prompts", "coordinates", "memory of SFT"} & checks


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"engine": {"lora": {"rank": 4}}}, "model"),
        ({"engine": {"dtype": "bfloat16", "train_vision": True, "checkpointing": True}}, "model"),
        ({"rl": {"kl_weight": 0.1}}, "memory of RL"),
    ],
)
def test_other_settings_are_healthy_too(
    recipe: MakeRecipe, examined: Examine, changes: dict[str, Any], said: str
) -> None:
    found = examined(recipe(**changes))
    assert messages(found, Level.FAULT) == []
    assert said in {one.check for one in found}


def test_held_out_and_validation_are_examined(
    recipe: MakeRecipe, examined: Examine, exported: Path
) -> None:
    """The same files twice: nothing is wrong with them but that."""
    file = exported / "demonstrations.jsonl"
    found = examined(recipe(data={"held_out": file, "validation": exported}))
    warnings = messages(found, Level.WARNING)
    assert any(m.startswith("held-out demonstrations must not be learned from, got 6 ids")
               for m in warnings)  # fmt: skip
    assert any(m.startswith("validation must not be asked in training, got 6 ids")
               for m in warnings)  # fmt: skip
    assert any(m.startswith("validation must have images of its own, got ") for m in warnings)
