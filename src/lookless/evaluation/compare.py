"""Two evaluations on the same questions, example by example, if their protocols agree."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookless.errors import DataError, RunError
from lookless.evaluation.answered import Answered
from lookless.evaluation.config import MODES
from lookless.evaluation.journal import read_answers
from lookless.evaluation.protocol import differences
from lookless.evaluation.results import compared
from lookless.evaluation.run import RESULTS, SAMPLES
from lookless.statistics.paired import holm

_SHOWN_CHARS = 60


@dataclass(frozen=True)
class Run:
    """A finished evaluation."""

    folder: Path
    results: dict[str, Any]

    def answers(self) -> dict[str, list[Answered]]:
        """Return its answers by mode."""
        return read_answers(self.folder / SAMPLES, list(self.results["modes"]))


def compare(
    first: Path, second: Path, margin: float, ignored: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return how the second run differs from the first, for each benchmark and mode of both.

    Each folder holds one evaluation, or one in each of its own folders; those of the same benchmark
    are paired. Only questions that both decided count. p-values are adjusted by Holm's method over
    the benchmarks, for each mode by itself.

    Args:
        first: Folder of the run that is compared with.
        second: Folder of the other run.
        margin: Loss of accuracy that would not matter.
        ignored: What of the protocols may differ, by dotted names: `versions`, `limits.max_looks`.

    Raises:
        RunError: If a folder holds no finished evaluation, nothing can be paired, or the protocols
            differ in what is not ignored.
    """
    ours, theirs = runs_in(first), runs_in(second)
    shared = [name for name in ours if name in theirs]
    if not shared:
        raise RunError(
            f"runs must share a benchmark, got {', '.join(ours)} and {', '.join(theirs)}; "
            "compare runs of the same one"
        )
    rows: list[dict[str, Any]] = []
    for name in shared:
        rows += _pairs(ours[name], theirs[name], margin, ignored)
    for mode in dict.fromkeys(row["mode"] for row in rows):
        own = [row for row in rows if row["mode"] == mode]
        adjusted = holm({row["benchmark"]: row["p"] for row in own})
        for row in own:
            row["p_holm"] = adjusted[row["benchmark"]]
    return rows


def runs_in(folder: Path) -> dict[str, Run]:
    """Return the finished evaluations in a folder by the names of their benchmarks.

    Raises:
        RunError: If there are none, or two of one benchmark.
    """
    places = [folder, *sorted(folder.iterdir())] if folder.is_dir() else []
    runs: dict[str, Run] = {}
    for place in places:
        if not (place / RESULTS).is_file() or not (place / SAMPLES).is_file():
            continue
        run = Run(place, _results(place / RESULTS))
        name = run.results["benchmark"]
        if name in runs:
            raise RunError(
                f"a folder must hold one run of {name}, got {runs[name].folder} and {place}; "
                "name one of them"
            )
        runs[name] = run
        if place == folder:
            break
    if not runs:
        raise RunError(
            f"run must be a folder that `lookless eval` finished, got {str(folder)!r}; check the "
            "path, or finish it with --resume"
        )
    return runs


def _results(file: Path) -> dict[str, Any]:
    try:
        loaded = json.loads(file.read_text())
        is_ours = loaded["benchmark"] and set(loaded["modes"]) <= set(loaded["protocol"]["prompts"])
    except (OSError, ValueError, TypeError, KeyError):
        is_ours = False
    if not is_ours:
        raise RunError(
            f"results must be of `lookless eval`, got others in {str(file)!r}; name another folder"
        )
    results: dict[str, Any] = loaded
    return results


def _pairs(first: Run, second: Run, margin: float, ignored: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row for each mode that both runs have."""
    modes = [mode for mode in MODES if mode in first.results["modes"]]
    modes = [mode for mode in modes if mode in second.results["modes"]]
    if not modes:
        raise RunError(
            f"runs must share a mode, got {', '.join(first.results['modes'])} and "
            f"{', '.join(second.results['modes'])}; evaluate one of them in more modes"
        )
    _check_protocols(first, second, modes, ignored)
    ours, theirs = first.answers(), second.answers()
    rows = []
    for mode in modes:
        row = compared(ours[mode], theirs[mode], margin)
        if row is None:
            raise DataError(
                f"runs must share questions, got none in {first.folder} and {second.folder}; "
                "compare runs of the same ones"
            )
        rows.append({"benchmark": first.results["benchmark"], "mode": mode, **row})
    return rows


def _check_protocols(first: Run, second: Run, modes: Sequence[str], ignored: Sequence[str]) -> None:
    ours, theirs = (_protocol(run.results["protocol"], modes) for run in (first, second))
    unknown = [name for name in ignored if not (_has(ours, name) or _has(theirs, name))]
    if unknown:
        raise RunError(
            f"ignored parts must be of the protocol, got {unknown[0]!r}; there is "
            f"{', '.join(sorted(ours.keys() | theirs.keys()))}"
        )
    found = {
        name: values
        for name, values in differences(ours, theirs).items()
        if not any(name == one or name.startswith(f"{one}.") for one in ignored)
    }
    if found:
        said = "; ".join(f"{name} {_parts(a, b)}" for name, (a, b) in found.items())
        options = " ".join(f"--ignore {name}" for name in found)
        raise RunError(
            f"runs must share their protocol, got {said}; evaluate one again, or say {options} if "
            "that cannot matter"
        )


def _has(protocol: Mapping[str, Any], name: str) -> bool:
    """Return whether a protocol has a part of this dotted name."""
    first, _, rest = name.partition(".")
    value = protocol.get(first)
    return first in protocol and (not rest or (isinstance(value, Mapping) and _has(value, rest)))


def _protocol(protocol: Mapping[str, Any], modes: Sequence[str]) -> dict[str, Any]:
    """Return what of a protocol concerns some modes; the hash says no more than the rest."""
    prompts = {mode: protocol["prompts"][mode] for mode in modes}
    return {**{k: v for k, v in protocol.items() if k != "hash"}, "prompts": prompts}


def _parts(first: Any, second: Any) -> str:
    """Return two values that differ, long ones from shortly before where they do.

    Example:
        >>> _parts("a" * 100 + "b", "a" * 100 + "c")
        "'...aaaaaaaaaab' and '...aaaaaaaaaac'"
        >>> _parts(1, None)
        '1 and None'
    """
    if not (isinstance(first, str) and isinstance(second, str)):
        return f"{first!r} and {second!r}"
    pairs = enumerate(zip(first, second, strict=False))
    same = next((k for k, (a, b) in pairs if a != b), min(len(first), len(second)))
    start = max(same - 10, 0) if max(len(first), len(second)) > _SHOWN_CHARS else 0
    shown = []
    for text in (first, second):
        rest = text[start : start + _SHOWN_CHARS]
        end = "..." if len(text) > start + _SHOWN_CHARS else ""
        shown.append(repr(f"{'...' if start else ''}{rest}{end}"))
    return " and ".join(shown)
