"""COCO's form: one JSON file with `images`, `annotations` and `categories`.

Boxes are left, top, width, height in pixels. An annotation with a `question` and an `answer` is
asked as it stands, its box being the evidence. Where none has a question, `--option ask=count` asks
how many there are of each category that is in an image, except where a crowd of it is, as crowds
are not counted. `--option images=FOLDER` says where the images are, if not beside the file.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lookless.benchmarks.tables import Row, read_json
from lookless.data.reader import Broken, Found, Reader, Reading, guarded
from lookless.data.readers.vstar import corners
from lookless.errors import ConfigError, DataError
from lookless.frames import Frame

COUNT = "How many of these are in the image: {name}?"
_ADVICE = "is it in COCO's form?"


def load(path: Path, reading: Reading) -> Iterator[Found | Broken]:
    """Yield the questions of annotations, or those that are asked about categories.

    Raises:
        DataError: If the file is not in COCO's form.
        ConfigError: If annotations ask nothing, and it is not said what to ask.
    """
    whole = read_json(path)
    parts = {name: _rows(whole, name, path) for name in ("images", "annotations")}
    images = {_key(row, "id"): row for row in parts["images"]}
    asked = [row for row in parts["annotations"] if row.has("question")]
    if asked:
        for row in asked:
            yield guarded(row.where, partial(_asked, row, images, reading))
        return
    if reading.options.get("ask", "count") != "count":
        raise ConfigError(f"option ask must be count, got {reading.options['ask']!r}")
    if "ask" not in reading.options:
        raise ConfigError(
            "annotations must hold questions, or be counted, got none with a question; "
            "say --option ask=count"
        )
    names = {_key(row, "id"): row for row in _rows(whole, "categories", path)}
    grouped: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in parts["annotations"]:
        grouped[_key(row, "image_id"), _key(row, "category_id")].append(row)
    for rows in grouped.values():
        if not any(row.values.get("iscrowd") for row in rows):
            yield guarded(rows[0].where, partial(_counted, rows, images, names, reading))


def _key(row: Row, name: str) -> str:
    """Return what tells an id from others, whatever it is."""
    return repr(row.values.get(name))


def _rows(whole: Mapping[str, Any], name: str, path: Path) -> list[Row]:
    found = whole.get(name)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise DataError(
            f"{path.name!r} must have a list of objects as {name!r}, got "
            f"{type(found).__name__}; {_ADVICE}"
        )
    return [
        Row(one, f"{path.name!r} {name} {k}", path.parent, advice=_ADVICE)
        for k, one in enumerate(found, 1)
    ]


def _asked(row: Row, images: Mapping[str, Row], reading: Reading) -> Found:
    frame = reading.frame_or(Frame.SOURCE, row.where)
    return Found(
        where=row.where,
        image=_image(row, images, reading),
        size=_size(row, images),
        question=row.text("question"),
        answers=row.answers("answer"),
        boxes=tuple(corners(box, frame) for box in row.boxes("bbox")),
        category=row.optional("category") or "",
        id=row.optional("id"),
    )


def _counted(
    rows: list[Row], images: Mapping[str, Row], names: Mapping[str, Row], reading: Reading
) -> Found:
    first = rows[0]
    category = _key(first, "category_id")
    if category not in names:
        raise first.wrong(("category_id",), "that of a category", category)
    name = names[category].text("name")
    frame = reading.frame_or(Frame.SOURCE, first.where)
    return Found(
        where=first.where,
        image=_image(first, images, reading),
        size=_size(first, images),
        question=COUNT.format(name=name),
        answers=(str(len(rows)),),
        boxes=tuple(corners(box, frame) for row in rows for box in row.boxes("bbox")),
        category=name,
    )


def _image(row: Row, images: Mapping[str, Row], reading: Reading) -> Path:
    name = _key(row, "image_id")
    if name not in images:
        raise row.wrong(("image_id",), "that of an image", name)
    return reading.image(replace(images[name], where=row.where), "file_name",
                         images[name].text("file_name"))  # fmt: skip


def _size(row: Row, images: Mapping[str, Row]) -> tuple[int, int] | None:
    """Return the size that the file states for an image, if it does."""
    stated = images.get(_key(row, "image_id"))
    if stated is None or not (stated.has("width") and stated.has("height")):
        return None
    return stated.integer("width"), stated.integer("height")


READER = Reader(
    "coco",
    "COCO's instances: questions of annotations, or counts of categories",
    load,
    ("images", "ask"),
)
