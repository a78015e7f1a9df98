"""Grading predictions that anybody's model made, by a benchmark's own rules."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lookless.benchmarks.benchmark import Benchmark, Graded
from lookless.benchmarks.questions import Selection, read_questions
from lookless.episode import Question
from lookless.errors import DataError
from lookless.grading.judge import Compared
from lookless.grading.verdict import UNPARSED, Examiner, Verdict


@dataclass(frozen=True)
class Prediction:
    """What a model said to one question."""

    id: str
    text: str | None
    """Raw, thinking included; None if it said nothing."""
    line: int


@dataclass(frozen=True)
class Scored:
    """Predictions with their verdicts."""

    result: dict[str, Any]
    compared: tuple[Compared, ...]
    """What the rules and the examiner say of each prediction."""


def score_predictions(
    source: Benchmark,
    data: Path,
    file: Path,
    *,
    is_partial: bool = False,
    examiner: Examiner | None = None,
    threads: int = 8,
) -> Scored:
    """Return the official metrics of a file of predictions, with intervals, and what was unparsed.

    Several predictions with one id are several samples of that question; all questions must then
    have as many. Undecided ones, which only a judge can leave, count for nothing.

    Args:
        source: The benchmark.
        data: Its files.
        file: JSONL with `id` and `prediction` in each line.
        is_partial: Whether files and predictions may cover a part of the benchmark only.
        examiner: What grades instead of the benchmark's rules, such as a judge.
        threads: That ask the examiner.

    Raises:
        DataError: If a file does not fit.
        ConfigError: If there is no question.
    """
    chosen = read_questions(source, data, Selection(), is_partial=is_partial)
    questions = {question.id: question for question in chosen.questions}
    predictions = list(read_predictions(file))
    _check(questions, predictions, file, is_partial)
    asked = [questions[one.id] for one in predictions]
    rules = [
        UNPARSED if one.text is None else source.grade(question, one.text)
        for question, one in zip(asked, predictions, strict=True)
    ]
    verdicts: Sequence[Verdict | None] = rules
    if examiner is not None:
        said = [one.text or "" for one in predictions]
        with ThreadPoolExecutor(threads) as pool:
            verdicts = list(pool.map(examiner, asked, said))
    seen: Counter[str] = Counter()
    graded = []
    for question, verdict in zip(asked, verdicts, strict=True):
        sample = seen[question.id]
        seen[question.id] += 1
        if verdict is not None:
            graded.append(Graded(question, verdict, sample))
    missing = len(questions) - len(seen)
    result = {
        "benchmark": source.name,
        "n": len(seen),
        "predictions": len(predictions),
        "missing": missing,
        "is_complete": chosen.is_complete and not missing,
        "unparsed": sum(not one.verdict.is_parsed for one in graded),
        "undecided": len(predictions) - len(graded),
        "metrics": [asdict(metric) for metric in source.score(graded)] if graded else [],
    }
    compared = [
        Compared(question, one.text or "", rule, None if v is None else v.grade >= 0.5)
        for question, one, rule, v in zip(asked, predictions, rules, verdicts, strict=True)
    ]
    return Scored(result, tuple(compared))


def read_predictions(file: Path) -> Iterator[Prediction]:
    """Yield the predictions in a JSONL file.

    Raises:
        DataError: If a line is not an object with `id` and `prediction`.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise DataError(
            f"predictions must be a JSONL file, got {str(file)!r}: {reason}; check the path"
        ) from None
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield _prediction(line, number, f"{file.name!r} line {number}")


def _prediction(line: str, number: int, where: str) -> Prediction:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} must be a JSON object, got {error}; put it right") from None
    wanted = '{"id": ..., "prediction": ...}'
    if not isinstance(row, dict) or not {"id", "prediction"} <= row.keys():
        got = ", ".join(map(str, row)) if isinstance(row, dict) else type(row).__name__
        raise DataError(f"{where} must be like {wanted}, got {got or 'nothing'}; put it right")
    name, said = row["id"], row["prediction"]
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise DataError(f"{where}: id must be a text or a whole number, got {name!r}; put it right")
    if said is not None and not isinstance(said, str):
        raise DataError(f"{where}: prediction must be a text or null, got {said!r}; put it right")
    return Prediction(str(name), said, number)


def _check(
    questions: dict[str, Question], predictions: Sequence[Prediction], file: Path, is_partial: bool
) -> None:
    if not predictions:
        raise DataError(f"predictions must be at least one, got none in {str(file)!r}; fill it")
    unknown = [one for one in predictions if one.id not in questions]
    if unknown:
        known = ", ".join(list(questions)[:3])
        raise DataError(
            f"{file.name!r} line {unknown[0].line}: id must be of the benchmark, got "
            f"{unknown[0].id!r}; its ids are like {known}"
        )
    counts = Counter(one.id for one in predictions)
    [(usual, _)] = Counter(counts.values()).most_common(1)
    odd = [one for one in predictions if counts[one.id] != usual]
    if odd:
        last = [one for one in odd if one.id == odd[0].id][-1]
        raise DataError(
            f"{file.name!r} line {last.line}: predictions must be as many for each id, got "
            f"{counts[last.id]} for {last.id!r} and {usual} for most; complete them, or take out "
            "what is doubled"
        )
    missing = [name for name in questions if name not in counts]
    if missing and not is_partial:
        raise DataError(
            f"predictions must cover all {len(questions)} questions, got none for "
            f"{len(missing)} of them, such as {missing[0]!r}; complete them, or say --partial if a "
            "part is meant"
        )
