"""HR-Bench 4K and 8K: details in images of up to 33 megapixels, each question in four orders.

Source: Wang et al. (2024), "Divide, Conquer and Combine", arXiv 2408.15556; `hr_bench_4k.tsv` and
`hr_bench_8k.tsv`, or the parquet files of the same rows, with images as base64. Each of the 200
questions has four rows, whose options are rotated; the official score is the mean over the four
cycles, which is the accuracy over the 800 rows: `overall`, `fsp` (category single) and `fcp`
(cross). `all_four_correct` is ours: the share of questions that are right in every order.

The four rows of a question are one cluster. The authors let a language model judge every answer at
temperature 0.2, which is not repeatable; here the chosen letter is read by rules.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from lookless.benchmarks.benchmark import Benchmark, Entry, Graded, Metric, lettered, share
from lookless.benchmarks.tables import Files, ImageKeys
from lookless.episode import Question
from lookless.grading.multiple_choice import multiple_choice
from lookless.grading.verdict import Verdict

INSTRUCTION = "Answer with the option's letter."
CYCLES = 4
CATEGORIES = {"single": "fsp", "cross": "fcp"}
"""Fine-grained perception of single instances, and across instances."""


def load(files: Files, size: str) -> Iterator[Entry]:
    """Yield the rows; `family` is the category, `kind` the cycle, `cluster` the base question."""
    keys = ImageKeys()
    for row in files.rows(*_patterns(size), images=()):
        options = row.options()
        category = row.text("category")
        if category not in CATEGORIES:
            raise row.wrong(("category",), f"one of {', '.join(CATEGORIES)}", category)
        # No column says which four rows belong together.
        base = [row.text("question"), keys.of(row, "image")]
        question = Question(
            id=row.text("index"),
            image=Path(),
            text=lettered(row.text("question"), options, INSTRUCTION),
            answer=row.letter("answer", options=len(options)),
            family=category,
            kind=row.text("cycle_category"),
            choices=len(options),
            options=options,
            cluster=hashlib.sha256("\0".join(base).encode()).hexdigest()[:16],
        )
        yield Entry(question, (row.image("image"),))


def score(graded: Sequence[Graded]) -> list[Metric]:
    """Return `overall`, `fsp` and `fcp`, and the share of questions with all orders right."""
    metrics = [share("overall", graded)]
    for category, name in CATEGORIES.items():
        metrics.append(share(name, [one for one in graded if one.question.family == category]))
    return [*metrics, share("all_four_correct", _all_four(graded))]


def _all_four(graded: Sequence[Graded]) -> list[Graded]:
    """Return one answer for each question and sample that has all its rows."""
    groups: dict[tuple[str, int], list[Graded]] = {}
    for one in graded:
        groups.setdefault((one.question.unit, one.sample), []).append(one)
    return [
        Graded(
            replace(group[0].question, id=unit),
            Verdict("all", float(all(one.verdict.grade == 1 for one in group))),
            sample,
        )
        for (unit, sample), group in groups.items()
        if len(group) == CYCLES
    ]


def _patterns(size: str) -> tuple[str, ...]:
    stem = f"hr_bench_{size}"
    return f"{stem}.parquet", f"*/hrbench_{size}-*.parquet", f"hrbench_{size}*.parquet", \
        f"{stem}.tsv", f"HRBench{size.upper()}.tsv"  # fmt: skip


def _benchmark(size: str) -> Benchmark:
    return Benchmark(
        name=f"hrbench_{size}",
        title=f"HR-Bench {size.upper()}",
        about=f"Small details of single and several objects in {size.upper()} images; options.",
        home="DreamMr/HR-Bench",
        files=_patterns(size),
        licence="other, without a text",
        clusters="base question of four orders",
        counts={"single": 400, "cross": 400},
        load=partial(load, size=size),
        grade=multiple_choice,
        score=score,
    )


BENCHMARK_4K, BENCHMARK_8K = _benchmark("4k"), _benchmark("8k")
