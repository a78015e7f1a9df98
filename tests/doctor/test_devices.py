from dataclasses import replace
from typing import Any

import pytest

from doctor.conftest import MakeRecipe, messages, only_fault
from lookless.doctor.devices import check_devices
from lookless.doctor.finding import Finding, Level
from lookless.doctor.machine import GIB, Machine
from lookless.doctor.model import Subject

HERE = Machine(cpus=4, ram_bytes=8 * GIB)
FOUR = Machine(4, 80 * GIB)


def found(
    recipe: MakeRecipe, machine: Machine, subject: Subject | None = None, **changes: Any
) -> list[Finding]:
    return check_devices(recipe(**changes), ("sft", "rl"), machine, subject)


def vllm(**settings: Any) -> dict[str, Any]:
    return {"engine": "vllm", "vllm": settings}


def test_healthy(recipe: MakeRecipe, subject: Subject) -> None:
    [one] = found(recipe, HERE, subject)
    assert one.message == "4 CPUs for 1 training processes"
    [one] = found(recipe, FOUR, subject, engine={"dtype": "bfloat16"}, rollouts=vllm(gpus=2))
    assert one.message == "4 GPUs of 80.0 GiB for 4 training processes"


def test_half_precision_without_a_gpu(recipe: MakeRecipe) -> None:
    [said] = messages(found(recipe, HERE, engine={"dtype": "bfloat16"}), Level.WARNING)
    assert said.startswith("engine.dtype must be float32 to be fast without a GPU, got bfloat16")


@pytest.mark.parametrize(
    ("workers", "machine", "said"),
    [
        (
            {"count": 2, "gpus": 1},
            HERE,
            "rollouts.workers must fit the machine's 0 GPUs, got 2 with 1 each; lower count or "
            "gpus, or give the address of a cluster",
        ),
        (
            {"count": 8, "cpus": 1},
            HERE,
            "rollouts.workers must fit the machine's 4 CPUs, got 8 with 1 each; lower count or "
            "cpus",
        ),
    ],
)
def test_workers_that_do_not_fit(
    recipe: MakeRecipe, workers: dict[str, Any], machine: Machine, said: str
) -> None:
    assert only_fault(found(recipe, machine, rollouts={"workers": workers})) == said
    elsewhere = workers | {"address": "head:6379"}
    assert messages(found(recipe, machine, rollouts={"workers": elsewhere}), Level.FAULT) == []


def test_workers_beside_training(recipe: MakeRecipe) -> None:
    workers = {"count": 4, "gpus": 1}
    [said] = messages(found(recipe, FOUR, rollouts={"workers": workers}), Level.WARNING)
    assert said.startswith("rollouts.workers share the 4 GPUs with training")


@pytest.mark.parametrize(
    ("gpus", "said"),
    [
        (8, "rollouts.vllm.gpus must be at most the 4 GPUs that it sees, got 8; lower it"),
        (3, "rollouts.vllm.gpus must divide the 4 training processes, got 3; change it"),
    ],
)
def test_more_gpus_for_vllm_than_there_are(recipe: MakeRecipe, gpus: int, said: str) -> None:
    assert only_fault(found(recipe, FOUR, rollouts=vllm(gpus=gpus))) == said


def test_heads_that_cannot_be_shared_out(recipe: MakeRecipe, subject: Subject) -> None:
    machine = Machine(8, 80 * GIB)
    assert only_fault(found(recipe, machine, subject, rollouts=vllm(gpus=8))) == (
        "rollouts.vllm.gpus must divide the model's 4 attention heads, got 8; change it"
    )


def test_heads_that_vllm_cannot_compute_on_cpus(
    recipe: MakeRecipe, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert messages(found(recipe, HERE, subject, rollouts=vllm()), Level.FAULT) == []
    monkeypatch.setattr(subject.text_config, "head_dim", 16)
    assert only_fault(found(recipe, HERE, subject, rollouts=vllm())) == (
        "attention heads must have one of 32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512 "
        'features for vLLM without a GPU, got 16; set rollouts.engine to "hf"'
    )
    on_gpus = replace(FOUR, gpus=1)
    assert messages(found(recipe, on_gpus, subject, rollouts=vllm()), Level.FAULT) == []
