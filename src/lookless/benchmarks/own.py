"""Your own questions: a table, a folder with a table, or images with a JSON file beside each.

Fields of a row or JSON file, of which the first two or three are needed:

- `image`: a file, relative to the table, or the image itself (bytes or base64); beside an image it
  is that one;
- `question`;
- `answer`: with options their letter or text, else a text or a list of accepted ones;
- `options`: a list, or columns A, B, C, ...;
- `boxes`: where the evidence is, as left, top, right, bottom in pixels of the image, one or a list;
- `category`, and `id`, which is otherwise the row's number or the file's name;
- `instruction`: what is said after the question instead of the usual words; an empty text for
  nothing.

With options the chosen letter is graded, without them the answer must be an accepted one up to case
and punctuation. Questions about one image are a cluster.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from string import ascii_uppercase

from lookless.benchmarks.benchmark import (
    Benchmark,
    Entry,
    Graded,
    Metric,
    by_family,
    lettered,
    share,
)
from lookless.benchmarks.stored import Stored
from lookless.benchmarks.tables import KINDS, Files, ImageKeys, Row, read_json
from lookless.episode import Question
from lookless.errors import DataError
from lookless.frames import Box
from lookless.grading.exact import exact_match
from lookless.grading.free_form import free_form
from lookless.grading.multiple_choice import multiple_choice
from lookless.grading.verdict import Verdict

LETTER, PHRASE = "Answer with the option's letter.", "Answer with a single word or phrase."
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif")
_FILES = tuple(f"*{kind}" for kind in (".jsonl", ".csv", ".tsv", ".parquet", ".json"))
_LONGEST_NAME = 1024
_SHORTEST_IMAGE = 64
_ADVICE = "the documentation of lookless.benchmarks.own lists the fields"


def load(files: Files) -> Iterator[Entry]:
    """Yield the questions of a table, or those beside images."""
    beside = beside_images(files.path) if files.path.is_dir() else []
    if beside:
        for image in beside:
            file = image.with_suffix(".json")
            row = Row(read_json(file), f"{file.name!r}", file.parent, files.with_images)
            yield Entry(question(row, image.stem, image.name), (image,))
        return
    keys = ImageKeys()
    table = only_table(files.path) if files.path.is_dir() else files.path
    for number, row in enumerate(Files(table, files.with_images).rows(images=()), 1):
        value = row.values.get("image")
        is_file = isinstance(value, str) and is_name(value)
        stored: Stored = row.file("image", is_anywhere=True) if is_file else row.image("image")
        cluster = row.text("image") if is_file else keys.of(row, "image")
        yield Entry(question(row, str(number), cluster), (stored,))


def beside_images(folder: Path) -> list[Path]:
    """Return the images of a folder that holds a JSON file beside each; none in another folder.

    Raises:
        DataError: If only some images and JSON files have their partner.
    """
    files = [file for file in sorted(folder.iterdir()) if file.is_file()]
    images = [file for file in files if file.suffix.lower() in SUFFIXES]
    if not any(image.with_suffix(".json") in files for image in images):
        return []
    names = {image.stem for image in images}
    single = [image for image in images if image.with_suffix(".json") not in files]
    single += [f for f in files if f.suffix.lower() == ".json" and f.stem not in names]
    if single:
        raise DataError(
            f"each image must have a JSON file of its name beside it, got {single[0].name!r} alone "
            f"in {str(folder)!r}{f', and {len(single) - 1} more' if len(single) > 1 else ''}; add "
            "its partner, or take it out"
        )
    return images


def is_name(text: str) -> bool:
    """Return whether a text can name a file: base64 of an image is long and holds no dot."""
    return len(text) <= _LONGEST_NAME and ("." in text or len(text) < _SHORTEST_IMAGE)


def only_table(folder: Path) -> Path:
    """Return the one table of a folder.

    Raises:
        DataError: If there is none, or several.
    """
    found = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in KINDS]
    if len(found) != 1:
        names = ", ".join(file.name for file in found[:3]) or "none"
        raise DataError(
            f"a folder of questions must hold one table ({', '.join(KINDS)}), or images with a "
            f"JSON file beside each, got {names} in {str(folder)!r}; name the table itself"
        )
    return found[0]


def question(row: Row, name: str, cluster: str) -> Question:
    """Return what a row asks, without its image.

    Args:
        row: The fields.
        name: Its id, unless it has one.
        cluster: What tells its image from others.

    Raises:
        DataError: If a field is missing or does not fit.
    """
    row = replace(row, advice=_ADVICE)
    options = _options(row)
    references = row.answers("answer")
    said = row.values.get("instruction")
    return Question(
        id=row.optional("id") or name,
        image=Path(),
        text=worded(row.text("question"), options, said if isinstance(said, str) else None),
        answer=_letter(row, references[0], options) if options else references[0],
        family=row.optional("category") or "",
        boxes=_boxes(row),
        choices=len(options),
        options=options,
        references=() if options else references,
        cluster=cluster,
    )


def worded(question: str, options: Sequence[str], instruction: str | None = None) -> str:
    r"""Return a question as it is asked.

    Args:
        question: The words alone.
        options: What can be chosen from.
        instruction: What is said after it; None: the usual words.

    Example:
        >>> worded("Which?", ["red", "blue"])
        "Which?\nA. red\nB. blue\nAnswer with the option's letter."
        >>> worded("Which letter?", [], "")
        'Which letter?'
    """
    usual = LETTER if options else PHRASE
    said = usual if instruction is None else instruction.strip()
    text = lettered(question.strip(), options, said) if options else f"{question.strip()}\n{said}"
    return text.strip()


def _boxes(row: Row) -> tuple[Box, ...]:
    boxes = row.boxes("boxes") if row.has("boxes") else ()
    if any(box.width <= 0 or box.height <= 0 for box in boxes):
        rule = "boxes of left < right and top < bottom (x1, y1, x2, y2, not x, y, width, height)"
        raise row.wrong(("boxes",), rule, [list(box.coordinates) for box in boxes])
    return boxes


def _options(row: Row) -> tuple[str, ...]:
    if row.has("A"):
        return row.options("ABCDEFGHIJ")
    if not row.has("options") or row.values["options"] == []:
        return ()
    options = row.texts("options")
    if not 2 <= len(options) <= len(ascii_uppercase):
        raise row.wrong(("options",), "two to 26 options", list(options))
    return options


def _letter(row: Row, answer: str, options: Sequence[str]) -> str:
    """Return the letter of the right option, which is named by its letter or its text."""
    same = [k for k, option in enumerate(options) if exact_match(answer, option)]
    if len(same) == 1:
        return chr(ord("A") + same[0])
    return row.letter("answer", options=len(options))


def grade(question: Question, text: str) -> Verdict:
    """Return the verdict by letter where there are options, else by strict rules."""
    return multiple_choice(question, text) if question.options else free_form(question, text)


def score(graded: Sequence[Graded]) -> list[Metric]:
    """Return `accuracy`, then that of each category, if there are any."""
    has_categories = any(one.question.family for one in graded)
    return [share("accuracy", graded), *(by_family(graded) if has_categories else [])]


BENCHMARK = Benchmark(
    name="own",
    title="Your own questions",
    about="A table or folder of image, question and answer; with or without options.",
    home="your files",
    files=_FILES,
    licence="yours",
    clusters="image",
    counts={},
    load=load,
    grade=grade,
    score=score,
)
