"""Files in the layouts of other projects, small, as their authors write them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from lookless.data.convert import ConvertConfig, Converted, convert
from lookless.data.reader import Reading
from lookless.data.readers.registry import READERS
from lookless.data.record import Record
from lookless.data.store import checked_records
from lookless.demonstrations import Demonstration, read_demonstrations
from lookless.runs import Step

WIDTH, HEIGHT = 400, 200


@contextmanager
def silent(title: str, total: int) -> Iterator[Step]:
    yield lambda done, note: None


def picture(file: Path, number: int = 0) -> Path:
    """Draw an image; each number gives another one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (WIDTH, HEIGHT), (20 * number % 255, 90, 200))
    draw = ImageDraw.Draw(image)
    x, y = 30 + 37 * number % 300, 20 + 53 * number % 140
    draw.ellipse((x, y, x + 40, y + 30), fill="white")
    draw.text((x + 10, y + 8), str(number), fill="black")
    image.save(file, quality=95)
    return file


def write_json(file: Path, content: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def write_lines(file: Path, rows: list[Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def write_parquet(file: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file


def converted(
    reader: str, path: Path, out: Path, reading: Reading | None = None, **settings: Any
) -> Converted:
    config = ConvertConfig(**settings)
    return convert(READERS[reader], path, out, reading or Reading(), config, silent)


def records_in(out: Path, name: str = "questions.jsonl") -> list[Record]:
    return list(checked_records(out / name))


def shown_in(out: Path) -> list[Demonstration]:
    return read_demonstrations(out / "demonstrations.jsonl")


def broken_in(out: Path) -> list[str]:
    file = out / "broken.jsonl"
    return [json.loads(line)["why"] for line in file.read_text().splitlines()]
