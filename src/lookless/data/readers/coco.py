"""COCO's form: one JSON file with `images`, `annotations` and `categories`.

Boxes are left, top, width, height in pixels. An annotation with a `question` and an `answer` is
asked as it stands, its box being the evidence. Where none has a question, `--option ask=count` asks
how many there are of each category that is in an image, except where a crowd of it is, as crowds
are not counted. `--option images=FOLDER` says where the images are, if not beside the file.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
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
    images = {row.values.get("id"): row for row in parts["images"]}
    root = Path(reading.options.get("images", str(path.parent)))
    asked = [row for row in parts["annotations"] if row.has("question")]
    if asked:
        for row in asked:
            yield guarded(row.where, partial(_asked, row, images, root, reading))
        return
    if reading.options.get("ask") != "count":
        raise ConfigError(
            "annotations must hold questions, or be counted, got none with a question; "
            "say --option ask=count"
        )
    names = {row.values.get("id"): row for row in _rows(whole, "categories", path)}
    grouped: dict[tuple[Any, Any], list[Row]] = defaultdict(list)
    for row in parts["annotations"]:
        grouped[row.values.get("image_id"), row.values.get("category_id")].append(row)
    for (image, category), rows in grouped.items():
        if any(row.values.get("iscrowd") for row in rows):
            continue
        where = f"{rows[0].where} (image {image}, category {category})"
        yield guarded(where, partial(_counted, where, rows, images, names, root, reading))


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


def _asked(row: Row, images: Mapping[Any, Row], root: Path, reading: Reading) -> Found:
    frame = reading.frame_or(Frame.SOURCE, row.where)
    return Found(
        where=row.where,
        image=_image(row, images, root),
        question=row.text("question"),
        answers=row.answers("answer"),
        boxes=tuple(corners(box, frame) for box in row.boxes("bbox")),
        category=row.optional("category") or "",
        id=row.optional("id"),
    )


def _counted(
    where: str,
    rows: list[Row],
    images: Mapping[Any, Row],
    names: Mapping[Any, Row],
    root: Path,
    reading: Reading,
) -> Found:
    first = rows[0]
    category = first.values.get("category_id")
    if category not in names:
        raise first.wrong(("category_id",), "that of a category", category)
    name = names[category].text("name")
    frame = reading.frame_or(Frame.SOURCE, where)
    return Found(
        where=where,
        image=_image(first, images, root),
        question=COUNT.format(name=name),
        answers=(str(len(rows)),),
        boxes=tuple(corners(box, frame) for row in rows for box in row.boxes("bbox")),
        category=name,
    )


def _image(row: Row, images: Mapping[Any, Row], root: Path) -> Path:
    name = row.values.get("image_id")
    if name not in images:
        raise row.wrong(("image_id",), "that of an image", name)
    return images[name].file("file_name", under=root, is_anywhere=True)


READER = Reader("coco", "COCO's instances: questions of annotations, or counts of categories", load)
