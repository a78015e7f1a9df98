from typing import Any

import pytest

from doctor.conftest import MakeRecipe, messages, only_fault
from lookless.doctor.finding import Finding, Level
from lookless.doctor.machine import GIB, Machine
from lookless.doctor.memory import check_memory
from lookless.doctor.model import Subject
from lookless.doctor.plan import Load, Stage

LOAD = Load(rows=8, longest=200, learned=0.3, seen=0.3, pictures=100, view=25)


def found(
    recipe: MakeRecipe, subject: Subject, machine: Machine, stage: Stage = "sft", **changes: Any
) -> list[Finding]:
    return check_memory(stage, subject, recipe(**changes), LOAD, machine)


def with_ram(gib: float) -> Machine:
    return Machine(ram_bytes=round(gib * GIB))


def test_plan_is_a_table_that_fits(recipe: MakeRecipe, subject: Subject) -> None:
    lines = messages(found(recipe, subject, with_ram(16)), Level.OK)
    assert lines[0] == "0.60 GiB Python and its libraries"
    assert any(line.endswith(" GiB activations") for line in lines)
    assert "of the 16.0 GiB of the machine at the fullest, in the phase " in lines[-1]


def test_too_little_memory(recipe: MakeRecipe, subject: Subject) -> None:
    line = only_fault(found(recipe, subject, with_ram(0.5)))
    assert line.startswith("memory of the machine must be ")
    assert "got 0.5 GiB, most of it needed for Python and its libraries, 0.6 GiB; " in line


def test_plan_that_is_too_close(recipe: MakeRecipe, subject: Subject) -> None:
    """Estimates are not that good."""
    takes = next(
        float(line.split()[0])
        for line in messages(found(recipe, subject, with_ram(16)), Level.OK)
        if "at the fullest" in line
    )
    [said] = messages(found(recipe, subject, with_ram(takes + 0.06)), Level.WARNING)
    assert said.startswith("memory of the machine must leave a tenth free, as plans are estimates")


def test_gpu_that_vllm_leaves_no_room(recipe: MakeRecipe, subject: Subject) -> None:
    vllm = {"engine": "vllm", "vllm": {"memory": 0.95}}
    faults = found(recipe, subject, Machine(1, 16 * GIB), "rl", rollouts=vllm)
    line = only_fault(faults)
    assert "most of it needed for vLLM, 15.2 GiB; lower rollouts.vllm.memory" in line


def test_engine_without_room_for_a_rollout(recipe: MakeRecipe, subject: Subject) -> None:
    vllm = {"engine": "vllm", "vllm": {"memory": 0.2}}
    machine = Machine(1, 8 * GIB)
    assert only_fault(found(recipe, subject, machine, "rl", rollouts=vllm)) == (
        "vLLM must have room for a rollout of 4096 tokens, got -0.4 GiB for keys and values; raise "
        "rollouts.vllm.memory or cache_gib, or lower max_context"
    )
    roomy = Machine(1, 80 * GIB)
    [said] = [m for m in messages(found(recipe, subject, roomy, "rl", rollouts=vllm), Level.OK)
              if "at once" in m]  # fmt: skip
    assert said == "14.0 GiB of vLLM hold 256 rollouts of 4096 tokens at once, of at most 256"


def test_memory_of_the_machine_beside_its_gpus(recipe: MakeRecipe, subject: Subject) -> None:
    machine = Machine(8, 80 * GIB, 16, 8 * GIB)
    line = only_fault(found(recipe, subject, machine))
    assert line.startswith("memory of the machine must be ")
    assert line.endswith("; run fewer processes on this machine, or one with more memory")


@pytest.mark.parametrize("stage", ["sft", "rl"])
def test_data_that_is_not_known_counts_as_large(
    recipe: MakeRecipe, subject: Subject, stage: Stage
) -> None:
    machine = with_ram(64)
    unknown = check_memory(stage, subject, recipe(), None, machine)
    known = check_memory(stage, subject, recipe(), LOAD, machine)
    peaks = [
        float(next(m for m in messages(one, Level.OK) if "at the fullest" in m).split()[0])
        for one in (unknown, known)
    ]
    assert peaks[0] > peaks[1]
