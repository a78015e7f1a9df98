"""Small official-looking files, with drawn images and made-up questions."""

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from lookless.benchmarks.benchmark import Benchmark, Entry, Graded, Metric
from lookless.benchmarks.tables import Files

Rows = Sequence[Mapping[str, Any]]


def picture(shade: int = 0) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), (shade, 90, 200)).save(stream, "PNG")
    return stream.getvalue()


def as_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def feature(shade: int = 0) -> dict[str, Any]:
    """An image as the hub's parquet files hold it."""
    return {"bytes": picture(shade), "path": None}


def image_file(path: Path, shade: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(shade))
    return path


def tsv(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)
    return path


def parquet(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)
    return path


def lines(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def listed(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(list(rows)))
    return path


def without(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


def loaded(benchmark: Benchmark, path: Path, with_images: bool = True) -> list[Entry]:
    return list(benchmark.load(Files(path, with_images)))


def metrics(
    benchmark: Benchmark, entries: Sequence[Entry], texts: Sequence[str], samples: int = 1
) -> dict[str, Metric]:
    """Metrics of one text for each entry; with `samples`, the texts of each entry in turn."""
    graded = [
        Graded(entry.question, benchmark.grade(entry.question, text), k)
        for i, entry in enumerate(entries)
        for k, text in enumerate(texts[i * samples : (i + 1) * samples])
    ]
    return {metric.name: metric for metric in benchmark.score(graded)}


def values(found: Mapping[str, Metric]) -> dict[str, float | None]:
    return {
        name: None if metric.value is None else round(metric.value, 6)
        for name, metric in found.items()
    }


def golds(entries: Sequence[Entry]) -> list[str]:
    return [entry.question.answer for entry in entries]
