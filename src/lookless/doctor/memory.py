"""Whether training fits the memory that there is."""

from lookless.doctor.finding import Finding, fault, ok, warning
from lookless.doctor.machine import GIB, Machine
from lookless.doctor.model import Subject
from lookless.doctor.plan import (
    Load,
    Plan,
    Stage,
    device_plan,
    host_plan,
    largest_load,
    sizes_of,
    vllm_rollouts,
)  # fmt: skip
from lookless.recipe import Recipe

TIGHT = 0.9
"""Share of the memory above which a plan is too close to it: plans are estimates."""


def check_memory(
    stage: Stage, subject: Subject, recipe: Recipe, load: Load | None, machine: Machine
) -> list[Finding]:
    """Return the memory plan of a stage, one line for each part, and whether it fits.

    Args:
        stage: SFT or RL.
        subject: The model.
        recipe: The settings.
        load: Of a step; None where the data could not be read, and is taken to be large then.
        machine: Where it is to run.
    """
    check = f"memory of {stage.upper()}"
    sizes = sizes_of(subject)
    found = []
    if load is None:
        found.append(
            ok(check, "its data is not known; rows are taken to be as long as they may be")
        )
    load = load or largest_load(stage, subject, recipe, machine.processes)
    plan = device_plan(stage, sizes, recipe, load, machine)
    found += [
        ok(check, f"{part.bytes / GIB:.2f} GiB {part.name}")
        for part in plan.at(plan.fullest)
        if part.bytes > plan.bytes / 200
    ]
    if machine.gpus:
        found.append(_fits(check, plan, machine.gpu_bytes, "each GPU"))
        if machine.ram_bytes is not None:
            host = host_plan(sizes, recipe, load, machine)
            found.append(_fits(check, host, machine.ram_bytes, "the machine"))
    elif machine.ram_bytes is not None:
        found.append(_fits(check, plan, machine.ram_bytes, "the machine"))
    rollouts = recipe.rollouts
    if stage == "rl" and rollouts.engine == "vllm" and rollouts.workers is None:
        room, count = vllm_rollouts(sizes, recipe, machine)
        found.append(_room(check, recipe, room, count))
    return found


def _fits(check: str, plan: Plan, there: int, where: str) -> Finding:
    """Return whether a plan fits, with its largest part and what makes it smaller."""
    takes, phase = plan.bytes, plan.fullest
    need, has = f"{takes / GIB:.1f} GiB", f"{there / GIB:.1f} GiB"
    if takes <= TIGHT * there:
        return ok(check, f"{need} of the {has} of {where} at the fullest, in the phase {phase}")
    largest = plan.at(phase)[0]
    most = f"most of it needed for {largest.name}, {largest.bytes / GIB:.1f} GiB; {largest.remedy}"
    if takes > there:
        said = f"memory of {where} must be {need} for the phase {phase}, got {has}, {most}"
        return fault(check, said)
    return warning(
        check,
        f"memory of {where} must leave a tenth free, as plans are estimates, got {need} of {has} "
        f"in the phase {phase}, {most}",
    )


def _room(check: str, recipe: Recipe, room: float, count: float) -> Finding:
    """Return how many rollouts vLLM has under way at once."""
    vllm = recipe.rollouts.vllm
    if count < 1:
        return fault(
            check,
            f"vLLM must have room for a rollout of {vllm.max_context} tokens, got "
            f"{room / GIB:.1f} GiB for keys and values; raise rollouts.vllm.memory or cache_gib, "
            "or lower max_context",
        )
    at_once = min(int(count), vllm.max_rollouts)
    return ok(
        check,
        f"{room / GIB:.1f} GiB of vLLM hold {at_once} rollouts of {vllm.max_context} tokens at "
        f"once, of at most {vllm.max_rollouts}",
    )
