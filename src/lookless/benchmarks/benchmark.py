"""What a benchmark is: questions from its official files, a grader, and its official metrics."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookless.benchmarks.stored import Stored
from lookless.benchmarks.tables import Files
from lookless.episode import Question
from lookless.grading.verdict import Grader, Verdict
from lookless.statistics.intervals import bootstrap_interval, certain_interval, mean_interval


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of a benchmark's file: the question, and where its images are."""

    question: Question
    """Its `image` is `Path()` until the entry's images are unpacked."""
    images: tuple[Stored, ...]


@dataclass(frozen=True, slots=True)
class Graded:
    """One answer to one question."""

    question: Question
    verdict: Verdict
    sample: int = 0
    """Which of several answers to the same question."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A number over a benchmark, with its 95 % interval."""

    name: str
    value: float | None
    """In 0..1 (unless the benchmark says otherwise); None over nothing."""
    low: float
    high: float
    n: int
    """Questions behind it; several answers to one count once."""
    clusters: int
    """Independent units among them."""


Score = Callable[[Sequence[Graded]], list[Metric]]
"""Returns the official metrics, the headline first."""


@dataclass(frozen=True)
class Benchmark:
    """A benchmark that can be loaded from its official files and scored offline."""

    name: str
    """As the command line knows it."""
    title: str
    about: str
    """One line: what it asks."""
    home: str
    """Where the official files are: a data set on the Hugging Face hub, or an address."""
    files: tuple[str, ...]
    """Patterns of the files that `load` reads, relative to `home`; the preferred form first."""
    licence: str
    """As its authors state it; `not stated` if they do not."""
    clusters: str
    """What is independent: `question`, `image`, or another unit."""
    counts: Mapping[str, int]
    """Rows of the full official files by `Question.family`.

    One entry "" where only their total is known; empty if there is no fixed size.
    """
    load: Callable[[Files], Iterator[Entry]]
    grade: Grader
    score: Score
    on_hub: tuple[str, ...] = ()
    """Patterns of what to download, if that is more than the first of `files`."""


def share(name: str, graded: Sequence[Graded]) -> Metric:
    """Return the mean grade; its interval is Wilson's, or that of clusters where there are any."""
    values = [one.verdict.grade for one in graded]
    clusters = [one.question.unit for one in graded]
    low, high = mean_interval(values, clusters)
    value = sum(values) / len(values) if values else None
    return Metric(name, value, low, high, _questions(graded), len(set(clusters)))


def by_family(graded: Sequence[Graded]) -> list[Metric]:
    """Return the mean grade of each family of questions, in the order of their appearance."""
    families = dict.fromkeys(one.question.family for one in graded)
    return [share(f, [one for one in graded if one.question.family == f]) for f in families]


def macro(name: str, graded: Sequence[Graded], groups: Sequence[Hashable]) -> Metric:
    """Return the unweighted mean over the groups' mean grades.

    Resamples without any answer of a group are those of the other groups.

    Args:
        name: Of the metric.
        graded: The N answers.
        groups: What each belongs to.
    """
    places = {group: k for k, group in enumerate(dict.fromkeys(groups))}
    columns_NK = np.zeros((len(graded), 2 * len(places)))
    for row, (one, group) in enumerate(zip(graded, groups, strict=True)):
        k = places[group]
        columns_NK[row, [k, len(places) + k]] = one.verdict.grade, 1

    def mean(sums_RK: NDArray[np.float64]) -> NDArray[np.float64]:
        grades_RG, counts_RG = sums_RK[:, : len(places)], sums_RK[:, len(places) :]
        nothing = np.full_like(grades_RG, np.nan)
        shares_RG = np.divide(grades_RG, counts_RG, out=nothing, where=counts_RG > 0)
        return np.asarray(np.nanmean(shares_RG, axis=1))

    return of_sums(name, graded, columns_NK, mean)


def of_sums(
    name: str,
    graded: Sequence[Graded],
    columns_NK: NDArray[np.float64],
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> Metric:
    """Return a statistic of sums over the answers, its interval by resampling clusters.

    Args:
        name: Of the metric.
        graded: The N answers.
        columns_NK: K numbers for each answer, to be added up.
        statistic: From sums (R, K) to values (R,), in 0..1; NaN where it is undefined.
    """
    clusters = [one.question.unit for one in graded]
    value = float(statistic(columns_NK.sum(0, keepdims=True))[0]) if graded else float("nan")
    low, high = bootstrap_interval(columns_NK, clusters, statistic)
    if high - low < 1e-9 and not np.isnan(value):
        low, high = certain_interval(value, len(set(clusters)))
    n = _questions(graded)
    return Metric(name, None if np.isnan(value) else value, low, high, n, len(set(clusters)))


def _questions(graded: Sequence[Graded]) -> int:
    return len({one.question.id for one in graded})


def lettered(question: str, options: Sequence[str], instruction: str) -> str:
    r"""Return a multiple-choice question as it is asked: options under it, one a line.

    Example:
        >>> lettered("Which?", ["red", "blue"], "Answer with the option's letter.")
        "Which?\nA. red\nB. blue\nAnswer with the option's letter."
    """
    lines = [f"{chr(ord('A') + k)}. {option}" for k, option in enumerate(options)]
    return "\n".join([question, *lines, instruction])
