"""ChartQA, test: questions on charts, half by people and half made from captions.

Source: Masry et al. (2022), arXiv 2203.10244; the authors' `test_human.json` and
`test_augmented.json` beside `png`, the parquet of `lmms-lab/ChartQA`, or VLMEvalKit's
`ChartQA_TEST.tsv`. Relaxed accuracy: numbers within 5 %, words exactly; over all, and of both
halves. Years have their 5 % too, so that 2009 for 2010 is right; see `relaxed` for what differs.
Only the TSV has ids; otherwise they are `human/0`, `human/1`, ... in the file's order.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from lookless.benchmarks.benchmark import Benchmark, Entry, Graded, Metric, share
from lookless.benchmarks.stored import Stored
from lookless.benchmarks.tables import Files, ImageKeys, Row
from lookless.episode import Question
from lookless.grading.relaxed import relaxed

HALVES = ("human", "augmented")
INSTRUCTION = "Answer the question with a single word."
_FILES = (
    "data/test-*.parquet",
    "*.parquet",
    "ChartQA_TEST.tsv",
    "test_*.json",
    "test/test_*.json",
    "ChartQA Dataset/test/test_*.json",
)


def load(files: Files) -> Iterator[Entry]:
    """Yield the questions; `family` is the half."""
    keys = ImageKeys()
    numbers = Counter[str]()
    for table in files.tables(*_FILES):
        for row in Files(table, files.with_images).rows(images=()):
            half = _half(row, table)
            is_official = row.has("imgname")
            stored: Stored = (
                row.file("imgname", under=row.folder / "png") if is_official else row.image("image")
            )
            answers = row.answers("label", "answer")
            question = Question(
                id=row.optional("index") or f"{half}/{numbers[half]}",
                image=Path(),
                text=f"{row.text('query', 'question').strip()}\n{INSTRUCTION}",
                answer=answers[0],
                family=half,
                references=answers if len(answers) > 1 else (),
                cluster=row.text("imgname") if is_official else keys.of(row, "image"),
            )
            numbers[half] += 1
            yield Entry(question, (stored,))


def _half(row: Row, table: Path) -> str:
    said = row.optional("type", "split") or table.stem
    found = [half for half in HALVES if half in said]
    if len(found) != 1:
        raise row.wrong(("type", "split"), "human or augmented", said)
    return found[0]


def score(graded: Sequence[Graded]) -> list[Metric]:
    """Return `relaxed_overall`, then that of each half."""
    metrics = [share("relaxed_overall", graded)]
    for half in HALVES:
        part = [one for one in graded if one.question.family == half]
        metrics += [share(f"relaxed_{half}_split", part)] if part else []
    return metrics


BENCHMARK = Benchmark(
    name="chartqa",
    title="ChartQA test",
    about="Questions on charts, answered by a number or a word; relaxed accuracy.",
    home="lmms-lab/ChartQA",
    files=_FILES,
    licence="GPL-3.0",
    clusters="image",
    counts=dict.fromkeys(HALVES, 1250),
    load=load,
    grade=relaxed,
    score=score,
)
