"""From somebody's files to records: images kept once, boxes in pixels, what is broken listed."""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lookless.benchmarks.own import worded
from lookless.data.reader import Broken, Found, Reader, Reading, Shown
from lookless.data.record import BEYOND, BoxNumbers, Record, stable_id
from lookless.data.store import (
    BROKEN,
    DEMONSTRATIONS,
    HELD_OUT,
    KINDS,
    QUESTIONS,
    VALIDATION,
    ImageStore,
    Kept,
    RecordWriter,
)
from lookless.demonstrations import (
    DemonstratedLook,
    DemonstratedTurn,
    Demonstration,
    flaw_in,
    written_demonstration,
)
from lookless.errors import ConfigError, DataError, ImageError, wrong_setting
from lookless.frames import Box, Frame, View
from lookless.images import Budget, Source
from lookless.runs import Progress, open_run, undone_if_refused

_LONGEST_REASON = 500
"""Characters of why a row was left out."""


class ConvertConfig(BaseModel):
    """How files become records."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    validation: float = Field(0.0, ge=0, lt=1)
    """Share of the images whose questions are for validation; which ones depends on what the images
    hold alone, so that an image is on the same side whatever else is converted."""
    kind: Literal["jsonl", "parquet"] = "jsonl"
    """Of the files of records."""
    link: bool = False
    """Whether images become hard links instead of copies, where that is possible."""
    instruction: str | None = None
    """What is said after each question; None: the usual words, by whether there are options."""


@dataclass
class Converted:
    """What was made of files."""

    questions: int = 0
    validation: int = 0
    demonstrations: int = 0
    held_out: int = 0
    images: int = 0
    later_rounds: int = 0
    """Further questions of conversations, which are not read."""
    repeated: int = 0
    """Rows that ask what an earlier one asks about the same image."""
    broken: Counter[str] = field(default_factory=Counter)
    """Rows that were left out, by the first words of why."""


def convert(
    reader: Reader,
    path: Path,
    out: Path,
    reading: Reading,
    config: ConvertConfig,
    progress: Progress,
    *,
    resume: bool = False,
) -> Converted:
    """Write the records of somebody's files into a folder; return what was made.

    Files in `out`: questions and validation, demonstrations and held_out (of validation's images)
    where the layout tells how questions are answered, broken.jsonl with the rows that were left out
    and why, and the images. Begun again after an interruption it reads all rows again.

    Args:
        reader: Of the layout.
        path: The files.
        out: A new folder.
        reading: What has to be said about the files.
        config: How records are written.
        progress: Shows how far it has come.
        resume: Whether to continue.

    Raises:
        DataError: If the files are not of this layout at all.
        RunError: If `out` exists and may not be continued.
    """
    settings = {
        "reader": reader.name,
        "path": str(path.resolve()),
        "frame": reading.frame,
        "budget": str(reading.budget) if reading.budget else None,
        "options": reading.options,
        **config.model_dump(mode="json"),
    }
    with undone_if_refused(out, resume=resume):
        open_run(out, settings, resume=resume)
        with _Output(out, config, reading) as output, progress("rows", 0) as step:
            for number, found in enumerate(reader.load(path, reading), 1):
                broken = found if isinstance(found, Broken) else output.take(found)
                if broken is not None:
                    output.leave_out(broken)
                count = output.made.broken.total()
                step(number, f"{count} broken" if count else "")
        made = output.made
        if not made.questions + made.validation:
            most = made.broken.most_common(1)
            why = f", {most[0][1]} times: {most[0][0]}" if most else ""
            raise DataError(
                f"files must hold questions that can be read, got none in {str(path)!r}{why}"
            )
    return made


def in_validation(sha256: str, share: float) -> bool:
    """Return whether an image's questions are for validation.

    Example:
        >>> in_validation("00" * 32, 0.1), in_validation("ff" * 32, 0.1)
        (True, False)
    """
    return int(sha256, 16) < share * 2**256


def kind_of(why: str) -> str:
    """Return what a reason has in common with others like it.

    Example:
        >>> kind_of("'c.json' images 7: file_name must name a file, got '7.jpg'")
        'file_name must name a file'
    """
    return re.sub(r"^'[^']*' \w+ \d+: ", "", why).split(", got")[0][:_LONGEST_REASON]


class _Output:
    """The files that are being written; they are there as a whole, in the end, or not at all."""

    def __init__(self, folder: Path, config: ConvertConfig, reading: Reading) -> None:
        self.folder = folder
        self.config = config
        self.budget = reading.budget
        self.made = Converted()
        self._images = ImageStore(folder, link=config.link)
        self._asked: dict[str, tuple[str, tuple[str, ...]]] = {}
        """What each id stands for, and the answers to it."""
        self._shown: set[str] = set()
        """Ids of demonstrations."""
        self._records: dict[str, RecordWriter] = {}
        self._lines: dict[str, list[str]] = {}

    def __enter__(self) -> Self:
        # Of an earlier attempt.
        for name in (QUESTIONS, VALIDATION):
            for kind in KINDS:
                (self.folder / f"{name}{kind}").unlink(missing_ok=True)
        for name in (DEMONSTRATIONS, HELD_OUT, BROKEN):
            (self.folder / name).unlink(missing_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            return
        for writer in self._records.values():
            writer.close()
        for name in self._lines:
            self._flush(name)
            self._part(name).replace(self.folder / name)
        self.made.images = len(self._images)

    def take(self, found: Found) -> Broken | None:
        """Write what a row says; return why it has to be left out, if it has."""
        try:
            kept = self._images.add(found.image)
            record = self._record(found, kept)
            asked = stable_id(record.sha256, record.question, record.options), record.answer
            before = self._asked.get(record.id, asked)
            if before[0] != asked[0]:
                raise DataError(f"id must be of one question only, got {record.id!r} again")
            if before != asked:
                raise DataError(
                    "answer must be the same whenever a question is asked about an image, got "
                    f"{list(asked[1])} and before {list(before[1])}"
                )
            shown = self._demonstration(found.shown, record) if found.shown else None
        except ValidationError as error:
            model = Record if error.title == Record.__name__ else Demonstration
            return Broken(found.where, str(wrong_setting(model, error)).removeprefix("config: "))
        except (ConfigError, DataError, ImageError) as error:
            return Broken(found.where, str(error).removeprefix(f"{found.where}: "))
        is_validation = in_validation(record.sha256, self.config.validation)
        self.made.later_rounds += found.later
        if record.id in self._asked:
            self.made.repeated += 1
        else:
            self._asked[record.id] = asked
            self._add(record, is_validation=is_validation)
        if shown is not None:
            self._shown.add(shown.id)
            self._show(shown, is_validation=is_validation)
        return None

    def leave_out(self, broken: Broken) -> None:
        """Note a row that was left out."""
        self.made.broken[kind_of(broken.why)] += 1
        row = {"where": broken.where, "why": broken.why[:_LONGEST_REASON]}
        self._line(BROKEN, json.dumps(row) + "\n")

    def _add(self, record: Record, *, is_validation: bool) -> None:
        name = VALIDATION if is_validation else QUESTIONS
        if name not in self._records:
            self._records[name] = RecordWriter(self.folder / f"{name}.{self.config.kind}")
        self._records[name].add(record)
        self.made.validation += is_validation
        self.made.questions += not is_validation

    def _show(self, shown: Demonstration, *, is_validation: bool) -> None:
        name = HELD_OUT if is_validation else DEMONSTRATIONS
        self._line(name, written_demonstration(shown, self.folder))
        self.made.held_out += is_validation
        self.made.demonstrations += not is_validation

    def _record(self, found: Found, kept: Kept) -> Record:
        if found.size not in (None, (kept.width, kept.height)):
            raise DataError(
                f"image must have the size that is stated, {found.size}, got "
                f"{kept.width}x{kept.height}; boxes would mean other places"
            )
        view = _whole(kept, self.budget)
        asked = found.question.strip()
        return Record(
            id=found.id or stable_id(kept.sha256, asked, found.options),
            image=kept.path,
            sha256=kept.sha256,
            width=kept.width,
            height=kept.height,
            question=asked,
            answer=found.answers,
            options=found.options,
            boxes=tuple(_numbers(_in_source(box, view, self.budget)) for box in found.boxes),
            category=found.category,
            instruction=self.config.instruction,
            source=found.where,
        )

    def _demonstration(self, shown: Shown, record: Record) -> Demonstration:
        whole = Kept(record.image, record.sha256, record.width, record.height)
        views = [_whole(whole, self.budget)]
        turns = []
        for turn in shown.turns:
            look = None
            if turn.look is not None:
                if not 0 <= turn.look.image < len(views):
                    raise DataError(
                        f"image of a look must be one that was seen, 0 to {len(views) - 1}, got "
                        f"{turn.look.image}"
                    )
                seen = views[turn.look.image]
                box = _in_source(turn.look.box, seen, self.budget)
                across, down = BEYOND * seen.region.width, BEYOND * seen.region.height
                inside = box.intersection(seen.region)
                if inside.area <= 0 or any(
                    beyond > most
                    for beyond, most in (
                        (inside.left - box.left, across),
                        (box.right - inside.right, across),
                        (inside.top - box.top, down),
                        (box.bottom - inside.bottom, down),
                    )
                ):
                    raise DataError(
                        f"looks must lie in what was seen, got {list(turn.look.box.coordinates)} "
                        f"({turn.look.box.frame})"
                    )
                box = inside
                look = DemonstratedLook(
                    box=_numbers(box),
                    frame=Frame.SOURCE,
                    image=turn.look.image,
                    is_mistake=turn.look.is_mistake,
                )
                views.append(_view(box.outward(), self.budget))
            turns.append(DemonstratedTurn(say=turn.say, look=look))
        name, count = record.id, 0
        while name in self._shown:
            count += 1
            name = f"{record.id}-{count}"
        shown_once = Demonstration(
            id=name,
            image=self.folder / record.image,
            question=worded(record.question, record.options, record.instruction),
            mode=shown.mode,
            turns=tuple(turns),
        )
        flaw = flaw_in(shown_once, Source(shown_once.image))
        if flaw is not None:
            raise DataError(flaw)
        return shown_once

    def _line(self, name: str, line: str) -> None:
        if name not in self._lines:
            self._lines[name] = []
            self._part(name).write_text("")
        self._lines[name].append(line)
        if len(self._lines[name]) >= 1000:
            self._flush(name)

    def _flush(self, name: str) -> None:
        with self._part(name).open("a", encoding="utf-8") as stream:
            stream.writelines(self._lines[name])
        self._lines[name] = []

    def _part(self, name: str) -> Path:
        return self.folder / f"{name}.part"


def _whole(kept: Kept, budget: Budget | None) -> View:
    return _view(Box(0, 0, kept.width, kept.height, Frame.SOURCE), budget)


def _view(region: Box, budget: Budget | None) -> View:
    """Return how a region is seen; without a budget only shares of it mean anything."""
    width, height = round(region.width), round(region.height)
    return View(region, *(budget.resized(width, height) if budget else (width, height)))


def _in_source(box: Box, view: View, budget: Budget | None) -> Box:
    if box.frame is Frame.RESIZED and budget is None:
        raise DataError(
            "boxes in resized pixels must come with the model that they were written for, got "
            "none; say --checkpoint"
        )
    return view.to_source(box)


def _numbers(box: Box) -> BoxNumbers:
    left, top, right, bottom = (round(v, 2) for v in box.coordinates)
    return left, top, right, bottom
