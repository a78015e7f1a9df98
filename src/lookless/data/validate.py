"""Whether a folder of records holds what its form says, row by row."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lookless.data.record import Record
from lookless.data.store import (
    DEMONSTRATIONS,
    HELD_OUT,
    VALIDATION,
    read_records,
    record_files,
)
from lookless.demonstrations import Demonstration, demonstrations_in, flaw_in
from lookless.errors import DataError, ImageError
from lookless.images import Source, open_image
from lookless.runs import Progress


@dataclass(frozen=True)
class Complaint:
    """What is wrong with a row."""

    where: str
    what: str


@dataclass
class Checked:
    """What was looked at, and what is wrong with it."""

    records: int = 0
    demonstrations: int = 0
    images: int = 0
    complaints: list[Complaint] = field(default_factory=list)
    """The first `MOST` of them."""
    count: int = 0
    """All of them."""

    def complain(self, where: str, what: str) -> None:
        """Note that something is wrong."""
        self.count += 1
        if len(self.complaints) < MOST:
            self.complaints.append(Complaint(where, what))


MOST = 1000
"""Complaints that are kept."""


def validate(path: Path, progress: Progress, *, decode: bool = True) -> Checked:
    """Check a folder of records, or one file of them; return what is wrong with it.

    Checked are: each row against its schema; that ids are distinct over all files; that images are
    there, are what their hash and size say, and can be decoded; that no image has questions in
    training and in validation; that demonstrations can be read and are about images of the records.

    Memory holds ids and hashes, not rows or pixels.

    Args:
        path: A folder, or a file of records.
        progress: Shows how far it has come.
        decode: Whether pixels are decoded; without, a damaged image can pass.

    Raises:
        DataError: If there are no files of records, or one is no table.
    """
    found = Checked()
    images = _Images(found, decode=decode)
    ids: dict[str, str] = {}
    sides: dict[str, str] = {}
    shown = [path / name for name in (DEMONSTRATIONS, HELD_OUT) if (path / name).is_file()]
    with progress("records", 0) as step:
        for file in record_files(path, is_needed=not shown):
            for number, record in enumerate(read_records(file), 1):
                where = f"{file.name!r} row {number}"
                found.records += 1
                if isinstance(record, DataError):
                    found.complain(where, str(record).removeprefix(f"{where}: "))
                    continue
                other = ids.setdefault(record.id, where)
                if other != where:
                    found.complain(where, f"id must be distinct, got {record.id!r} of {other}")
                side = file.stem == VALIDATION
                first = sides.setdefault(record.sha256, f"{int(side)}{where}")
                if int(first[0]) != side:
                    found.complain(
                        where,
                        "image must be for training or for validation, got one that "
                        f"{first[1:]} has too",
                    )
                images.check(record, file.parent, where)
                step(found.records, f"{found.count} wrong" if found.count else "")
    found.images = len(images)
    if path.is_dir():
        _check_demonstrations(path, found, images)
    return found


def _check_demonstrations(folder: Path, found: Checked, images: "_Images") -> None:
    for name in (DEMONSTRATIONS, HELD_OUT):
        file = folder / name
        if not file.is_file():
            continue
        ids: dict[str, str] = {}
        for where, shown in demonstrations_in(file):
            found.demonstrations += 1
            if isinstance(shown, DataError):
                found.complain(where, str(shown).removeprefix(f"{where}: "))
                continue
            if ids.setdefault(shown.id, where) != where:
                found.complain(where, f"id must be distinct, got {shown.id!r} of {ids[shown.id]}")
            images.check_looks(shown, where)


class _Images:
    """Images, each of which is looked at once."""

    def __init__(self, found: Checked, *, decode: bool) -> None:
        self.found = found
        self.decode = decode
        self._said: dict[Path, tuple[str, tuple[int, int]] | str] = {}

    def __len__(self) -> int:
        return len(self._said)

    def check(self, record: Record, folder: Path, where: str) -> None:
        """Complain if a record's image is not what the record says."""
        said = self._look(folder / record.image)
        if isinstance(said, str):
            self.found.complain(where, said)
            return
        sha256, size = said
        if sha256 != record.sha256:
            self.found.complain(
                where,
                f"image must have the hash of the record, got {sha256[:12]}... of "
                f"{record.image!r} instead of {record.sha256[:12]}...; convert the data again",
            )
        elif size != (record.width, record.height):
            self.found.complain(
                where,
                f"width and height must be those of the image, {size[0]}x{size[1]}, got "
                f"{record.width}x{record.height}",
            )

    def check_looks(self, shown: Demonstration, where: str) -> None:
        """Complain if a demonstration's image cannot be opened, or it can be shown to no model."""
        said = self._look(shown.image)
        flaw = said if isinstance(said, str) else flaw_in(shown, Source(shown.image))
        if flaw is not None:
            self.found.complain(where, flaw)

    def _look(self, file: Path) -> tuple[str, tuple[int, int]] | str:
        if file not in self._said:
            try:
                size = open_image(file).size if self.decode else Source(file).size
                with file.open("rb") as stream:
                    sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
                self._said[file] = sha256, size
            except (ImageError, OSError) as error:
                self._said[file] = str(error)
        return self._said[file]


def kinds_of(complaints: Iterator[Complaint] | list[Complaint]) -> Counter[str]:
    """Return how often each kind of complaint was made, by its first words.

    Example:
        >>> kinds_of([Complaint("row 1", "id must be distinct, got 'a' of row 0")])
        Counter({'id must be distinct': 1})
    """
    return Counter(one.what.split(", got")[0] for one in complaints)
