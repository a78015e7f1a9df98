"""MMStar: 1,500 questions that need the image, over six abilities and 18 axes.

Source: Chen et al. (2024), "Are We on the Right Way for Evaluating Large Vision-Language Models?",
arXiv 2403.20330; `mmstar.parquet` or `MMStar.tsv`. `average` is the share of right answers, as in
the authors' script, then that of the six categories. `macro_18` is the unweighted mean over the 18
axes, which lmms-eval calls `average`: its axes have 31 to 146 questions, so the two differ.

The official files hold the options inside the question, as `Options: A: ..., B: ...` or, in what
comes from MathVista, as `Choices:` and lines `(A) ...`; they are asked as they stand. Where they
cannot be taken apart, or the right one is not among them, they are known by letter only.
The authors' script takes the first letter of an answer for its choice, so that "Based on" is B;
here the answer is read by our grader. Images are small: looking closer should rarely pay.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import ascii_uppercase

from lookless.benchmarks.benchmark import (
    Benchmark,
    Entry,
    Graded,
    Metric,
    by_family,
    lettered,
    macro,
    share,
)
from lookless.benchmarks.tables import Files
from lookless.episode import Question
from lookless.grading.multiple_choice import multiple_choice

LETTERS = "ABCD"
INSTRUCTION = "Answer with the option's letter."
CATEGORIES = (
    "coarse perception",
    "fine-grained perception",
    "instance reasoning",
    "logical reasoning",
    "math",
    "science & technology",
)
_FILES = ("mmstar.parquet", "data/val-*.parquet", "val-*.parquet", "MMStar.tsv")
_HEADING = re.compile(r"\b(?:Options|Choices):")
_LABELS = re.compile(r",?\s+([A-H]):\s*"), re.compile(r",?\s+\(([A-H])\)\s*")


def load(files: Files) -> Iterator[Entry]:
    """Yield the questions; `family` is the category and `kind` the axis."""
    for row in files.rows(*_FILES):
        asked = row.text("question")
        if row.has("A"):
            options = row.options()
            text = lettered(asked, options, INSTRUCTION)
        else:
            options = inline_options(asked)
            if row.text("answer").strip() in LETTERS[len(options) :]:
                options = tuple(LETTERS)
            text = f"{asked.strip()}\n{INSTRUCTION}"
        category = row.text("category")
        if category not in CATEGORIES:
            raise row.wrong(("category",), f"one of {', '.join(CATEGORIES)}", category)
        question = Question(
            id=row.text("index"),
            image=Path(),
            text=text,
            answer=row.letter("answer", options=len(options)),
            family=category,
            kind=row.text("l2_category", "l2-category"),
            choices=len(options),
            options=options,
        )
        yield Entry(question, (row.image("image"),))


def inline_options(asked: str) -> tuple[str, ...]:
    r"""Return the options inside a question, or the four letters if they cannot be told apart.

    Example:
        >>> inline_options("Which?\nOptions: A: red, B: dark, blue, C: 3, D: none")
        ('red', 'dark, blue', '3', 'none')
        >>> inline_options("Which of them?")
        ('A', 'B', 'C', 'D')
    """
    headings = list(_HEADING.finditer(asked))
    listed = asked[headings[-1].end() :] if headings else ""
    for label in _LABELS:
        marks: list[re.Match[str]] = []
        for mark in label.finditer(listed):
            if mark[1] == ascii_uppercase[len(marks)]:  # an option may hold another's label
                marks.append(mark)
        if len(marks) >= 2:
            ends = [mark.start() for mark in marks[1:]] + [len(listed)]
            pairs = zip(marks, ends, strict=True)
            return tuple(listed[mark.end() : end].strip() for mark, end in pairs)
    return tuple(LETTERS)


def score(graded: Sequence[Graded]) -> list[Metric]:
    """Return `average`, that of each category, and `macro_18`."""
    axes = [(one.question.family, one.question.kind) for one in graded]
    return [share("average", graded), *by_family(graded), macro("macro_18", graded, axes)]


BENCHMARK = Benchmark(
    name="mmstar",
    title="MMStar",
    about="Six abilities, each question needs its image; options.",
    home="Lin-Chen/MMStar",
    files=_FILES,
    licence="not stated (research use)",
    clusters="question",
    counts=dict.fromkeys(CATEGORIES, 250),
    load=load,
    grade=multiple_choice,
    score=score,
)
