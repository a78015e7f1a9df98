"""V*-style annotations: images with a JSON file beside each, in folders named by category.

Each holds `question`, `options` of which the first is right, and `bbox` or `target_object` boxes as
left, top, width, height in pixels of the image (craigwu/vstar_bench, direct_attributes).
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from lookless.benchmarks.own import beside_images
from lookless.benchmarks.tables import Row, read_json
from lookless.data.reader import Broken, Found, Reader, Reading, guarded
from lookless.errors import DataError
from lookless.frames import Box, Frame


def load(path: Path, reading: Reading) -> Iterator[Found | Broken]:
    """Yield the question beside each image, folder by folder.

    Raises:
        DataError: If no folder holds any.
    """
    folders = [path, *sorted(f for f in path.iterdir() if f.is_dir())] if path.is_dir() else []
    pairs = [(folder, image) for folder in folders for image in beside_images(folder)]
    if not pairs:
        raise DataError(
            f"data must be a folder of images with a JSON file beside each, got {str(path)!r}; "
            "check the path"
        )
    for folder, image in pairs:
        category = "" if folder == path else folder.name
        yield guarded(f"{image.name!r}", partial(_question, image, category, reading))


def _question(image: Path, category: str, reading: Reading) -> Found:
    file = image.with_suffix(".json")
    row = Row(read_json(file), f"{image.name!r}", file.parent, advice="is it in V*'s form?")
    options = row.texts("options")
    if not options:
        raise row.wrong(("options",), "two or more", [])
    boxes = row.boxes("bbox") if row.has("bbox") and row.values["bbox"] != [] else ()
    frame = reading.frame_or(Frame.SOURCE, row.where)
    return Found(
        where=row.where,
        image=image,
        question=row.text("question"),
        answers=(options[0],),
        # The right one must not stand first: sorted, its place says nothing.
        options=tuple(sorted(options)),
        boxes=tuple(corners(box, frame) for box in boxes),
        category=category,
        id=f"{category}/{image.stem}" if category else image.stem,
    )


def corners(box: Box, frame: Frame) -> Box:
    """Return a box whose last two numbers are width and height by its corners.

    Example:
        >>> corners(Box(10, 20, 5, 6, Frame.SOURCE), Frame.SOURCE).coordinates
        (10, 20, 15, 26)
    """
    return replace(box, right=box.left + box.right, bottom=box.top + box.bottom, frame=frame)


READER = Reader("vstar", "V*'s training and test form: a JSON file beside each image", load)
