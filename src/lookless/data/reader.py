"""What a reader of somebody's files is: it yields what it finds, row by row."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from lookless.benchmarks.stored import Stored
from lookless.benchmarks.tables import Files, Row
from lookless.episode import Mode
from lookless.errors import ConfigError, DataError
from lookless.frames import Box, Frame
from lookless.images import Budget


@dataclass(frozen=True)
class ShownLook:
    """A look at a part of an image."""

    box: Box
    """Knows what its numbers mean: pixels of the file, or shares or pixels of what was seen."""
    image: int = 0
    """0 is the image, k the crop of the k-th look."""
    is_mistake: bool = False
    """Whether it is shown without being learned."""


@dataclass(frozen=True)
class ShownTurn:
    """What is said in one turn, and the look that ends it, if any."""

    say: str
    look: ShownLook | None = None


@dataclass(frozen=True)
class Shown:
    """How a question is answered, as somebody's files tell it."""

    turns: tuple[ShownTurn, ...]
    mode: Mode = Mode.ADAPTIVE


@dataclass(frozen=True)
class Found:
    """A question in somebody's files."""

    where: str
    """File and row, for messages."""
    image: Stored
    question: str
    answers: tuple[str, ...]
    options: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()
    """Where the evidence is; each knows what its numbers mean."""
    category: str = ""
    id: str | None = None
    shown: Shown | None = None
    later: int = 0
    """Questions that follow in the same conversation and are not read."""
    size: tuple[int, int] | None = None
    """Width and height of the image as the files state them, in pixels."""


@dataclass(frozen=True)
class Broken:
    """A row that no record can be made of."""

    where: str
    why: str


@dataclass(frozen=True)
class Reading:
    """What has to be said about files that do not say it themselves."""

    frame: Frame | None = None
    """What the numbers of boxes mean; None: what the layout says, and an error where it says
    nothing."""
    budget: Budget | None = None
    """How the model that boxes in resized pixels were written for resizes images."""
    options: dict[str, str] = field(default_factory=dict)
    """Settings of one reader."""

    def frame_or(self, usual: Frame | None, where: str) -> Frame:
        """Return what the numbers of boxes mean.

        Raises:
            ConfigError: If neither the layout nor the user says.
        """
        frame = self.frame or usual
        if frame is None:
            raise ConfigError(
                f"{where}: boxes must have a known frame, got numbers alone, and this layout has "
                f"no rule; say --frame {', '.join(Frame)}"
            )
        return frame

    def image(self, row: Row, field: str, name: str) -> Path:
        """Return a file that a row names: below its table's folder, or below that of `images`.

        What a downloaded table says must not bring other files of this machine into the data.

        Raises:
            DataError: If it lies elsewhere, or is not there.
        """
        root = Path(self.options.get("images", row.folder))
        file = Path(os.path.abspath(root / name))
        if not file.is_relative_to(os.path.abspath(root)):
            raise row.wrong(
                (field,), f"a file below {str(root)!r} (or say --option images=FOLDER)", name
            )
        return row.existing(field, [file])


Load = Callable[[Path, Reading], Iterator[Found | Broken]]
MakeFound = Callable[[Row, Reading], Found]


@dataclass(frozen=True)
class Reader:
    """Reads one layout."""

    name: str
    """As the command line knows it."""
    about: str
    """One line: whose layout, and what it holds."""
    load: Load
    options: tuple[str, ...] = ()
    """Names of its settings."""


def rows_of(
    path: Path, reading: Reading, advice: str, patterns: Sequence[str], make: MakeFound
) -> Iterator[Found | Broken]:
    """Yield what is made of each row of a table, and why nothing can be made of the others.

    Args:
        path: The table, or a folder with it.
        reading: Handed on.
        advice: What to do about a field that does not fit.
        patterns: Of the table in a folder.
        make: Makes a question of a row.

    Raises:
        DataError: If there is no such table.
        ConfigError: If something has to be said about the files.
    """
    for number, row in enumerate(Files(path).every_row(*patterns, images=()), 1):
        if isinstance(row, DataError):
            yield Broken(f"row {number}", str(row))
        else:
            yield guarded(row.where, partial(make, replace(row, advice=advice), reading))


def guarded(where: str, make: Callable[[], Found]) -> Found | Broken:
    """Return what is made of a row, or why nothing can be.

    Example:
        >>> def refuse() -> Found:
        ...     raise DataError("row 3: answer must be there, got none; add one")
        >>> guarded("row 3", refuse)
        Broken(where='row 3', why='answer must be there, got none; add one')
    """
    try:
        return make()
    except ConfigError:
        raise
    except DataError as error:
        return Broken(where, str(error).removeprefix(f"{where}: "))
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        return Broken(where, f"row must have the form of the layout, got one that has not: {error}")
    except RecursionError:
        return Broken(where, "row must have the form of the layout, got one that is too deep")
