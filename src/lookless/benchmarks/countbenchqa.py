"""CountBenchQA: how many? Two to ten objects, from CountBench with questions added.

Source: Beyer et al. (2024), "PaliGemma", arXiv 2407.07726, on CountBench (arXiv 2302.12066); the
parquet of `vikhyatk/CountBenchQA`, 491 questions, or `countbench_data.tsv` of VLMEvalKit.

The captions in the column `text` tell the number and are never shown; the task `countbenchqa` of
lmms-eval puts them before the question. VLMEvalKit looks for the number anywhere in the answer, so
that 13 passes as 3; here the numbers must be equal. The parquet has no ids: they are row numbers
from 0.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lookless.benchmarks.benchmark import Benchmark, Entry, Graded, Metric, share
from lookless.benchmarks.tables import Files
from lookless.episode import Question
from lookless.grading.count import count

INSTRUCTION = "Answer the question using a single number."
_FILES = ("data/test-*.parquet", "*.parquet", "countbench*.tsv", "CountBenchQA.tsv")


def load(files: Files) -> Iterator[Entry]:
    """Yield the questions without the captions, which tell the answers."""
    for number, row in enumerate(files.rows(*_FILES)):
        question = Question(
            id=row.optional("index") or str(number),
            image=Path(),
            text=f"{row.text('question')}\n{INSTRUCTION}",
            answer=str(row.integer("number", "answer")),
        )
        yield Entry(question, (row.image("image"),))


def score(graded: Sequence[Graded]) -> list[Metric]:
    """Return `accuracy`."""
    return [share("accuracy", graded)]


BENCHMARK = Benchmark(
    name="countbenchqa",
    title="CountBenchQA",
    about="Counting two to ten objects; free answers.",
    home="vikhyatk/CountBenchQA",
    files=_FILES,
    licence="not stated",
    clusters="question",
    counts={"": 491},
    load=load,
    grade=count,
    score=score,
)
