"""TreeBench: subtle targets in crowded photographs, with the evidence as boxes.

Source: Wang et al. (2025), "Traceable Evidence Enhanced Visual Grounded Reasoning", arXiv
2507.07999; `TreeBench.tsv`. Accuracy over 405 questions and by category, as the authors report.

Their second number, the mean IoU of boxes that a model writes as `<box>[x1,y1,x2,y2]</box>`, is
left out: it grades the wording of the thoughts, in coordinates of the image as the model got it,
and not the answer. The boxes are kept as evidence, so whether looks cover them is measured for all
benchmarks alike. Letters are read by our grader and not by the script's first capital from A to E,
which reads "Because" as B.
"""

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
from lookless.benchmarks.tables import Files
from lookless.episode import Question
from lookless.grading.multiple_choice import multiple_choice

INSTRUCTION = "Answer with the option's letter."
_FILES = ("TreeBench.tsv", "*.tsv", "data/*.parquet", "*.parquet")


def load(files: Files) -> Iterator[Entry]:
    """Yield the questions; `family` is the category, such as Perception/OCR."""
    for row in files.rows(*_FILES):
        options = row.options("ABCDEFGH")
        question = Question(
            id=row.text("index"),
            image=Path(),
            text=lettered(row.text("question"), options, INSTRUCTION),
            answer=row.letter("answer", options=len(options)),
            family=row.text("category"),
            kind=row.optional("l2-category") or "",
            boxes=row.boxes("target_instances"),
            choices=len(options),
            options=options,
        )
        yield Entry(question, (row.image("image"),))


def score(graded: Sequence[Graded]) -> list[Metric]:
    """Return `accuracy`, then that of each category."""
    return [share("accuracy", graded), *by_family(graded)]


BENCHMARK = Benchmark(
    name="treebench",
    title="TreeBench",
    about="Attributes, text, order and perspective of tiny targets in crowded scenes; options.",
    home="HaochenWang/TreeBench",
    files=_FILES,
    licence="Apache-2.0",
    clusters="question",
    counts={
        "Perception/Attributes": 29,
        "Perception/Material": 13,
        "Perception/Physical State": 23,
        "Perception/Object Retrieval": 16,
        "Perception/OCR": 68,
        "Reasoning/Perspective Transform": 85,
        "Reasoning/Ordering": 57,
        "Reasoning/Contact and Occlusion": 41,
        "Reasoning/Spatial Containment": 29,
        "Reasoning/Comparison": 44,
    },
    load=load,
    grade=multiple_choice,
    score=score,
)
