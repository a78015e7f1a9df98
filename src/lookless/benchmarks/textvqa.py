"""TextVQA, validation: questions on text in photographs, each answered by ten people.

Source: Singh et al. (2019), arXiv 1904.08920; `TextVQA_0.5.1_val.json` beside `train_images`, the
parquet of `lmms-lab/textvqa`, or VLMEvalKit's `TextVQA_VAL.tsv`. `accuracy` is the VQA accuracy:
the mean over all sets of nine people of min(1, how many of them agree / 3).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lookless.benchmarks.benchmark import Benchmark, Entry, Graded, Metric, share
from lookless.benchmarks.stored import Stored
from lookless.benchmarks.tables import Files, ImageKeys
from lookless.episode import Question
from lookless.grading.vqa_accuracy import vqa_accuracy

INSTRUCTION = "Answer the question using a single word or phrase."
PEOPLE = 10
_FILES = (
    "data/validation-*.parquet",
    "validation-*.parquet",
    "*.parquet",
    "TextVQA_VAL.tsv",
    "TextVQA_*val.json",
)


def load(files: Files) -> Iterator[Entry]:
    """Yield the questions; those on one photograph are a cluster."""
    keys = ImageKeys()
    for row in files.rows(*_FILES, images=()):
        references = row.texts("answers", "answer")
        if len(references) != PEOPLE:
            raise row.wrong(("answers", "answer"), f"{PEOPLE} answers", list(references))
        has_image = row.has("image")
        question = Question(
            id=row.text("index", "question_id"),
            image=Path(),
            text=f"{row.text('question').strip()}\n{INSTRUCTION}",
            answer=max(references, key=references.count),
            references=references,
            cluster=row.optional("image_id") or keys.of(row, "image"),
        )
        stored: Stored
        if has_image:
            stored = row.image("image")
        else:
            name = f"{row.text('image_id')}.jpg"
            folders = (row.folder / "train_images", row.folder / "train_val_images/train_images")
            stored = row.existing("image_id", [folder / name for folder in folders])
        yield Entry(question, (stored,))


def score(graded: Sequence[Graded]) -> list[Metric]:
    """Return `accuracy`, the VQA accuracy."""
    return [share("accuracy", graded)]


BENCHMARK = Benchmark(
    name="textvqa",
    title="TextVQA validation",
    about="Questions on text in photographs; VQA accuracy over ten answers.",
    home="lmms-lab/textvqa",
    files=_FILES,
    licence="CC BY 4.0",
    clusters="image",
    counts={"": 5000},
    load=load,
    grade=vqa_accuracy,
    score=score,
)
