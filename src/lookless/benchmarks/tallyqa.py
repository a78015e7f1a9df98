"""TallyQA, test split: how many? Simple questions, and complex ones about parts and relations.

Source: Acharya et al. (2019), arXiv 1810.12440; the authors' `test.json` beside the images of
Visual Genome and COCO, or `tallyqa_data.tsv` of `moondream/TallyQA-VLMEvalKit`. `accuracy`, then
that of simple and of complex questions; the latter is what most papers quote.

VLMEvalKit reads the first number from 0 to 20, so what is above counts as wrong; here any whole
number is read. The paper's RMSE is left out: an answer without a number has no error to square. A
TSV that does not say which questions are simple leaves `family` empty.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lookless.benchmarks.benchmark import Benchmark, Entry, Graded, Metric, by_family, share
from lookless.benchmarks.tables import Files, ImageKeys, Row
from lookless.episode import Question
from lookless.grading.count import count

INSTRUCTION = "Answer the question using a single number."
_FAMILIES = {"true": "simple", "1": "simple", "false": "complex", "0": "complex"}
_FILES = ("tallyqa_data.tsv", "*.tsv", "test.json")


def load(files: Files) -> Iterator[Entry]:
    """Yield the questions; `family` is `simple` or `complex`, `kind` where they come from."""
    keys = ImageKeys()
    for row in files.rows(*_FILES, images=()):
        is_json = row.has("question_id")
        question = Question(
            id=row.text("question_id", "index"),
            image=Path(),
            text=f"{row.text('question')}\n{INSTRUCTION}",
            answer=str(row.integer("answer")),
            family=_family(row),
            kind=row.optional("data_source") or "",
            cluster=row.text("image") if is_json else keys.of(row, "image"),
        )
        stored = row.file("image", beside=("images",)) if is_json else row.image("image")
        yield Entry(question, (stored,))


def _family(row: Row) -> str:
    for name in ("issimple", "category"):
        if row.has(name):
            said = str(row.values[name]).strip().lower()
            if _FAMILIES.get(said, said) not in _FAMILIES.values():
                raise row.wrong((name,), "true or false, or simple or complex", row.values[name])
            return _FAMILIES.get(said, said)
    return ""


def score(graded: Sequence[Graded]) -> list[Metric]:
    """Return `accuracy`, then that of simple and of complex questions."""
    return [share("accuracy", graded), *by_family([g for g in graded if g.question.family])]


BENCHMARK = Benchmark(
    name="tallyqa",
    title="TallyQA test",
    about="Counting, simple and complex; free answers.",
    home="moondream/TallyQA-VLMEvalKit",
    files=_FILES,
    licence="not stated",
    clusters="image",
    counts={"simple": 22_991, "complex": 15_598},
    load=load,
    grade=count,
    score=score,
)
