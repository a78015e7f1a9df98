"""V* Bench: attributes and relative positions of small objects in photographs of SA-1B.

Source: Wu and Xie (2023), "V*: Guided Visual Search", arXiv 2312.14135. Read in five forms:
`test_questions.jsonl` beside the folders of images, the JSON beside each image, VLMEvalKit's
`VStarBench.tsv`, and two parquet forms. Accuracy over the 191 questions, and of both categories.

In the JSON beside an image the first option is always the right one, so lettering them in order
would make every answer A. They are shuffled here, by a seed that is the image's name; prefer the
JSONL, whose order is the authors'. The boxes of the targets are read from that JSON wherever it is
there. `OCR` and `GPT4V-hard` are no part of the 191. The authors choose the option of highest
likelihood; like everybody since, we let the model answer and read the letter, so the two kinds of
number do not compare.
"""

import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from lookless.benchmarks.benchmark import (
    Benchmark,
    Entry,
    Graded,
    Metric,
    by_family,
    lettered,
    share,
)
from lookless.benchmarks.tables import Files, Row, read_json
from lookless.episode import Question
from lookless.errors import DataError
from lookless.frames import Box, Frame
from lookless.grading.multiple_choice import multiple_choice

CATEGORIES = {"direct_attributes": 115, "relative_position": 76}
INSTRUCTION = "Answer with the option's letter."
_TABLES = ("test_questions.jsonl", "VStarBench.tsv", "data/test-*.parquet", "*.parquet")
_LETTERED = re.compile(r"^\s*\(?([A-Z])[).]\s*", re.MULTILINE)
_OFFICIAL = re.compile(r"\s*Answer with the option's letter from the given choices directly\.?\s*$")


def load(files: Files) -> Iterator[Entry]:
    """Yield the questions of any of the forms; `family` is the category."""
    is_folder = files.path.is_dir()
    has_table = not is_folder or any(any(files.path.glob(name)) for name in _TABLES)
    yield from _of_tables(files) if has_table else _of_images(files)


def _of_tables(files: Files) -> Iterator[Entry]:
    for number, row in enumerate(files.rows(*_TABLES)):
        asked, options = _asked(row)
        category = row.optional("category") or ""
        if category and category not in CATEGORIES:
            raise row.wrong(("category",), f"one of {', '.join(CATEGORIES)}", category)
        is_jsonl = row.has("text") and isinstance(row.values.get("image"), str)
        stored = row.file("image") if is_jsonl else row.image("image")
        question = Question(
            id=row.optional("question_id", "index") or str(number),
            image=Path(),
            text=lettered(asked, options, INSTRUCTION),
            answer=_answer(row, len(options)),
            family=category,
            boxes=_boxes(row.folder / row.text("image")) if is_jsonl else (),
            choices=len(options),
            options=options,
        )
        yield Entry(question, (stored,))


def _asked(row: Row) -> tuple[str, tuple[str, ...]]:
    """Return question and options, which are columns, a list, or lines of the question."""
    if row.has("A"):
        return row.text("question"), row.options()
    if row.has("choices"):
        return row.text("question"), row.texts("choices")
    text = _OFFICIAL.sub("", row.text("text", "question"))
    found = list(_LETTERED.finditer(text))
    if len(found) < 2 or [match[1] for match in found] != list("ABCDEFGH"[: len(found)]):
        raise row.wrong(("text",), "a question with options (A), (B), ... on lines", text)
    ends = [match.start() for match in found[1:]] + [len(text)]
    options = [text[match.end() : end].strip() for match, end in zip(found, ends, strict=True)]
    return text[: found[0].start()].strip(), tuple(options)


def _answer(row: Row, options: int) -> str:
    if isinstance(row.values.get("answer"), int) and row.has("choices"):
        place = row.integer("answer")
        if not 0 <= place < options:
            raise row.wrong(("answer",), f"a number from 0 to {options - 1}", place)
        return chr(ord("A") + place)
    return row.letter("label", "answer", options=options)


def _of_images(files: Files) -> Iterator[Entry]:
    """Yield the questions of the JSON files beside the images, options shuffled."""
    found = [
        (category, file)
        for category in CATEGORIES
        for file in sorted((files.path / category).glob("*.json"))
    ]
    if not found:
        raise DataError(
            f"data must hold {' or '.join(_TABLES)} or folders {' and '.join(CATEGORIES)}, got "
            f"{str(files.path)!r} without; download it (lookless benchmarks says where)"
        )
    for category, file in found:
        row = Row(read_json(file), f"'{category}/{file.name}'", file.parent, files.with_images)
        options = list(row.texts("options"))
        if len(options) < 2:
            raise row.wrong(("options",), "at least two options", options)
        right = options[0]
        random.Random(file.stem).shuffle(options)
        question = Question(
            id=f"{category}/{file.stem}",
            image=Path(),
            text=lettered(row.text("question"), options, INSTRUCTION),
            answer=chr(ord("A") + options.index(right)),
            family=category,
            boxes=_targets(row),
            choices=len(options),
            options=tuple(options),
        )
        places = [file.with_suffix(suffix) for suffix in (".jpg", ".png", ".jpeg")]
        yield Entry(question, (row.existing("image", places),))


def _boxes(image: Path) -> tuple[Box, ...]:
    """Return the targets' boxes from the JSON beside an image, none without it."""
    file = image.with_suffix(".json")
    if not file.is_file():
        return ()
    return _targets(Row(read_json(file), f"'{file.parent.name}/{file.name}'", file.parent))


def _targets(row: Row) -> tuple[Box, ...]:
    """Return boxes that are given as left, top, width and height."""
    return tuple(
        Box(box.left, box.top, box.left + box.right, box.top + box.bottom, Frame.SOURCE)
        for box in row.boxes("bbox")
    )


def score(graded: Sequence[Graded]) -> list[Metric]:
    """Return `overall`, then the accuracy of each category."""
    return [share("overall", graded), *by_family(graded)]


BENCHMARK = Benchmark(
    name="vstar",
    title="V* Bench",
    about="Attributes and relative positions of small objects in photographs; options.",
    home="craigwu/vstar_bench",
    files=_TABLES,
    licence="MIT (code); questions not stated, images as SA-1B states",
    clusters="question",
    counts=CATEGORIES,
    load=load,
    grade=multiple_choice,
    score=score,
    on_hub=("test_questions.jsonl", "direct_attributes/*", "relative_position/*"),
)
