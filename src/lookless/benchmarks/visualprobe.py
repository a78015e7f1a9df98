"""VisualProbe: visual search in large images at three levels of difficulty; free answers.

Source: Lai et al. (2025), "Mini-o3", arXiv 2509.07969; `val.json` and the folder `data` of
`Mini-o3/VisualProbe_{Easy,Medium,Hard}`. The authors report the mean over 32 answers.

They have GPT-4o judge every answer. Here rules do, which forgive no other wording: the numbers are
not comparable with published ones unless a judge is used too.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from lookless.benchmarks.benchmark import Benchmark, Entry, Graded, Metric, share
from lookless.benchmarks.tables import Files
from lookless.episode import Question
from lookless.grading.free_form import free_form

INSTRUCTION = "Answer the question using a single word or phrase."


def load(files: Files, level: str) -> Iterator[Entry]:
    """Yield the questions of one level, which is their `family`."""
    for row in files.rows("val.json", f"VisualProbe_{level.capitalize()}/val.json"):
        names = row.texts("images")
        if len(names) != 1:
            raise row.wrong(("images",), "a list of one image", list(names))
        # Named from the folder above the data set's: VisualProbe_Hard/data/x.jpg.
        name = Path(names[0])
        files_of = [row.folder.parent / name, row.folder / name, row.folder / "data" / name.name]
        asked = row.text("problem").replace("<image>", "").strip()
        question = Question(
            id=row.text("doc_id"),
            image=Path(),
            text=f"{asked}\n{INSTRUCTION}",
            answer=row.text("solution").strip(),
            family=level,
            kind=row.optional("data_source") or "",
            cluster=names[0],
        )
        yield Entry(question, (row.existing("images", files_of),))


def score(graded: Sequence[Graded]) -> list[Metric]:
    """Return `accuracy`; over several answers to a question it is their mean."""
    return [share("accuracy", graded)]


def _of_level(level: str, count: int) -> Benchmark:
    return Benchmark(
        name=f"visualprobe_{level}",
        title=f"VisualProbe {level}",
        about=f"Visual search in large images, {level}; free answers.",
        home=f"Mini-o3/VisualProbe_{level.capitalize()}",
        files=("val.json", "data/*"),
        licence="not stated",
        clusters="image",
        counts={level: count},
        load=partial(load, level=level),
        grade=free_form,
        score=score,
    )


EASY = _of_level("easy", 141)
MEDIUM = _of_level("medium", 268)
HARD = _of_level("hard", 106)
