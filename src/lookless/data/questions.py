"""Records as questions that a model can be asked."""

from dataclasses import replace
from pathlib import Path

from lookless.benchmarks import own
from lookless.benchmarks.tables import Row
from lookless.data.record import Record
from lookless.data.store import checked_records
from lookless.episode import Question


def question_of(record: Record, folder: Path) -> Question:
    """Return the question of a record whose image lies below `folder`.

    Raises:
        DataError: If the answer is none of the options.
    """
    row = Row(record.model_dump(mode="json"), f"record {record.id!r}", folder)
    asked = own.question(row, record.id, record.image)
    return replace(asked, image=folder / record.image)


def read_questions(file: Path) -> tuple[list[Record], list[Question]]:
    """Return the records of a file and their questions.

    Raises:
        DataError: If a row is no record.
    """
    records = list(checked_records(file))
    return records, [question_of(record, file.parent.resolve()) for record in records]
