"""MMMU, validation split: college-level questions with figures from 30 subjects.

Source: Yue et al. (2023), arXiv 2311.16502; the parquet of `MMMU/MMMU`, one folder a subject, or of
`lmms-lab/MMMU`. `accuracy` is over all 900 questions, with options or open, then by discipline.

Differs from the official `eval_utils.py`: a letter that cannot be read is wrong and not drawn at
random; an open answer must be equal to a reference and not merely contain it. A question has up to
seven images; they are given in the order in which the question and its options name them, and
`<image k>` is renumbered to that order.
"""

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
from lookless.benchmarks.tables import Files, Row
from lookless.episode import Question
from lookless.grading.free_form import free_form
from lookless.grading.multiple_choice import multiple_choice
from lookless.grading.verdict import Verdict

LETTER = "Answer with the option's letter."
PHRASE = "Answer the question using a single word or phrase."
IMAGES = tuple(f"image_{k}" for k in range(1, 8))
DISCIPLINES = {
    "Art and Design": "Art Art_Theory Design Music",
    "Business": "Accounting Economics Finance Manage Marketing",
    "Science": "Biology Chemistry Geography Math Physics",
    "Health and Medicine": (
        "Basic_Medical_Science Clinical_Medicine Diagnostics_and_Laboratory_Medicine Pharmacy "
        "Public_Health"
    ),
    "Humanities and Social Science": "History Literature Psychology Sociology",
    "Tech and Engineering": (
        "Agriculture Architecture_and_Engineering Computer_Science Electronics Energy_and_Power "
        "Materials Mechanical_Engineering"
    ),
}
_OF_SUBJECT = {subject: name for name, some in DISCIPLINES.items() for subject in some.split()}
_SUBJECT = re.compile(r"[a-z]+_(.+)_\d+")
_IMAGE = re.compile(r"<image (\d)>")
_FILES = ("*/validation-*.parquet", "validation-*.parquet", "*.parquet")


def load(files: Files) -> Iterator[Entry]:
    """Yield the questions; `family` is the discipline and `kind` the subject, as in the id."""
    for row in files.rows(*_FILES, images=IMAGES):
        asked, options = row.text("question"), _options(row)
        shown = list(dict.fromkeys(_IMAGE.findall("\n".join([asked, *options]))))
        asked, *options = (_renumbered(text, shown) for text in (asked, *options))
        references = () if options else _references(row)
        match = _SUBJECT.fullmatch(row.text("id"))
        subject = match[1] if match else ""
        question = Question(
            id=row.text("id"),
            image=Path(),
            text=lettered(asked, options, LETTER) if options else f"{asked}\n{PHRASE}",
            answer=row.letter("answer", options=len(options)) if options else references[0],
            family=_OF_SUBJECT.get(subject, ""),
            kind=subject,
            choices=len(options),
            options=tuple(options),
            references=references,
        )
        fields = [f"image_{k}" for k in shown] or [name for name in IMAGES if row.has(name)]
        yield Entry(question, tuple(row.image(name) for name in fields or IMAGES[:1]))


def _options(row: Row) -> list[str]:
    kind = row.text("question_type")
    if kind == "open":
        return []
    if kind != "multiple-choice":
        raise row.wrong(("question_type",), "multiple-choice or open", kind)
    options = row.texts("options")
    if len(options) < 2:
        raise row.wrong(("options",), "at least two options", list(options))
    return list(options)


def _references(row: Row) -> tuple[str, ...]:
    """Return the accepted answers to an open question: one, or a list that is written as text."""
    answer = row.text("answer")
    references = row.texts("answer") if answer.startswith("[") else (answer,)
    if not references:
        raise row.wrong(("answer",), "an answer", answer)
    return references


def _renumbered(text: str, shown: Sequence[str]) -> str:
    """Return a text whose `<image k>` count up in the order in which the images are given.

    Example:
        >>> _renumbered("<image 3> or <image 1>?", ["3", "1"])
        '<image 1> or <image 2>?'
    """
    return _IMAGE.sub(lambda match: f"<image {shown.index(match[1]) + 1}>", text)


def grade(question: Question, text: str) -> Verdict:
    """Return the verdict by letter where there are options, else by strict rules."""
    return multiple_choice(question, text) if question.options else free_form(question, text)


def score(graded: Sequence[Graded]) -> list[Metric]:
    """Return `accuracy` over all questions, then that of each discipline."""
    return [share("accuracy", graded), *by_family(graded)]


BENCHMARK = Benchmark(
    name="mmmu",
    title="MMMU validation",
    about="College-level questions with figures from 30 subjects, with options and open.",
    home="MMMU/MMMU",
    files=_FILES,
    licence="Apache-2.0",
    clusters="question",
    counts={name: 30 * len(some.split()) for name, some in DISCIPLINES.items()},
    load=load,
    grade=grade,
    score=score,
)
