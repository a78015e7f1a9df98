"""Images that are there twice: within the data, and in what it will be measured on.

Of records that ask the same about images that look alike the first is kept. Records about an image
that looks like one of a benchmark are taken out, as measuring on it would say nothing any more.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from lookless.data.phash import Hashes, distance, groups, near, perceptual_hash
from lookless.data.record import Record
from lookless.data.store import (
    DEMONSTRATIONS,
    HELD_OUT,
    QUESTIONS,
    VALIDATION,
    ImageStore,
    RecordWriter,
    checked_records,
    record_files,
)
from lookless.demonstrations import demonstrations_in, written_demonstration
from lookless.errors import DataError, ImageError
from lookless.runs import Progress, open_run, whole_file

DUPLICATES = "duplicates.jsonl"


@dataclass(frozen=True)
class Pair:
    """Two images that look alike."""

    image: str
    """Of the data, relative to its folder."""
    other: str
    """Of the data, or of a benchmark."""
    benchmark: str | None
    """None: both are of the data."""
    bits: int
    """Of 256 in which their hashes differ; 0 also for equal files."""


@dataclass
class Found:
    """What looks alike."""

    bits: int
    """Of 256 in which images that count as alike may differ."""
    against: list[str]
    """Benchmarks that were looked through."""
    images: int = 0
    records: int = 0
    pairs: list[Pair] = field(default_factory=list)
    contaminated: dict[str, str] = field(default_factory=dict)
    """Images of the data that a benchmark has: hash, and the benchmark."""
    first_of: dict[str, str] = field(default_factory=dict)
    """For the hash of each image that of the first one which looks like it."""
    unreadable: list[str] = field(default_factory=list)
    """Why images could not be compared."""
    unread: set[str] = field(default_factory=set)
    """Hashes of the data's images among them."""

    @property
    def by_benchmark(self) -> Counter[str]:
        """Return how many of the data's images each benchmark has."""
        return Counter(self.contaminated.values())


@dataclass
class Cleaned:
    """What was written."""

    kept: int = 0
    repeated: int = 0
    """Records that ask what an earlier one asks about an image that looks the same."""
    contaminated: int = 0
    unreadable: int = 0
    """Records whose image cannot be read."""
    moved: int = 0
    """Records that changed between training and validation, to where images like theirs are."""
    demonstrations: int = 0


def look_for(
    data: Path, against: Mapping[str, Sequence[Path]], most: int, progress: Progress
) -> Found:
    """Return which images of the data look alike, or like those of benchmarks.

    Args:
        data: A folder of records.
        against: Images of benchmarks, by their names.
        most: Bits of 256 in which two hashes that count as alike may differ.
        progress: Shows how far it has come.

    Raises:
        DataError: If there are no records, or a row is none.
    """
    found = Found(most, list(against))
    files: dict[str, Path] = {}
    names: dict[str, str] = {}
    for file in record_files(data):
        for record in checked_records(file):
            found.records += 1
            files.setdefault(record.sha256, file.parent / record.image)
            names.setdefault(record.sha256, record.image)
    keys = list(files)
    found.images = len(keys)
    hashes, is_read = _hashes([files[key] for key in keys], "images", found, progress)
    found.unread = {key for key, good in zip(keys, is_read, strict=True) if not good}
    keys = [key for key in keys if key not in found.unread]
    pairs = list(near(hashes, most=most))
    found.pairs = [
        Pair(names[keys[i]], names[keys[j]], None, distance(hashes[i], hashes[j])) for i, j in pairs
    ]
    firsts = groups(len(keys), pairs)
    found.first_of = {key: keys[first] for key, first in zip(keys, firsts, strict=True)}
    for name, others in against.items():
        their_hashes, good = _hashes(others, name, found, progress)
        if not any(good):
            raise DataError(
                f"against must be images that can be read, got none of {len(others)} of {name}; "
                "check the path"
            )
        known = [file for file, is_good in zip(others, good, strict=True) if is_good]
        for i, j in near(hashes, their_hashes, most):
            bits = distance(hashes[i], their_hashes[j])
            found.pairs.append(Pair(names[keys[i]], known[j].name, name, bits))
            found.contaminated.setdefault(keys[i], name)
    return found


def write_clean(data: Path, out: Path, found: Found, *, flag: bool = False) -> Cleaned:
    """Write the records that are left into a new folder; return how many those are.

    Images become hard links where that is possible. duplicates.jsonl lists what looks alike.

    Args:
        data: The folder that was looked through.
        out: A new folder.
        found: What looks alike in it.
        flag: Whether records about images of benchmarks are kept.

    Raises:
        DataError: If a row is no record.
        RunError: If `out` exists.
    """
    settings = {"data": str(data.resolve()), "bits": found.bits, "against": found.against}
    open_run(out, {**settings, "flag": flag})
    cleaned = Cleaned()
    images = ImageStore(out, link=True)
    asked: set[tuple[str, str, tuple[str, ...], tuple[str, ...]]] = set()
    side_of: dict[str, str] = {}
    writers: dict[str, RecordWriter] = {}
    for file, record in _records(data):
        first = found.first_of.get(record.sha256, record.sha256)
        side = side_of.setdefault(first, file.stem)
        if record.sha256 in found.unread:
            cleaned.unreadable += 1
            continue
        words = " ".join(record.question.split()).casefold()
        key = first, words, record.options, record.answer
        is_taken = record.sha256 in found.contaminated and not flag
        if is_taken or key in asked:
            cleaned.contaminated += is_taken
            cleaned.repeated += not is_taken
            continue
        asked.add(key)
        cleaned.moved += side != file.stem
        kept = images.add(file.parent / record.image)
        if side not in writers:
            writers[side] = RecordWriter(out / f"{side}{file.suffix}")
        writers[side].add(record.model_copy(update={"image": kept.path}))
        cleaned.kept += 1
    for writer in writers.values():
        writer.close()
    _write_demonstrations(data, out, found, images, cleaned, side_of, flag=flag)
    with whole_file(out / DUPLICATES) as stream:
        stream.writelines(json.dumps(asdict(pair)) + "\n" for pair in found.pairs)
    return cleaned


def _records(data: Path) -> Iterator[tuple[Path, Record]]:
    for file in record_files(data):
        for record in checked_records(file):
            yield file, record


def _write_demonstrations(
    data: Path,
    out: Path,
    found: Found,
    images: ImageStore,
    cleaned: Cleaned,
    side_of: Mapping[str, str],
    *,
    flag: bool,
) -> None:
    """Write the demonstrations about images that are left, on the side of their records."""
    lines: dict[str, list[str]] = {}
    for name, usual in ((DEMONSTRATIONS, QUESTIONS), (HELD_OUT, VALIDATION)):
        if not (data / name).is_file():
            continue
        for _, shown in demonstrations_in(data / name):
            if isinstance(shown, DataError):
                raise shown
            try:
                sha256 = images.hash_of(shown.image)
            except ImageError:
                continue
            if sha256 in found.unread or (sha256 in found.contaminated and not flag):
                continue
            kept = images.add(shown.image)
            first = found.first_of.get(kept.sha256, kept.sha256)
            side = side_of.get(first, usual)
            moved = shown.model_copy(update={"image": out / kept.path})
            to = HELD_OUT if side == VALIDATION else DEMONSTRATIONS
            lines.setdefault(to, []).append(written_demonstration(moved, out))
            cleaned.demonstrations += 1
    for name, written in lines.items():
        with whole_file(out / name) as stream:
            stream.writelines(written)


def _hashes(
    files: Sequence[Path], title: str, found: Found, progress: Progress
) -> tuple[Hashes, list[bool]]:
    """Return the hashes (N, 4) of the images that can be read, and which ones those are."""
    hashes, is_read = [], []
    with progress(f"hashing {title}", len(files)) as step:
        for done, file in enumerate(files, 1):
            try:
                hashes.append(perceptual_hash(file))
                is_read.append(True)
            except ImageError as error:
                found.unreadable.append(str(error))
                is_read.append(False)
            step(done, "")
    return np.array(hashes, np.uint64).reshape(-1, 4), is_read
