"""Rows of the tables that benchmarks come in: TSV, CSV, JSONL, JSON and parquet, one at a time.

Nothing about a file is believed: what does not fit is one `DataError` that names the file, the row
and the field. Tables of several GB are streamed; only one row's images are in memory at once.
"""

import ast
import csv
import hashlib
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lookless.benchmarks.stored import Embedded, Reference, Stored
from lookless.errors import DataError
from lookless.frames import Box, Frame

KINDS = (".tsv", ".csv", ".jsonl", ".json", ".parquet")
REFERENCE_CHARS = 64
"""An `image` of at most so many characters in a TSV is the index of the row that carries it.

Source: VLMEvalKit, `ImageBaseDataset.__init__`.
"""
OFFICIAL = "is this the file that belongs here?"
_BATCH_ROWS = 4
_SHOWN_CHARS = 60
_MOST = 1e9
"""No coordinate or size in pixels is as large."""
_LINES = re.compile(r"\s*\{[^\n]*\}[^\S\n]*\n\s*\{")
"""An object on one line, and another one after it."""


@dataclass(frozen=True)
class Files:
    """The files of a benchmark: a folder of them, or one table."""

    path: Path
    with_images: bool = True
    """Whether images are wanted; without, they are not even read where the format allows it."""

    @property
    def folder(self) -> Path:
        """Return the folder that paths in the tables are relative to."""
        return self.path if self.path.is_dir() else self.path.parent

    def tables(self, *patterns: str) -> list[Path]:
        """Return the files of the first pattern that any file fits, sorted; or the one table.

        Raises:
            DataError: If there are none.
        """
        if self.path.is_file():
            if self.path.suffix.lower() not in KINDS:
                raise DataError(
                    f"table must be one of {', '.join(KINDS)}, got {str(self.path)!r}; convert it"
                )
            return [self.path]
        if not self.path.exists():
            raise DataError(f"data must be a folder or a table, got {str(self.path)!r}, which is "
                            "not there; check the path")  # fmt: skip
        for pattern in patterns:
            found = sorted(file for file in self.path.glob(pattern) if file.is_file())
            if found:
                return found
        raise DataError(
            f"data must hold {' or '.join(patterns)}, got {str(self.path)!r} without; "
            "name the file itself, or download it (lookless benchmarks says where)"
        )

    def rows(self, *patterns: str, images: Sequence[str] = ("image",)) -> Iterator["Row"]:
        """Yield the rows of the tables that the patterns find.

        Args:
            patterns: As `tables`; of files with the same columns.
            images: Columns that hold images; left out where they are not wanted.

        Raises:
            DataError: If a table cannot be read.
        """
        for row in self.every_row(*patterns, images=images):
            if isinstance(row, DataError):
                raise row
            yield row

    def every_row(
        self, *patterns: str, images: Sequence[str] = ("image",)
    ) -> Iterator["Row | DataError"]:
        """Yield what `rows` does, and for a row that is none what is wrong with it.

        Raises:
            DataError: If a table cannot be read at all.
        """
        for table in self.tables(*patterns):
            skip = () if self.with_images else images
            for number, values in enumerate(_values(table, skip), 1):
                where = f"{table.name!r} row {number}"
                if isinstance(values, DataError):
                    yield values
                else:
                    yield Row(values, where, table.parent, self.with_images)


@dataclass(frozen=True)
class Row:
    """One row; reading a field that does not fit raises a `DataError` that names it.

    Where several names are given, the first that the row has is read.
    """

    values: Mapping[str, Any]
    where: str
    folder: Path
    """Of the table."""
    with_images: bool = True
    advice: str = OFFICIAL
    """What to do about a field that does not fit."""

    def has(self, name: str) -> bool:
        """Return whether the row has a value: not None, NaN or an empty text."""
        return not _is_empty(self.values.get(name))

    def text(self, *names: str) -> str:
        """Return a text; a number counts as its text."""
        value = self._value(names)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.wrong(names, "a text", value)
        if isinstance(value, float) and value.is_integer():
            return str(int(value))
        return str(value)

    def optional(self, *names: str) -> str | None:
        """Return a text, or None where there is none."""
        return self.text(*names) if any(self.has(name) for name in names) else None

    def integer(self, *names: str) -> int:
        """Return a whole number; one that is written as text counts."""
        text = self.text(*names)
        try:
            return int(text)
        except ValueError:
            raise self.wrong(names, "a whole number", text) from None

    def texts(self, *names: str) -> tuple[str, ...]:
        """Return a list of texts; a list that is written as text (JSON or Python) counts."""
        value = self.parsed(*names)
        if not isinstance(value, list | tuple):
            raise self.wrong(names, "a list of texts", value)
        if any(isinstance(item, dict | list | tuple) or item is None for item in value):
            raise self.wrong(names, "a list of texts", value)
        return tuple(str(item) for item in value)

    def answers(self, *names: str) -> tuple[str, ...]:
        """Return the accepted answers: a text, a list, or a list of texts that is written as text.

        The texts `[3, 4]` and `[Yes, No]` are no lists of quoted texts, and so answers themselves.
        """
        value = self._value(names)
        listed = _listed(value) if isinstance(value, str) else value
        found = self.texts(*names) if isinstance(listed, list) else (self.text(*names),)
        if not found or not all(answer.strip() for answer in found):
            raise self.wrong(names, "an answer, or a list of answers", value)
        return tuple(answer.strip() for answer in found)

    def parsed(self, *names: str) -> Any:
        """Return JSON or Python data that may be written as text."""
        value = self._value(names)
        if not isinstance(value, str):
            return value
        found = _literal(value)
        if found is None:
            raise self.wrong(names, "JSON or a Python list", value)
        return found

    def letter(self, *names: str, options: int) -> str:
        """Return the letter of the right one of so many options, in upper case."""
        text = self.text(*names).strip().strip("().").upper()
        last = chr(ord("A") + options - 1)
        if len(text) != 1 or not "A" <= text <= last:
            raise self.wrong(names, f"a letter from A to {last}", self.text(*names))
        return text

    def options(self, letters: str = "ABCD") -> tuple[str, ...]:
        """Return the texts of columns A, B, ... up to the first empty one; at least two."""
        found: list[str] = []
        for letter in letters:
            if not self.has(letter):
                break
            found.append(self.text(letter))
        if len(found) < 2:
            raise self.wrong((letters[len(found)],), "an option", None)
        return tuple(found)

    def image(self, *names: str) -> Stored:
        """Return an image: a file relative to the table, bytes, base64, or another row's."""
        if not self.with_images:
            return Path()
        value = self._value(names)
        where = f"{self.where}: {names[0]}"
        if isinstance(value, dict):  # the Image feature of `datasets`
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes):
            return Embedded(value, where)
        if not isinstance(value, str) or not value:
            raise self.wrong(names, "an image", value)
        if len(value) <= REFERENCE_CHARS and self.has("index"):
            return Reference(value, where)
        return Embedded(value, where)

    def file(
        self,
        *names: str,
        under: Path | None = None,
        beside: Sequence[str] = (),
        is_anywhere: bool = False,
    ) -> Path:
        """Return a file that the row names, relative to its table.

        Args:
            names: Of the field.
            under: What it is relative to instead.
            beside: Folders next to the table where it may be as well.
            is_anywhere: Whether it may lie outside these folders.

        Raises:
            DataError: If images are wanted and there is no such file, or it may not lie there.
        """
        name = self.text(*names)
        if not is_anywhere and (Path(name).is_absolute() or ".." in Path(name).parts):
            raise self.wrong(names, "a file below the benchmark's folder", name)
        roots = [under or self.folder, *(self.folder / folder for folder in beside)]
        return self.existing(names[0], [root / name for root in roots])

    def existing(self, field: str, files: Sequence[Path]) -> Path:
        """Return the first of the places where a file that `field` names may be.

        Raises:
            DataError: If images are wanted and it is in none of them.
        """
        for file in files:
            if not self.with_images or _is_file(file):
                return file
        raise DataError(
            f"{self.where}: {field} must name a file, got {str(files[0])!r}, which is not "
            "there; put it there"
        )

    def boxes(self, *names: str) -> tuple[Box, ...]:
        """Return boxes in source pixels: (left, top, right, bottom), or a list of such.

        Numbers only are checked; a box of no area stays as its authors gave it.
        """
        value = self.parsed(*names)
        if isinstance(value, list) and value and not isinstance(value[0], list | tuple):
            value = [value]
        if not isinstance(value, list):
            raise self.wrong(names, "a list of boxes", value)
        for box in value:
            numbers = box if isinstance(box, list | tuple) else ()
            if len(numbers) != 4 or not all(_is_number(number) for number in numbers):
                raise self.wrong(names, "boxes of four numbers", value)
        return tuple(
            Box(left, top, right, bottom, Frame.SOURCE) for left, top, right, bottom in value
        )

    def wrong(self, names: Sequence[str], rule: str, value: Any) -> DataError:
        """Return the error that says which field does not fit."""
        shown = repr(value)
        shown = shown if len(shown) <= _SHOWN_CHARS else shown[:_SHOWN_CHARS] + "..."
        fields = " or ".join(names)
        return DataError(f"{self.where}: {fields} must be {rule}, got {shown}; {self.advice}")

    def _value(self, names: Sequence[str]) -> Any:
        for name in names:
            if self.has(name):
                return self.values[name]
        if any(name in self.values for name in names):
            raise self.wrong(names, "filled in", None)
        columns = ", ".join(list(self.values)[:12])
        raise DataError(
            f"{self.where}: {' or '.join(names)} must be there, got only {columns}; {self.advice}"
        )


class ImageKeys:
    """Names images by their content, also those that a row takes from another row.

    The images are read even where they are not wanted: `Files.rows(..., images=())`.
    """

    def __init__(self) -> None:
        self._by_index: dict[str, str] = {}
        self._by_content: dict[str, str] = {}

    def of(self, row: Row, *names: str) -> str:
        """Return a short text that equal images share; empty if the row has no image."""
        value = next((row.values[name] for name in names if row.has(name)), None)
        if isinstance(value, dict):
            value = value.get("bytes") or value.get("path")
        if not isinstance(value, str | bytes):
            return ""
        if isinstance(value, str) and len(value) <= REFERENCE_CHARS:
            return self._by_index.setdefault(value, f"row {value}")
        data = value.encode() if isinstance(value, str) else value
        content = hashlib.sha256(data).hexdigest()[:16]
        index = row.text("index") if row.has("index") else ""
        # A row that was referred to before it came has its name already.
        key = self._by_content.setdefault(content, self._by_index.get(index, content))
        if index:
            self._by_index[index] = key
        return key


def _literal(text: str) -> Any:
    """Return what a text says as JSON or Python data; None if it is neither."""
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return None


def _listed(text: str) -> list[str] | None:
    """Return the list of texts that is written as a text; None if it is none."""
    found = _literal(text) if text.lstrip().startswith("[") else None
    is_texts = isinstance(found, list) and all(isinstance(one, str) for one in found)
    return found if is_texts else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or with a null character
        return False


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) < _MOST  # false for NaN, and for an integer too large for a float


def _is_empty(value: Any) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and not value.strip())


Values = Mapping[str, Any] | DataError
"""A row, or what is wrong with it."""


def _values(table: Path, skip: Sequence[str]) -> Iterator[Values]:
    """Yield a table's rows."""
    readers = {
        ".tsv": _delimited,
        ".csv": _delimited,
        ".jsonl": _jsonl,
        ".json": _json,
        ".parquet": _parquet,
    }
    try:
        yield from readers[table.suffix.lower()](table, skip)
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{str(table)!r} must be a readable {table.suffix[1:]} table, got {reason}; "
            "save it as UTF-8, or get it again"
        ) from None


def _delimited(table: Path, skip: Sequence[str]) -> Iterator[Values]:
    csv.field_size_limit(sys.maxsize)  # an image as base64 is one field
    delimiter = "\t" if table.suffix.lower() == ".tsv" else ","
    with table.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
        reader = csv.DictReader(stream, delimiter=delimiter)
        for row in reader:
            where = f"{table.name!r} line {reader.line_num}"
            if None in row or None in row.values():
                yield DataError(
                    f"{where} must have as many fields as columns, got another number; mend it"
                )
            elif not _is_utf8("".join([*row, *row.values()])):
                yield DataError(f"{where} must be UTF-8, got other bytes; save it as UTF-8")
            else:
                yield {name: value for name, value in row.items() if name not in skip}


def _jsonl(table: Path, skip: Sequence[str]) -> Iterator[Values]:
    with table.open(encoding="utf-8-sig", errors="surrogateescape") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            where = f"{table.name!r} line {number}"
            try:
                if not _is_utf8(line):
                    raise DataError(f"{where} must be UTF-8, got other bytes; save it as UTF-8")
                yield _object(_loaded(line, where), table, number)
            except DataError as error:
                yield error


def _json(table: Path, skip: Sequence[str]) -> Iterator[Values]:
    text = table.read_text(encoding="utf-8-sig")
    if _LINES.match(text):  # POPE's authors call theirs .json
        yield from _jsonl(table, skip)
        return
    loaded = _loaded(text, repr(table.name))
    rows = loaded.get("data") if isinstance(loaded, dict) else loaded
    if not isinstance(rows, list):
        raise DataError(f"{table.name!r} must be a list of objects, got {type(loaded).__name__}; "
                        "is this the file that belongs here?")  # fmt: skip
    for number, row in enumerate(rows, 1):
        try:
            yield _object(row, table, number)
        except DataError as error:
            yield error


def _is_utf8(text: str) -> bool:
    """Return whether a text that was read with `surrogateescape` holds no such bytes."""
    return text.isascii() or not any("\udc80" <= character <= "\udcff" for character in text)


def _loaded(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} must be JSON, got {error}; download the file again") from None


def read_json(file: Path) -> Mapping[str, Any]:
    """Return the object in a JSON file.

    Raises:
        DataError: If it cannot be read, or is none.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{str(file)!r} must be a readable JSON file, got {error}; "
            "save it as UTF-8, or get it again"
        ) from None
    return _object(_loaded(text, repr(file.name)), file, 1)


def _object(row: Any, table: Path, number: int) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise DataError(
            f"{table.name!r} row {number} must be a JSON object, got {type(row).__name__}; "
            "is this the file that belongs here?"
        )
    return row


def _parquet(table: Path, skip: Sequence[str]) -> Iterator[Values]:
    # Without the buffer a whole row group, which can be GB of images, would be read ahead.
    with pq.ParquetFile(table, buffer_size=1 << 20, pre_buffer=False) as file:
        columns = [name for name in file.schema_arrow.names if name not in skip]
        for batch in file.iter_batches(_BATCH_ROWS, columns=columns):
            yield from batch.to_pylist()
