"""MMBench, dev split in English: perception and reasoning; right only if right in every order.

Source: Liu et al. (2023), arXiv 2307.06281; `MMBench_DEV_EN.tsv` or `MMBench_DEV_EN_V11.tsv` of
VLMEvalKit, or the parquet of `lmms-lab/MMBench`. Each question is asked once for each of its
options, which are rolled on by one; a copy has its question's index plus a multiple of 1,000,000.

`circular_accuracy`, the official number, is the share of questions whose copies are all right.
`vanilla_accuracy` is that of the unrolled rows alone and some points higher. Kept by our rules: no
model is asked to read an answer, and no letter is drawn at random where none can be read. `family`
is the official `l2-category` and `kind` its `category`, which here is the finer one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
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
from lookless.benchmarks.tables import Files
from lookless.episode import Question
from lookless.grading.multiple_choice import multiple_choice

INSTRUCTION = "Answer with the option's letter."
ROLL = 1_000_000
_TABLE = "MMBench_DEV_EN.tsv"
_TABLE_V11 = "MMBench_DEV_EN_V11.tsv"
_PARQUET = ("en/dev-*.parquet", "data/dev-*.parquet", "dev-*.parquet")


def load(files: Files, patterns: Sequence[str] = (_TABLE, *_PARQUET)) -> Iterator[Entry]:
    """Yield all rows, rolled ones too; `cluster` is the index of the unrolled one."""
    for row in files.rows(*patterns):
        # The parquet has the text nan where the TSV has nothing.
        values = {name: None if value == "nan" else value for name, value in row.values.items()}
        row = replace(row, values=values)
        options = row.options("ABCDE")
        index = row.integer("index")
        group = row.integer("g_index") if row.has("g_index") else index % ROLL
        hint = row.optional("hint")
        asked = row.text("question")
        question = Question(
            id=str(index),
            image=Path(),
            text=lettered(f"{hint}\n{asked}" if hint else asked, options, INSTRUCTION),
            answer=row.letter("answer", options=len(options)),
            family=row.text("l2-category", "L2-category"),
            kind=row.text("category"),
            choices=len(options),
            options=options,
            cluster=str(group),
        )
        yield Entry(question, (row.image("image"),))


def score(graded: Sequence[Graded]) -> list[Metric]:
    """Return `circular_accuracy`, `vanilla_accuracy`, and the circular one of each family."""
    circles = _circles(graded)
    unrolled = [one for one in graded if one.question.id == one.question.cluster]
    return [
        share("circular_accuracy", circles),
        share("vanilla_accuracy", unrolled),
        *by_family(circles),
    ]


def _circles(graded: Sequence[Graded]) -> list[Graded]:
    """Return one answer for each question with all its copies, as right as the worst of them."""
    circles: dict[tuple[str, int], list[Graded]] = {}
    for one in graded:
        circles.setdefault((one.question.unit, one.sample), []).append(one)
    worst = [
        min(circle, key=lambda one: one.verdict.grade)
        for circle in circles.values()
        if len(circle) == len(circle[0].question.options)  # one for each place of the right option
    ]
    return [replace(one, question=replace(one.question, id=one.question.unit)) for one in worst]


BENCHMARK = Benchmark(
    name="mmbench",
    title="MMBench dev (en)",
    about="General perception and reasoning with options; right only if right in every order.",
    home="https://opencompass.openxlab.space/utils/VLMEval",
    files=(_TABLE, *_PARQUET),
    licence="CC-BY-4.0",
    clusters="question",
    counts={"": 4329},
    load=load,
    grade=multiple_choice,
    score=score,
)
BENCHMARK_V11 = replace(
    BENCHMARK,
    name="mmbench_v11",
    title="MMBench 1.1 dev (en)",
    files=(_TABLE_V11,),
    counts={},
    load=partial(load, patterns=(_TABLE_V11,)),
)
"""Version 1.1; its number of rows is not checked."""
