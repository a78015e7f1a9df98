"""Answers on disk while an evaluation runs: lines are only ever added until all are there."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lookless.episode import Mode, Question, StopReason
from lookless.errors import DataError
from lookless.evaluation.answered import Answered
from lookless.evaluation.records import Record, answered_of
from lookless.runs import keep_rows, plain, read_jsonl, whole_file

Key = tuple[str, str, int]
"""Names an answer: mode, question, and which of several answers."""


@dataclass(frozen=True)
class Batch:
    """Answers that are asked for together."""

    mode: str
    """As results call it."""
    prompt: Mode
    number: int
    asked: tuple[tuple[Question, int], ...]
    """Questions, and which of several answers to each."""

    @property
    def keys(self) -> list[Key]:
        """Return the names of its answers."""
        return [(self.mode, question.id, sample) for question, sample in self.asked]

    def without(self, done: Mapping[Key, Record]) -> "Batch":
        """Return what of the batch is still to be asked."""
        pairs = zip(self.keys, self.asked, strict=True)
        return replace(self, asked=tuple(asked for key, asked in pairs if key not in done))


class Journal:
    """A file with a line for each answer; of several lines of one answer the last counts.

    Raises:
        DataError: If the file holds something else.
    """

    def __init__(self, file: Path) -> None:
        """Read what is there; a last line that was cut off is taken out."""
        self.file = file
        keep_rows(file, lambda row: True)
        self.rows: dict[Key, Record] = {}
        for row in read_jsonl(file) if file.exists() else []:
            self.rows[_key_of(row, file)] = row

    def done(self, batches: Sequence[Batch]) -> dict[Key, Record]:
        """Return the answers that need not be asked for again.

        Those are the ones that have not failed, of batches of which all answers have come in. The
        others of a batch that was cut off are asked for again with it, as its make-up matters.
        """
        whole = [batch for batch in batches if all(key in self.rows for key in batch.keys)]
        rows = {key: self.rows[key] for batch in whole for key in batch.keys}
        return {key: row for key, row in rows.items() if not is_failed(row)}

    def add(self, rows: Sequence[Record]) -> None:
        """Append lines, in one go."""
        text = "".join(json.dumps(row, default=plain) + "\n" for row in rows)
        with self.file.open("a") as stream:
            stream.write(text)
        self.rows |= {_key_of(row, self.file): row for row in map(json.loads, text.splitlines())}

    def close(self, batches: Sequence[Batch]) -> None:
        """Leave one line for each answer, in the order in which they were to be asked."""
        with whole_file(self.file) as stream:
            for batch in batches:
                stream.writelines(json.dumps(self.rows[key]) + "\n" for key in batch.keys)


def is_failed(row: Mapping[str, Any]) -> bool:
    """Return whether a line is of an answer that never came."""
    return bool(row["rollout"]["stop"] == StopReason.FAULT)


def read_answers(file: Path, modes: Sequence[str]) -> dict[str, list[Answered]]:
    """Return the answers of each mode from the records of a finished run, in their order.

    Raises:
        DataError: If the file holds something else.
    """
    found: dict[str, list[Answered]] = {mode: [] for mode in modes}
    for row in read_jsonl(file) if file.exists() else []:
        mode = _key_of(row, file)[0]
        if mode in found:
            found[mode].append(answered_of(row))
    return found


def _key_of(row: Any, file: Path) -> Key:
    try:
        return row["mode"], row["question"]["id"], row["sample"]
    except (TypeError, KeyError):
        raise DataError(
            f"{str(file)!r} must hold answers of `lookless eval`, got a line without mode, "
            "question and sample; restore the file, or begin again in another folder"
        ) from None
