"""The examination of a recipe: every check that can run, in the order in which training would."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lookless.doctor import demonstrations, questions
from lookless.doctor.coordinates import check_coordinates
from lookless.doctor.devices import check_devices
from lookless.doctor.finding import Finding, fault, ok, warning
from lookless.doctor.machine import Machine
from lookless.doctor.memory import check_memory
from lookless.doctor.model import CHECK as MODEL
from lookless.doctor.model import Subject, check_weights, open_subject
from lookless.doctor.plan import Load, Stage
from lookless.doctor.prompts import check_prompts
from lookless.doctor.versions import Versions, check_versions
from lookless.errors import LooklessError
from lookless.recipe import Recipe
from lookless.vlm.hub import checkpoint_folder

CHECK = "recipe"
NEEDED: dict[Stage, str] = {"sft": "demonstrations", "rl": "questions"}
"""The data of each stage."""
STAGES: dict[str, tuple[Stage, ...]] = {"sft": ("sft",), "rl": ("rl",), "both": ("sft", "rl")}
"""What can be asked for."""
T = TypeVar("T")


def examine(
    recipe: Recipe,
    stages: tuple[Stage, ...],
    machine: Machine,
    versions: Versions,
    cache: Path,
) -> list[Finding]:
    """Return what was found; what cannot be checked because of a fault before it is left out.

    Nothing is trained, and no weight is read.

    Args:
        recipe: The settings.
        stages: Which are to run; of several, one whose data is not set is left out.
        machine: Where they are to run.
        versions: What is installed.
        cache: Folder for images that come inside tables.
    """
    found: list[Finding] = []
    chosen = _stages(found, recipe, stages)
    found += _settings(recipe, chosen, machine)
    found += check_versions(recipe, chosen, versions)
    subject = _tried(
        found, MODEL, lambda: open_subject(checkpoint_folder(recipe.model), recipe.pixels)
    )
    if subject is not None:
        found += _tried(found, MODEL, lambda: check_weights(subject)) or []
        found += check_prompts(subject, recipe, chosen)
        found += check_coordinates(subject)
    found += check_devices(recipe, chosen, machine, subject)
    loads: dict[Stage, Load | None] = {}
    if "sft" in chosen:
        loads["sft"] = _sft(found, recipe, subject, machine)
    if "rl" in chosen:
        loads["rl"] = _rl(found, recipe, subject, machine, cache)
    for stage, load in loads.items():
        if subject is not None:
            found += check_memory(stage, subject, recipe, load, machine)
    return found


def _tried(found: list[Finding], check: str, make: Callable[[], T]) -> T | None:
    """Return what a check makes; a user's mistake becomes a fault, and gives None."""
    try:
        return make()
    except LooklessError as error:
        found.append(fault(check, " ".join(str(error).split())))
        return None


def _stages(found: list[Finding], recipe: Recipe, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """Return the stages that can be looked at, and say which cannot."""
    chosen = tuple(s for s in stages if getattr(recipe.data, NEEDED[s]) is not None)
    for stage in stages:
        if stage not in chosen:
            name = f"data.{NEEDED[stage]}"
            message = f"{name} must be a file or folder for {stage}, got none; set {name}"
            found.append((warning if chosen else fault)(CHECK, message))
    return chosen


def _settings(recipe: Recipe, stages: tuple[Stage, ...], machine: Machine) -> list[Finding]:
    """Return settings that cannot be shared out among the processes."""
    counts = {"sft": ("sft.batch", recipe.sft.batch), "rl": ("rl.queries", recipe.rl.queries)}
    found = [
        fault(
            CHECK,
            f"{name} must be at least one for each of {machine.processes} processes, got {count}; "
            "raise it, or start fewer",
        )
        for name, count in (counts[stage] for stage in stages)
        if count < machine.processes
    ]
    return found or [ok(CHECK, f"settings go together, for {' and '.join(stages) or 'no stage'}")]


def _sft(
    found: list[Finding], recipe: Recipe, subject: Subject | None, machine: Machine
) -> Load | None:
    """Add what is to be said of SFT's data; return what a step brings with it."""
    data = recipe.data

    def examined(check: str, file: Path) -> demonstrations.Examined | None:
        make = demonstrations.examine_demonstrations
        one = _tried(found, check, lambda: make(check, file, subject, recipe, machine.processes))
        found.extend(one.findings if one else ())
        return one

    assert data.demonstrations is not None
    shown = examined("demonstrations", data.demonstrations)
    held_out = examined("held out", data.held_out) if data.held_out else None
    if shown and held_out:
        found += demonstrations.check_held_out(shown.demonstrations, held_out.demonstrations)
    return shown.load if shown else None


def _rl(
    found: list[Finding], recipe: Recipe, subject: Subject | None, machine: Machine, cache: Path
) -> Load | None:
    """Add what is to be said of RL's data; return what a step brings with it."""
    data = recipe.data

    def examined(check: str, file: Path) -> questions.Examined | None:
        make = questions.examine_questions
        one = _tried(
            found, check, lambda: make(check, file, subject, recipe, machine.processes, cache)
        )
        found.extend(one.findings if one else ())
        return one

    assert data.questions is not None
    asked = examined("questions", data.questions)
    validation = examined("validation", data.validation) if data.validation else None
    if asked:
        found += questions.check_repeats(len(asked.questions), recipe)
    if asked and validation:
        found += questions.check_overlap(asked.questions, validation.questions)
    return asked.load if asked else None
