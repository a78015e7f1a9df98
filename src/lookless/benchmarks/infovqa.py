"""InfographicVQA, validation: questions on infographics, answered by a span, scored by ANLS.

Source: Mathew et al. (2021), arXiv 2104.12756; the parquet of `lmms-lab/DocVQA` (configuration
InfographicVQA), VLMEvalKit's `InfoVQA_VAL.tsv`, or the challenge's `infographicsVQA_val_*.json`
beside its images. `anls` as in the challenge's script, and `exact_match`, which is ours.

The answers of the test split are not public: it cannot be scored here, and published numbers are
mostly of that split. Do not mix them. Predictions are stripped before they are compared; in the
script they are not, so that blanks at the end raise the score.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lookless.benchmarks.benchmark import Benchmark, Entry, Graded, Metric, share
from lookless.benchmarks.stored import Stored
from lookless.benchmarks.tables import Files, ImageKeys, Row
from lookless.episode import Question
from lookless.errors import DataError
from lookless.grading.anls import anls
from lookless.grading.exact import exact_match
from lookless.grading.verdict import Verdict

INSTRUCTION = "Answer the question using a single word or phrase."
_FILES = (
    "InfographicVQA/validation-*.parquet",
    "validation-*.parquet",
    "*.parquet",
    "InfoVQA_VAL.tsv",
    "infographicsVQA_val*.json",
)
_PLACES = ("image_url", "ucsf_document_id", "image_local_name", "image_id")
"""Fields that say which image it is, without the image."""


def load(files: Files, patterns: Sequence[str] = _FILES) -> Iterator[Entry]:
    """Yield the questions; those on one infographic are a cluster.

    Args:
        files: The files.
        patterns: Of the tables.

    Raises:
        DataError: If a file does not fit, or has no answers.
    """
    keys = ImageKeys()
    peeked = next(Files(files.path, with_images=False).rows(*patterns), None)
    is_named = peeked is not None and any(peeked.has(name) for name in _PLACES)
    for row in files.rows(*patterns, images=("image",) if is_named else ()):
        references = _references(row)
        question = Question(
            id=row.text("index", "questionId", "question_id"),
            image=Path(),
            text=f"{row.text('question').strip()}\n{INSTRUCTION}",
            answer=references[0],
            references=references,
            cluster=_place(row) if is_named else keys.of(row, "image"),
        )
        yield Entry(question, (_stored(row),))


def _references(row: Row) -> tuple[str, ...]:
    names = ("answers", "answer")
    if not any(row.has(name) for name in names) and any(name in row.values for name in names):
        raise DataError(
            f"{row.where}: answers must be there, got none, as in the test split, whose answers "
            "are not public; take the validation split"
        )
    if not row.has("answers") and not row.text("answer").startswith("["):
        return (row.text("answer"),)
    references = tuple(text for text in row.texts(*names) if text.strip())
    if not references:
        raise row.wrong(names, "at least one answer", row.parsed(*names))
    return references


def _place(row: Row) -> str:
    name = next((name for name in _PLACES if row.has(name)), None)
    if name is None:
        raise row.wrong(_PLACES, "filled in", None)
    page = row.optional("ucsf_document_page_no") or ""
    return f"{row.text(name)}{page and '/'}{page}"


def _stored(row: Row) -> Stored:
    if row.has("image_local_name"):
        folders = ("images", "infographicsvqa_images", "infographicVQA_val_v1.0_images")
        return row.file("image_local_name", beside=folders)
    value = row.values.get("image")
    is_name = isinstance(value, str) and value.endswith((".png", ".jpg", ".jpeg"))
    return row.file("image") if is_name else row.image("image")


def score(graded: Sequence[Graded]) -> list[Metric]:
    """Return `anls` and `exact_match`."""
    return [share("anls", graded), share("exact_match", [_exact(one) for one in graded])]


def _exact(one: Graded) -> Graded:
    """Return the same answer, right only if it equals one of the references."""
    said = one.verdict.answer
    is_right = said is not None and any(
        exact_match(said, reference) for reference in one.question.references
    )
    return replace(one, verdict=Verdict(said, float(is_right)))


BENCHMARK = Benchmark(
    name="infovqa",
    title="InfographicVQA validation",
    about="Questions on infographics, answered by a span; ANLS.",
    home="lmms-lab/DocVQA",
    files=_FILES,
    licence="Apache-2.0 (card of lmms-lab/DocVQA)",
    clusters="image",
    counts={"": 2801},
    load=load,
    grade=anls,
    score=score,
)
