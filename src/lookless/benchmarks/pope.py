"""POPE: is an object in the image? Asked about absent objects that are likely to be made up.

Source: Li et al. (2023), "Evaluating Object Hallucination in Large Vision-Language Models", arXiv
2305.10355. Three splits of 3,000 over the same 500 images of COCO: the official
`coco_pope_{random,popular,adversarial}.json` (one object a line) beside `val2014`, or the parquet
of `lmms-lab/POPE`. Accuracy, precision, recall, F1 and the share of yes, over all and per split.

Differs from `evaluate.py` in what is neither yes nor no: there all that holds no "no" or "not" is a
yes. Here it is wrong in accuracy, a missed object in recall if there was one, and never a yes in
precision or in the share of yes. Without a single yes precision is undefined, not 0.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookless.benchmarks.benchmark import Benchmark, Entry, Graded, Metric, of_sums, share
from lookless.benchmarks.tables import Files
from lookless.episode import Question
from lookless.errors import DataError
from lookless.grading.yes_no import yes_no

SPLITS = ("random", "popular", "adversarial")
INSTRUCTION = "Answer the question using a single word or phrase."
_FILES = (
    "data/test-*.parquet",
    "Full/*.parquet",
    "*.parquet",
    "coco_pope_*.json*",
    "output/coco/coco_pope_*.json",
)


def load(files: Files) -> Iterator[Entry]:
    """Yield the questions; `family` is the split, and the ids are `split/question_id`."""
    for table in files.tables(*_FILES):
        for row in Files(table, files.with_images).rows():
            split = row.optional("category") or _split_of(table)
            if split not in SPLITS:
                raise row.wrong(("category",), f"one of {', '.join(SPLITS)}", split)
            answer = row.text("label", "answer").strip().lower()
            if answer not in ("yes", "no"):
                raise row.wrong(("label", "answer"), "yes or no", answer)
            is_json = row.has("text")
            question = Question(
                id=f"{split}/{row.text('question_id')}",
                image=Path(),
                text=f"{row.text('text', 'question').strip()}\n{INSTRUCTION}",
                answer=answer,
                family=split,
                choices=2,
                cluster=row.text("image" if is_json else "image_source").removesuffix(".jpg"),
            )
            beside = ("val2014", "images")
            stored = row.file("image", beside=beside) if is_json else row.image("image")
            yield Entry(question, (stored,))


def _split_of(table: Path) -> str:
    found = [split for split in SPLITS if split in table.stem]
    if len(found) != 1:
        raise DataError(
            f"name of a POPE file must say one of {', '.join(SPLITS)}, got {table.name!r}; "
            "name it as its authors do: coco_pope_random.json"
        )
    return found[0]


def score(graded: Sequence[Graded]) -> list[Metric]:
    """Return the five numbers over all answers, then those of each split as `split/number`."""
    metrics = _five("", graded)
    for split in dict.fromkeys(one.question.family for one in graded):
        metrics += _five(f"{split}/", [one for one in graded if one.question.family == split])
    return metrics


def _five(prefix: str, graded: Sequence[Graded]) -> list[Metric]:
    said = np.array([one.verdict.answer == "yes" for one in graded], bool)
    true = np.array([one.question.answer == "yes" for one in graded], bool)
    columns = [said & true, said & ~true, ~said & true, said, np.ones(len(graded), bool)]
    columns_N5 = np.stack(columns, 1).astype(np.float64)
    parts = [of_sums(prefix + name, graded, columns_N5, part) for name, part in _PARTS.items()]
    return [share(f"{prefix}accuracy", graded), *parts]


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


# Sums of: true positives, false positives, false negatives, said yes, all.
_PARTS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "precision": lambda sums: _share(sums[:, 0], sums[:, 0] + sums[:, 1]),
    "recall": lambda sums: _share(sums[:, 0], sums[:, 0] + sums[:, 2]),
    "f1_score": lambda sums: _share(2 * sums[:, 0], 2 * sums[:, 0] + sums[:, 1] + sums[:, 2]),
    "yes_ratio": lambda sums: _share(sums[:, 3], sums[:, 4]),
}

BENCHMARK = Benchmark(
    name="pope",
    title="POPE",
    about="Yes or no: is an object in the image?",
    home="lmms-lab/POPE",
    files=_FILES,
    licence="MIT (questions); images as COCO states",
    clusters="image",
    counts=dict.fromkeys(SPLITS, 3000),
    load=load,
    grade=yes_no,
    score=score,
)
