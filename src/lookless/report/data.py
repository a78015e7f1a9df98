"""What every run's records say: files that are there or not, confusion tables, examples."""

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lookless.episode import LookOutcome, StopReason
from lookless.runs import read_jsonl
from lookless.statistics.confusion import Confusion
from lookless.training.rl_metrics import SIZE_BINS_PX

TRAJECTORIES = 12

Record = dict[str, Any]

VERDICTS: tuple[tuple[str, str, Callable[[bool, bool, bool | None], bool]], ...] = (
    (
        "Wrong: a look was needed and not taken",
        "bad",
        lambda right, used, need: not right and need is True and not used,
    ),
    (
        "Wrong although it looked",
        "bad",
        lambda right, used, need: not right and used and need is not False,
    ),
    ("Wrong after a look that was not needed", "bad", lambda right, used, need: not right and used),
    (
        "Wrong although the overview was enough",
        "bad",
        lambda right, used, need: not right and need is False,
    ),
    ("Wrong without a look", "bad", lambda right, used, need: not right),
    (
        "Right, with a look that was not needed",
        "spare",
        lambda right, used, need: used and need is False,
    ),
    (
        "Right without the look that it needed",
        "spare",
        lambda right, used, need: need is True and not used,
    ),
    ("Right with the look that it needed", "good", lambda right, used, need: need is True),
    ("Right after a look", "good", lambda right, used, need: used),
    ("Right from the overview", "good", lambda right, used, need: True),
)
"""What can come of a question, worst first: title, tone, and when it is so; the first counts.

Where the need is not known, nothing is said of it.
"""


@dataclass
class Records:
    """Reads a run's files and notes those that are not there."""

    run: Path
    missing: set[str] = field(default_factory=set)
    """What could not be read, with the reason if it is another than that there is no such file."""

    def json(self, name: str) -> Record | None:
        """Return a file's object, or None."""
        try:
            loaded = json.loads((self.run / name).read_text())
        except (FileNotFoundError, NotADirectoryError):
            self.missing.add(name)
        except ValueError:
            self.missing.add(f"{name} (not JSON)")
        else:
            if isinstance(loaded, dict):
                return loaded
            self.missing.add(f"{name} (not a JSON object)")
        return None

    def jsonl(self, name: str) -> list[Record]:
        """Return a file's rows, none if there is no such file."""
        if self.has(name):
            return read_jsonl(self.run / name)
        return []

    def has(self, name: str) -> bool:
        """Return whether there is such a file."""
        if (self.run / name).is_file():
            return True
        self.missing.add(name)
        return False


def confusion_tables(answered: Sequence[Record]) -> dict[str, list[Record]]:
    """Return looks against need over all questions, by family, and by size of the detail."""
    return {
        "all": confusion_rows(answered, lambda question: "all questions"),
        "family": confusion_rows(answered, lambda question: question["family"] or "unnamed"),
        "detail": confusion_rows(answered, _size_class),
    }


def confusion_rows(answered: Iterable[Record], class_of: Callable[[Record], str]) -> list[Record]:
    """Return looked-or-not by needed-or-not and accuracy for each class of questions.

    Questions of unknown need and faults are left out; undecidable grades do not count in the
    accuracy.
    """
    classes: dict[str, list[Record]] = {}
    for one in answered:
        is_known = one["question"]["needs_look"] is not None
        if is_known and one["rollout"]["stop"] != StopReason.FAULT:
            classes.setdefault(class_of(one["question"]), []).append(one)
    rows = []
    for name, part in sorted(classes.items(), key=lambda item: _natural(item[0])):
        confusion = Confusion.of(
            [is_used(a["rollout"]) for a in part], [a["question"]["needs_look"] for a in part]
        )
        grades = [a["grade"] for a in part if a["grade"] is not None]
        rows.append(
            {
                "class": name,
                "n": len(part),
                "needed_looked": confusion.true_positive,
                "needed_not_looked": confusion.false_negative,
                "not_needed_looked": confusion.false_positive,
                "not_needed_not_looked": confusion.true_negative,
                "accuracy": sum(grades) / len(grades) if grades else None,
            }
        )
    return rows


def _size_class(question: Record) -> str:
    """Return the bin of a question's detail size, the one that the training curves use."""
    size = question["detail_px"]
    if size is None:
        return "unknown"
    low = max(edge for edge in SIZE_BINS_PX if edge <= size)
    return bin_name(low)


def bin_name(low: float) -> str:
    """Return the name of the bin of detail size that begins at `low`, one of SIZE_BINS_PX."""
    high = next(edge for edge in SIZE_BINS_PX if edge > low)
    return f"{low:g} to {high:g} px" if math.isfinite(high) else f"from {low:g} px"


def _natural(name: str) -> tuple[float, str]:
    """Return a key that sorts names by the first number in them, those without one first."""
    number = re.search(r"\d+", name)
    return (float(number[0]) if number else -1.0), name


def chosen_trajectories(answered: Iterable[Record], count: int = TRAJECTORIES) -> list[Record]:
    """Return evaluated questions with their verdicts, taken in turn from each, worst verdict first.

    Questions whose grade is undecidable are left out.
    """
    by_verdict: list[list[Record]] = [[] for _ in VERDICTS]
    for one in answered:
        if one["grade"] is None:
            continue
        facts = (one["grade"] > 0.5, is_used(one["rollout"]), one["question"]["needs_look"])
        place = next(k for k, (_, _, holds) in enumerate(VERDICTS) if holds(*facts))
        by_verdict[place].append({"verdict": VERDICTS[place][0], "tone": VERDICTS[place][1]} | one)
    shares = [0] * len(VERDICTS)
    while sum(shares) < count and any(s < len(b) for s, b in zip(shares, by_verdict, strict=True)):
        for place, found in enumerate(by_verdict):
            if shares[place] < len(found) and sum(shares) < count:
                shares[place] += 1
    return [one for share, found in zip(shares, by_verdict, strict=True) for one in found[:share]]


def is_used(rollout: Record) -> bool:
    """Return whether a look was executed."""
    return any(look["outcome"] == LookOutcome.EXECUTED for look in rollout["looks"])


def finite(twin: Record) -> Record:
    """Return JSON data with numbers that JSON does not know (NaN, infinity) as None."""
    return {key: _finite(item) for key, item in twin.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return finite(value)
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
