"""A folder of records: images once each, named by what they hold, and the lines about them."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from lookless.benchmarks.stored import Embedded, Reference, Stored, decoded
from lookless.benchmarks.tables import Files
from lookless.data.record import Record
from lookless.errors import DataError, ImageError, wrong_setting
from lookless.images import DEFAULT_LIMITS, Source

QUESTIONS, VALIDATION = "questions", "validation"
"""Names of the files of records, without their kind."""
DEMONSTRATIONS, HELD_OUT = "demonstrations.jsonl", "held_out.jsonl"
BROKEN, IMAGES = "broken.jsonl", "images"
KINDS = (".jsonl", ".parquet")
_NAME_DIGITS = 32
_MODE = 0o644
"""Of files that are written; a link has that of the original."""
_SUFFIXES = {
    "JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "GIF": ".gif",
    "TIFF": ".tif",
}  # fmt: skip


@dataclass(frozen=True)
class Kept:
    """An image in the folder."""

    path: str
    """Relative to the folder."""
    sha256: str
    width: int
    height: int


class ImageStore:
    """Keeps each distinct image once, under a name made of its content."""

    def __init__(self, folder: Path, *, link: bool = False) -> None:
        """Keep images below `folder`.

        Args:
            folder: Of the records.
            link: Whether a file becomes a hard link where that is possible, instead of a copy; who
                changes the original in place then changes what is kept.
        """
        self.folder = folder
        self.link = link
        for part in (folder / IMAGES).glob("*/*.part"):  # of one that was killed
            part.unlink(missing_ok=True)
        self._kept: dict[str, Kept] = {}
        self._known: dict[tuple[str, int, int], str] = {}
        """Hashes of files that were seen, by path, time of change and size."""

    def __len__(self) -> int:
        """Return the number of distinct images."""
        return len(self._kept)

    def add(self, stored: Stored) -> Kept:
        """Return an image as it is kept.

        Raises:
            DataError: If it is another row's, or base64 text is damaged.
            ImageError: If it is missing, damaged, or too large to be opened.
        """
        if isinstance(stored, Reference):
            raise DataError(f"{stored.where} must be an image, got the index of another row's")
        if isinstance(stored, Embedded):
            data = decoded(stored)
            sha256 = hashlib.sha256(data).hexdigest()
            return self._kept.get(sha256) or self._added(sha256, data)
        sha256 = self.hash_of(stored)
        return self._kept.get(sha256) or self._added(sha256, stored)

    def hash_of(self, file: Path) -> str:
        """Return the SHA-256 of a file, read once.

        Raises:
            ImageError: If it is missing, too large, or cannot be read.
        """
        Source(file)  # says what is wrong with a file that is none
        found = file.stat()
        key = (str(file), found.st_mtime_ns, found.st_size)
        if key not in self._known:
            if found.st_size > DEFAULT_LIMITS.max_bytes:
                raise ImageError(
                    f"image must be at most {DEFAULT_LIMITS.max_bytes} bytes, got {found.st_size} "
                    f"of {str(file)!r}; use a smaller one"
                )
            try:
                with file.open("rb") as stream:
                    self._known[key] = hashlib.file_digest(stream, "sha256").hexdigest()
            except OSError as error:
                raise ImageError(
                    f"image must be a file that can be read, got {str(file)!r}: {error.strerror}"
                ) from None
        return self._known[key]

    def _added(self, sha256: str, content: Path | bytes) -> Kept:
        """Keep what a file or bytes hold, if it is an image."""
        folder = self.folder / IMAGES / sha256[:2]
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(".part", dir=folder)
        os.close(handle)
        part = Path(name)
        try:
            if isinstance(content, bytes):
                part.write_bytes(content)
                part.chmod(_MODE)
            else:
                _copied(content, part, link=self.link)
            source = Source(part)
            width, height = source.size
            file = folder / f"{sha256[:_NAME_DIGITS]}{_SUFFIXES[source.format]}"
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
        kept = Kept(str(file.relative_to(self.folder).as_posix()), sha256, width, height)
        self._kept[sha256] = kept
        return kept


def _copied(file: Path, to: Path, *, link: bool) -> None:
    if link:
        to.unlink()
        try:
            to.hardlink_to(file.resolve())  # a link to a link would be lost with it
        except OSError:  # another file system
            link = False
    if not link:
        shutil.copyfile(file, to)
        to.chmod(_MODE)


def record_files(path: Path, *, is_needed: bool = True) -> list[Path]:
    """Return the files of records in a folder, or the one that is named.

    Raises:
        DataError: If there are none, and some are needed.
    """
    if path.is_file():
        return [path]
    names = [f"{name}{kind}" for name in (QUESTIONS, VALIDATION) for kind in KINDS]
    found = [path / name for name in names if (path / name).is_file()]
    if not found and is_needed:
        raise DataError(
            f"data must be a folder with {' or '.join(names[:2])}, or such a file, got "
            f"{str(path)!r}; make it with `lookless convert`"
        )
    return found


def read_records(file: Path) -> Iterator[Record | DataError]:
    """Yield the records of a file, and for each row that is none what is wrong with it.

    Raises:
        DataError: If the file cannot be read as a table.
    """
    for row in Files(file).every_row(images=()):
        if isinstance(row, DataError):
            yield row
            continue
        try:
            yield Record.model_validate(row.values)
        except ValidationError as error:
            said = str(wrong_setting(Record, error)).removeprefix("config: ")
            yield DataError(f"{row.where}: {said}")


def checked_records(file: Path) -> Iterator[Record]:
    """Yield the records of a file.

    Raises:
        DataError: If a row is no record.
    """
    for record in read_records(file):
        if isinstance(record, DataError):
            raise DataError(f"{record}; `lookless validate` lists all such rows")
        yield record


_TEXTS = pa.list_(pa.string())
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("image", pa.string()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("question", pa.string()),
        ("answer", _TEXTS),
        ("options", _TEXTS),
        ("boxes", pa.list_(pa.list_(pa.float64()))),
        ("category", pa.string()),
        ("instruction", pa.string()),
        ("source", pa.string()),
        (
            "need",
            pa.struct(
                [
                    ("model", pa.string()),
                    ("p_look", pa.float64()),
                    ("p_no_look", pa.float64()),
                    ("n_look", pa.int32()),
                    ("n_no_look", pa.int32()),
                    ("gain_low", pa.float64()),
                    ("gain_high", pa.float64()),
                    ("label", pa.bool_()),
                ]
            ),
        ),
    ]
)
"""Of a Parquet file of records."""


class RecordWriter:
    """Writes a file of records, JSONL or Parquet by its suffix; it is there as a whole or not."""

    _BATCH = 1000

    def __init__(self, file: Path) -> None:
        """Begin a file."""
        self.file = file
        self._part = file.with_name(file.name + ".part")
        self._rows: list[dict[str, Any]] = []
        self._parquet: pq.ParquetWriter | None = None
        if file.suffix == ".parquet":
            self._parquet = pq.ParquetWriter(self._part, SCHEMA, compression="zstd")
        else:
            self._part.write_text("")

    def add(self, record: Record) -> None:
        """Write one more record."""
        self._rows.append(record.model_dump(mode="json"))
        if len(self._rows) >= self._BATCH:
            self._flush()

    def close(self) -> None:
        """Finish the file."""
        self._flush()
        if self._parquet is not None:
            self._parquet.close()
        self._part.replace(self.file)

    def _flush(self) -> None:
        if self._parquet is not None:
            self._parquet.write_table(pa.Table.from_pylist(self._rows, SCHEMA))
        else:
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in self._rows)
            with self._part.open("a", encoding="utf-8") as stream:
                stream.writelines(lines)
        self._rows = []
