"""Plain questions: a table, a folder with one, or images with a JSON file beside each.

Fields, of which the first that a row has is read: `image`, `image_path`, `file_name` or `img`;
`question`, `text`, `query` or `problem`; `answer`, `answers`, `ground_truth` or `label`; `options`,
`choices` or columns A, B, C, ...; `boxes`, `bbox` or `bboxes`; `category`, `type`, `question_type`
or `family`; `id`, `question_id` or `qid`. With options the answer is the letter or the text of one.
Numbers of boxes are left, top, right, bottom, in whatever `--frame` says. Files lie below the
table's folder, or below `--option images=FOLDER`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from lookless.benchmarks.own import beside_images, is_name, only_table
from lookless.benchmarks.stored import Stored
from lookless.benchmarks.tables import Row, read_json
from lookless.data.reader import Broken, Found, Reader, Reading, guarded, rows_of
from lookless.data.record import MOST_OPTIONS
from lookless.frames import Box, Frame
from lookless.grading.exact import exact_match

IMAGE = ("image", "image_path", "file_name", "img")
QUESTION = ("question", "text", "query", "problem")
ANSWER = ("answer", "answers", "ground_truth", "label")
OPTIONS = ("options", "choices")
BOXES = ("boxes", "bbox", "bboxes")
CATEGORY = ("category", "type", "question_type", "family")
ID = ("id", "question_id", "qid")
_ADVICE = "`lookless convert --help` names the fields"


def load(path: Path, reading: Reading) -> Iterator[Found | Broken]:
    """Yield the questions of a table, or those beside images."""
    beside = beside_images(path) if path.is_dir() else []
    for image in beside:
        yield guarded(f"{image.name!r}", partial(_beside, image, reading))
    if not beside:
        table = only_table(path) if path.is_dir() else path
        yield from rows_of(table, reading, _ADVICE, (), question)


def _beside(image: Path, reading: Reading) -> Found:
    file = image.with_suffix(".json")
    row = Row(read_json(file), f"{image.name!r}", file.parent, advice=_ADVICE)
    return question(row, reading, image)


def question(row: Row, reading: Reading, image: Path | None = None) -> Found:
    """Return what a row asks; `image` is the one that it lies beside.

    Raises:
        DataError: If a field is missing or does not fit.
        ConfigError: If the frame of boxes is not said.
    """
    options = options_of(row)
    answers = row.answers(*ANSWER)
    if options and len(answers) > 1:
        raise row.wrong(ANSWER, "one option", list(answers))
    return Found(
        where=row.where,
        image=image or image_of(row, reading),
        question=row.text(*QUESTION),
        answers=(option_of(row, answers[0], options),) if options else answers,
        options=options,
        boxes=boxes_of(row, reading, None),
        category=row.optional(*CATEGORY) or "",
        id=row.optional(*ID),
    )


def image_of(row: Row, reading: Reading) -> Stored:
    """Return where a row's image is: a file below the table's folder, or in the row.

    Raises:
        DataError: If it is nowhere.
    """
    value = next((row.values[name] for name in IMAGE if row.has(name)), None)
    if isinstance(value, dict) and not value.get("bytes"):
        value = value.get("path")
    if isinstance(value, str) and is_name(value):
        return reading.image(row, "image", value)
    return row.image(*IMAGE)


def options_of(row: Row) -> tuple[str, ...]:
    """Return what can be chosen from, without letters in front; nothing if there is nothing."""
    if row.has("A"):
        return row.options("ABCDEFGHIJ")
    if not any(row.has(name) and row.values[name] != [] for name in OPTIONS):
        return ()
    options = row.texts(*OPTIONS)
    if not 2 <= len(options) <= MOST_OPTIONS or len(set(options)) < len(options):
        raise row.wrong(OPTIONS, f"two to {MOST_OPTIONS} distinct options", list(options))
    return unlettered(options)


def unlettered(options: tuple[str, ...]) -> tuple[str, ...]:
    """Return options without their letters, if each has its own in front.

    Example:
        >>> unlettered(("(A) red", "(B) blue")), unlettered(("A. red", "A. blue"))
        (('red', 'blue'), ('A. red', 'A. blue'))
    """
    bare = []
    for k, option in enumerate(options):
        letter = chr(ord("A") + k)
        text = option.strip()
        front = next((f for f in (f"({letter})", f"{letter}.", f"{letter})", f"{letter}:")
                      if text.startswith(f)), None)  # fmt: skip
        if front is None or not text.removeprefix(front).strip():
            return options
        bare.append(text.removeprefix(front).strip())
    return tuple(bare)


def option_of(row: Row, answer: str, options: Sequence[str]) -> str:
    """Return the text of the option that an answer names by its letter or its text.

    Raises:
        DataError: If it names none.
    """
    bare = unlettered_one(answer)
    same = [option for option in options if exact_match(answer, option) or option == bare]
    if len(same) == 1:
        return same[0]
    letter = answer.strip("(). ").upper()
    place = ord(letter) - ord("A") if len(letter) == 1 else -1
    if not 0 <= place < len(options):
        raise row.wrong(ANSWER, "the letter or the text of an option", answer)
    return options[place]


def unlettered_one(text: str) -> str:
    """Return a text without a letter such as `(B)` or `B.` in front.

    Example:
        >>> unlettered_one("(B) blue"), unlettered_one("B. Franklin"), unlettered_one("Big")
        ('blue', 'Franklin', 'Big')
    """
    head, _, rest = text.strip().partition(" ")
    return rest.strip() if len(head.strip("().:")) == 1 and head != head.strip("().:") else text


def boxes_of(row: Row, reading: Reading, usual: Frame | None) -> tuple[Box, ...]:
    """Return a row's boxes, which know what their numbers mean.

    Raises:
        DataError: If they are no boxes.
        ConfigError: If neither the layout nor the user says what the numbers mean.
    """
    if not any(row.has(name) and row.values[name] != [] for name in BOXES):
        return ()
    frame = reading.frame_or(usual, row.where)
    return tuple(replace(box, frame=frame) for box in row.boxes(*BOXES))


READER = Reader(
    "vqa",
    "questions in a table or beside images: image, question, answer, options, boxes",
    load,
    ("images",),
)
