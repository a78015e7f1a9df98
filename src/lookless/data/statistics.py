"""What a folder of records and demonstrations holds, in numbers."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from lookless.data.record import Record
from lookless.data.store import DEMONSTRATIONS, HELD_OUT, checked_records, record_files
from lookless.demonstrations import Demonstration, read_demonstrations
from lookless.errors import DataError

AREAS = (0.0001, 0.001, 0.01, 0.1)
"""Bounds of the shares of an image's area that evidence is counted by."""
WORDS = (5, 10, 20, 40, 80)
"""Bounds of the lengths of questions in words."""
MEGAPIXELS = (0.25, 1, 4, 16)
SAMPLES = 12


def statistics(folder: Path) -> dict[str, Any]:
    """Return counts of what a folder holds, with samples of it.

    Memory holds counts and samples of records, not all of them.

    Raises:
        DataError: If a row is wrong, or there is nothing.
    """
    try:
        files = record_files(folder)
    except DataError:
        files = []
    shown_files = [name for name in (DEMONSTRATIONS, HELD_OUT) if (folder / name).is_file()]
    if not files and not shown_files:
        raise DataError(
            f"data must hold records or demonstrations, got {str(folder)!r} without; "
            "make some with `lookless convert`"
        )
    found: dict[str, Any] = {
        "files": {},
        "images": 0,
        "categories": [],
        "bins": {},
        "need": None,
        "samples": [],
        "demonstrations": {},
        "shown": [],
    }
    if files:
        _records(files, found)
    for name in shown_files:
        shown = read_demonstrations(folder / name)
        found["demonstrations"][name] = _shown(shown)
        if name == DEMONSTRATIONS:
            found["shown"] = [one.model_dump(mode="json") for one in spread(shown)]
    return found


def spread(rows: Sequence[Any], count: int = SAMPLES) -> list[Any]:
    """Return some rows, evenly spread.

    Example:
        >>> spread(range(100), 4)
        [12, 37, 62, 87]
    """
    if len(rows) <= count:
        return list(rows)
    return [rows[int((k + 0.5) * len(rows) / count)] for k in range(count)]


def binned(values: Iterable[float], bounds: Sequence[float], unit: str) -> dict[str, int]:
    """Return how many values lie below the first bound, between two, and from the last one on.

    Example:
        >>> binned([1, 7, 7, 90], (5, 10), "words")
        {'below 5 words': 1, '5 to 10': 2, '10 or more': 1}
    """
    names = [f"below {bounds[0]:g} {unit}".strip()]
    names += [f"{low:g} to {high:g}" for low, high in pairwise(bounds)]
    names.append(f"{bounds[-1]:g} or more")
    counts = dict.fromkeys(names, 0)
    for value in values:
        counts[names[sum(value >= bound for bound in bounds)]] += 1
    return counts


def _records(files: Sequence[Path], found: dict[str, Any]) -> None:
    images: dict[str, float] = {}
    words: list[int] = []
    areas: list[float] = []
    kinds: Counter[str] = Counter()
    needs: Counter[str] = Counter()
    by_category: dict[str, Counter[str]] = {}
    without_boxes = options = 0
    rng = random.Random(0)
    for file in files:
        count = 0
        held: list[Record] = []
        for record in checked_records(file):
            count += 1
            images[record.sha256] = record.width * record.height / 1e6
            words.append(len(record.question.split()))
            kinds[record.category] += 1
            options += bool(record.options)
            without_boxes += not record.boxes
            areas += [_area(box) / (record.width * record.height) for box in record.boxes]
            label = _need(record)
            needs[label] += 1
            by_category.setdefault(record.category, Counter())[label] += 1
            if file == files[0]:
                _sample(held, record, count, rng)
        found["files"][file.name] = count
        if file == files[0]:
            found["samples"] = [_row(record, file.parent) for record in held]
    found["images"] = len(images)
    found["with_options"], found["without_boxes"] = options, without_boxes
    found["categories"] = [
        {"category": name or "none", "questions": count, **_rates(by_category[name])}
        for name, count in kinds.most_common()
    ]
    found["bins"] = {
        "words": binned(words, WORDS, "words"),
        "megapixels": binned(images.values(), MEGAPIXELS, "megapixels"),
        "evidence": binned((100 * a for a in areas), [100 * a for a in AREAS], "% of the image"),
    }
    if needs.keys() - {"unknown"}:
        found["need"] = _rates(needs)


def _sample(held: list[Record], record: Record, count: int, rng: random.Random) -> None:
    """Keep some of the rows, each with the same chance, however many come."""
    if len(held) < SAMPLES:
        held.append(record)
    elif (place := rng.randrange(count)) < SAMPLES:
        held[place] = record


def _area(box: tuple[float, float, float, float]) -> float:
    left, top, right, bottom = box
    return (right - left) * (bottom - top)


def _need(record: Record) -> str:
    if record.need is None:
        return "unknown"
    return {True: "needed", False: "not needed", None: "undecided"}[record.need.label]


def _rates(counts: Counter[str]) -> dict[str, Any]:
    decided = counts["needed"] + counts["not needed"]
    return {
        "need_rate": counts["needed"] / decided if decided else None,
        "undecided": counts["undecided"],
    }


def _row(record: Record, folder: Path) -> dict[str, Any]:
    return {
        "id": record.id,
        "image": str((folder / record.image).resolve()),
        "text": record.question,
        "answer": ", ".join(record.answer),
        "options": list(record.options),
        "boxes": [list(box) for box in record.boxes],
        "category": record.category,
        "need": None if record.need is None else record.need.model_dump(mode="json"),
    }


def _shown(shown: Sequence[Demonstration]) -> dict[str, Any]:
    looks = Counter(len(one.turns) - 1 for one in shown)
    mistakes = sum(
        any(turn.look is not None and turn.look.is_mistake for turn in one.turns) for one in shown
    )
    return {
        "count": len(shown),
        "modes": dict(Counter(one.mode.value for one in shown).most_common()),
        "looks": {str(number): looks[number] for number in sorted(looks)},
        "mistakes": mistakes,
        "characters": binned(
            (sum(len(turn.say) for turn in one.turns) for one in shown),
            (50, 100, 200, 400, 800),
            "characters",
        ),
    }
