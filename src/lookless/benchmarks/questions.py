"""A benchmark's questions, chosen, counted, and with their images as files on disk."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lookless.benchmarks.benchmark import Benchmark, Entry
from lookless.benchmarks.stored import Embedded, Reference, Stored, unpack
from lookless.benchmarks.tables import Files
from lookless.episode import Question
from lookless.errors import ConfigError, DataError

SHOWN = 5
"""Names that an error message lists."""


@dataclass(frozen=True)
class Selection:
    """Which of a benchmark's questions are asked."""

    limit: int | None = None
    """The first so many of those that the other two leave."""
    ids: tuple[str, ...] = ()
    """Only these; all if empty."""
    categories: tuple[str, ...] = ()
    """Only these values of `Question.family`; all if empty."""


@dataclass(frozen=True)
class Chosen:
    """The questions that a selection gives."""

    questions: list[Question]
    is_complete: bool | None
    """Whether they are all of the official file; None if it has no fixed size."""
    left_out: dict[str, int] = field(default_factory=dict)
    """How many of them cannot be asked, by the reason."""


def read_questions(
    benchmark: Benchmark, data: Path, selection: Selection, *, is_partial: bool = False
) -> Chosen:
    """Return the questions that a selection gives, in the file's order, without their images.

    Args:
        benchmark: Whose files they are.
        data: A folder of its files, or one table.
        selection: Which questions.
        is_partial: Whether the files may hold fewer rows than the official ones.

    Raises:
        ConfigError: If the selection names what is not there, or leaves nothing.
        DataError: If a file does not fit, an id occurs twice, or rows are missing.
    """
    every = [entry.question for entry in benchmark.load(Files(data, with_images=False))]
    _check_ids(every, data)
    is_complete = _check_counts(benchmark, every, data, is_partial)
    chosen = selected(every, selection)
    return Chosen(chosen, is_complete and len(chosen) == len(every))


def with_images(
    benchmark: Benchmark,
    data: Path,
    chosen: Chosen,
    cache: Path,
    progress: Callable[[int], None] = lambda done: None,
) -> Chosen:
    """Return the questions with their images as files; embedded ones are written into `cache`.

    Memory holds one row's image at a time. Questions about no image or several cannot be asked yet;
    they are left out and counted.

    Raises:
        DataError: If an image is missing or damaged.
    """
    missing = {question.id for question in chosen.questions}
    files: dict[str, tuple[Path | Reference, ...]] = {}
    while missing:
        for entry in benchmark.load(Files(data)):
            if entry.question.id in missing:
                files[entry.question.id] = _unpacked(entry, cache)
                missing.discard(entry.question.id)
                progress(len(files))
                if not missing:
                    break
        references = [r for one in files.values() for r in one if isinstance(r, Reference)]
        found = {r.index for r in references} & files.keys()
        unknown = [r for r in references if r.index in missing]
        if unknown:
            raise DataError(
                f"{unknown[0].where} must be an image or the index of the row that carries it, got "
                f"{unknown[0].index!r}, which is no row; is this the file that belongs here?"
            )
        missing = {r.index for r in references} - found
    asked, left_out = [], dict(chosen.left_out)
    for question in chosen.questions:
        images = [_followed(stored, files) for stored in files[question.id]]
        if len(images) == 1:
            asked.append(replace(question, image=images[0]))
        else:
            reason = "several images" if images else "no image"
            left_out[reason] = left_out.get(reason, 0) + 1
    return Chosen(asked, chosen.is_complete and not left_out, left_out)


def _unpacked(entry: Entry, cache: Path) -> tuple[Path | Reference, ...]:
    def on_disk(stored: Stored) -> Path | Reference:
        return unpack(stored, cache) if isinstance(stored, Embedded) else stored

    return tuple(on_disk(stored) for stored in entry.images)


def _followed(stored: Path | Reference, files: dict[str, tuple[Path | Reference, ...]]) -> Path:
    """Return the file that a reference leads to."""
    if isinstance(stored, Path):
        return stored
    carried = files[stored.index]
    if len(carried) == 1 and isinstance(carried[0], Path):
        return carried[0]
    raise DataError(
        f"{stored.where} must be an image or the index of the row that carries it, got "
        f"{stored.index!r}, which carries none; is this the file that belongs here?"
    )


def _check_ids(questions: Sequence[Question], data: Path) -> None:
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise DataError(
                f"ids in {str(data)!r} must be distinct, got {question.id!r} twice; give each its "
                "own, or name one table if the folder holds several forms of the same questions"
            )
        seen.add(question.id)


def _check_counts(
    benchmark: Benchmark, questions: Sequence[Question], data: Path, is_partial: bool
) -> bool | None:
    """Return whether the rows are as many as officially; None where that is not known.

    Raises:
        DataError: If they are not, and the files are not said to be partial.
    """
    if not benchmark.counts:
        return None
    families = list(benchmark.counts)
    found = (
        {"": len(questions)}
        if families == [""]
        else {name: sum(q.family == name for q in questions) for name in families}
    )
    total = sum(benchmark.counts.values())
    if found == dict(benchmark.counts) and len(questions) == total:
        return True
    if not is_partial:
        wrong = [
            f"{name or 'in all'} {found[name]} of {count}"
            for name, count in benchmark.counts.items()
            if found[name] != count
        ]
        raise DataError(
            f"{benchmark.title} must have {total} rows, got {len(questions)} in {str(data)!r} "
            f"({', '.join(wrong) or 'with unknown categories'}); get the full official file, or "
            "say --partial if a part is meant"
        )
    return False


def selected(questions: Sequence[Question], selection: Selection) -> list[Question]:
    """Return the questions that a selection gives, in their order.

    Raises:
        ConfigError: If the selection names what is not there, or leaves nothing.
    """
    _check_known("ids", selection.ids, [q.id for q in questions])
    _check_known("categories", selection.categories, [q.family for q in questions])
    ids = set(selection.ids)
    chosen = [
        q
        for q in questions
        if (not ids or q.id in ids)
        and (not selection.categories or q.family in selection.categories)
    ][: selection.limit]
    if not chosen:
        raise ConfigError(
            f"questions must be at least one, got none of {len(questions)}; "
            + ("ask for more" if questions else "the file is empty")
        )
    return chosen


def _check_known(name: str, wanted: Collection[str], known: Sequence[str]) -> None:
    there = set(known)
    unknown = [one for one in wanted if one not in there]
    if unknown:
        some = list(dict.fromkeys(one for one in known if one))
        more = ", ..." if len(some) > SHOWN else ""
        raise ConfigError(
            f"{name} must be of the benchmark, got {unknown[0]!r}; "
            f"there is {', '.join(some[:SHOWN])}{more}"
        )
