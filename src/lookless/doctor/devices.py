"""Whether processes, workers and engines find the devices that they ask for."""

from collections.abc import Iterator

from lookless.doctor.finding import Finding, fault, ok, warning
from lookless.doctor.machine import GIB, Machine
from lookless.doctor.model import Subject
from lookless.recipe import Recipe

CHECK = "devices"
CPU_HEADS = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Features of an attention head that vLLM computes without a GPU.

Source: vLLM 0.32, `CPUAttentionBackend`.
"""


def check_devices(
    recipe: Recipe, stages: tuple[str, ...], machine: Machine, subject: Subject | None
) -> list[Finding]:
    """Return what asks for more devices than there are, or for what they cannot do.

    Args:
        recipe: The settings.
        stages: `sft`, `rl` or both.
        machine: Where training is to run.
        subject: The model; None leaves out what depends on it.
    """
    found = list(_precision(recipe, machine))
    if "rl" in stages:
        found += _workers(recipe, machine)
        if recipe.rollouts.engine == "vllm":
            found += _vllm(recipe, machine, subject)
    if found:
        return found
    has = f"{machine.cpus} CPUs" if machine.cpus else "CPUs"
    if machine.gpus:
        has = f"{machine.gpus} GPUs of {machine.gpu_bytes / GIB:.1f} GiB"
    return [ok(CHECK, f"{has} for {machine.processes} training processes")]


def _precision(recipe: Recipe, machine: Machine) -> Iterator[Finding]:
    if recipe.engine.dtype == "bfloat16" and not machine.gpus:
        yield warning(
            CHECK,
            "engine.dtype must be float32 to be fast without a GPU, got bfloat16; change it",
        )


def _workers(recipe: Recipe, machine: Machine) -> Iterator[Finding]:
    workers = recipe.rollouts.workers
    if workers is None or workers.address is not None:
        return  # of a cluster elsewhere nothing is known here
    gpus = workers.count * workers.gpus
    if gpus > machine.gpus:
        yield fault(
            CHECK,
            f"rollouts.workers must fit the machine's {machine.gpus} GPUs, got {workers.count} "
            f"with {workers.gpus:g} each; lower count or gpus, or give the address of a cluster",
        )
    elif gpus:
        yield warning(
            CHECK,
            f"rollouts.workers share the {machine.gpus} GPUs with training, which Ray knows "
            "nothing of; leave them room by rollouts.vllm.memory, or give the address of a "
            "cluster elsewhere",
        )
    if machine.cpus is not None and workers.count * workers.cpus > machine.cpus:
        yield fault(
            CHECK,
            f"rollouts.workers must fit the machine's {machine.cpus} CPUs, got {workers.count} "
            f"with {workers.cpus:g} each; lower count or cpus",
        )


def _vllm(recipe: Recipe, machine: Machine, subject: Subject | None) -> Iterator[Finding]:
    vllm, workers = recipe.rollouts.vllm, recipe.rollouts.workers
    there = machine.gpus if workers is None else int(workers.gpus)
    if vllm.gpus > max(there, 1):
        yield fault(
            CHECK,
            f"rollouts.vllm.gpus must be at most the {there} GPUs that it sees, got {vllm.gpus}; "
            "lower it",
        )
    elif workers is None and machine.processes > 1 and machine.processes % vllm.gpus:
        yield fault(
            CHECK,
            f"rollouts.vllm.gpus must divide the {machine.processes} training processes, got "
            f"{vllm.gpus}; change it",
        )
    if subject is None:
        return
    heads = subject.text_config.num_attention_heads
    if heads % vllm.gpus:
        yield fault(
            CHECK,
            f"rollouts.vllm.gpus must divide the model's {heads} attention heads, got "
            f"{vllm.gpus}; change it",
        )
    if not machine.gpus and subject.head_dim not in CPU_HEADS:
        yield fault(
            CHECK,
            f"attention heads must have one of {', '.join(map(str, CPU_HEADS))} features for vLLM "
            f'without a GPU, got {subject.head_dim}; set rollouts.engine to "hf"',
        )
