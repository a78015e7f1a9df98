"""MME-RealWorld-Lite: high-resolution photographs, charts and satellite images; five options.

Source: Zhang et al. (2024), arXiv 2408.13257; `mme_realworld_lite.tsv`, the parquet for lmms-eval,
or the JSON with its folder of images. Scored as their `evaluation/eval_your_results.py`: `average`
is the share of right answers, `average_c` the unweighted mean over the subtasks of both tasks.

Option E says that the answer is not in the image; it is lettered like the others, and a letter is
never guessed: the official script reads an empty answer as A, which we count as wrong. The
instruction leaves out "respond with only the letter", so that a model may look first. Per-category
scores are not reported, but `kind` names the category as the script does.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from lookless.benchmarks.benchmark import Benchmark, Entry, Graded, Metric, lettered, macro, share
from lookless.benchmarks.stored import Stored
from lookless.benchmarks.tables import Files, ImageKeys, Row
from lookless.episode import Question
from lookless.grading.multiple_choice import multiple_choice

LETTERS = "ABCDE"
INSTRUCTION = "Answer with the option's letter."
_OPTION = re.compile(r"\s*\(?([A-E])[).:]\s*(.*)", re.DOTALL)
_FILES = ("data/train-*.parquet", "*.parquet", "mme_realworld_lite.tsv", "*.tsv", "MME*.json")


def load(files: Files) -> Iterator[Entry]:
    """Yield the questions of any of the three forms; `family` is task/subtask."""
    keys = ImageKeys()
    for row in files.rows(*_FILES, images=()):
        options = _options(row)
        stored: Stored
        if row.has("Question_id"):
            family = f"{row.text('Task')}/{row.text('Subtask')}"
            stored = row.file("Image", beside=("imgs", "images", "data"))
            cluster = row.text("Image")
        else:
            family = row.text("category")
            stored = row.image("bytes", "image")
            cluster = keys.of(row, "bytes", "image")
        question = Question(
            id=row.text("Question_id", "index"),
            image=Path(),
            text=lettered(row.text("Text", "question"), options, INSTRUCTION),
            answer=row.letter("Ground truth", "answer", options=len(options)),
            family=family,
            kind=_category(row.text("Category", "l2-category")),
            choices=len(options),
            options=options,
            cluster=cluster,
        )
        yield Entry(question, (stored,))


def _options(row: Row) -> tuple[str, ...]:
    """Return the options without the letters that stand before them."""
    names = ("Answer choices", "multi-choice options")
    found = [_OPTION.fullmatch(option) for option in row.texts(*names)]
    if "".join(match[1] if match else "?" for match in found) != LETTERS:
        raise row.wrong(names, "five options from (A) to (E)", row.parsed(*names))
    return tuple(match[2].strip() for match in found if match)


def _category(name: str) -> str:
    """Return a category as the official script groups it: all of a kind's attributes are one."""
    name = name.lower()
    return f"{name.split('/')[0]}/attribute" if "attribute" in name else name


def score(graded: Sequence[Graded]) -> list[Metric]:
    """Return `average` and `average_c` over all, then of each task, then each subtask's share."""
    metrics = [share("average", graded), _average_c("average_c", graded)]
    for task in dict.fromkeys(one.question.family.split("/")[0] for one in graded):
        of_task = [one for one in graded if one.question.family.split("/")[0] == task]
        metrics += [share(task, of_task), _average_c(f"{task}/average_c", of_task)]
        for family in dict.fromkeys(one.question.family for one in of_task):
            metrics.append(share(family, [o for o in of_task if o.question.family == family]))
    return metrics


def _average_c(name: str, graded: Sequence[Graded]) -> Metric:
    """Return the unweighted mean over subtasks."""
    return macro(name, graded, [one.question.family for one in graded])


BENCHMARK = Benchmark(
    name="mme_realworld_lite",
    title="MME-RealWorld-Lite",
    about="High-resolution scenes, charts, documents, driving and satellite images; five options.",
    home="yifanzhang114/MME-RealWorld-lite-lmms-eval",
    files=_FILES,
    licence="Apache-2.0 (MME-RealWorld)",
    clusters="image",
    counts={"": 1919},
    load=load,
    grade=multiple_choice,
    score=score,
)
