r"""LookWorld: scenes drawn by this package, where it is known whether a question needs a look.

Source: `questions.jsonl` and `images/` as `lookless lookworld` and `lookless demo` write them. The
answer must be in `\boxed{}` and match exactly, as in training; `accuracy`, then by family.
Questions about one scene share its image and so are one cluster.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lookless.benchmarks.benchmark import Benchmark, Entry, Graded, Metric, by_family, share
from lookless.benchmarks.tables import Files, Row
from lookless.episode import Question
from lookless.grading.exact import boxed_exact

MOST_PX = 1e6
"""No detail is larger."""


def load(files: Files) -> Iterator[Entry]:
    """Yield the questions with their evidence, and what is known of their need of a look."""
    for row in files.rows("questions.jsonl"):
        question = Question(
            id=row.text("id"),
            image=Path(),
            text=row.text("question"),
            answer=row.text("answer"),
            family=row.text("family"),
            kind=row.optional("kind") or "",
            needs_look=_needs_look(row),
            detail_px=_number(row, "detail_px"),
            boxes=row.boxes("boxes"),
            choices=row.integer("choices"),
            cluster=Path(row.text("image")).stem,
        )
        yield Entry(question, (row.file("image"),))


def _needs_look(row: Row) -> bool | None:
    value = row.values.get("needs_look")
    if value is not None and not isinstance(value, bool):
        raise row.wrong(("needs_look",), "true, false or null", value)
    return value


def _number(row: Row, name: str) -> float | None:
    value = row.values.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < MOST_PX:
        raise row.wrong((name,), f"a number from 0 to {MOST_PX:.0f}, or null", value)
    return float(value)


def score(graded: Sequence[Graded]) -> list[Metric]:
    """Return `accuracy`, then that of each family of questions."""
    return [share("accuracy", graded), *by_family(graded)]


BENCHMARK = Benchmark(
    name="lookworld",
    title="LookWorld",
    about="Drawn signs whose small details are illegible in the overview; short answers.",
    home="made by lookless lookworld",
    files=("questions.jsonl", "images/*"),
    licence="Apache-2.0",
    clusters="image",
    counts={},
    load=load,
    grade=boxed_exact,
    score=score,
)
