"""Adversarial answers, each with what a careful reader takes it to say."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lookless.episode import Question
from lookless.grading.verdict import Grader, Verdict

COLOURS = ("red", "blue", "green", "white")
ASKED = (
    "What is the color of the bag?\n(A) red\n(B) blue\n(C) green\n(D) white\n"
    "Answer with the option's letter from the given choices directly."
)
KINDS = {"anls", "choice", "count", "free_form", "relaxed", "vqa_accuracy", "yes_no"}
Row = dict[str, Any]


def adversarial(kind: str) -> pytest.MarkDecorator:
    """Return the parametrisation of a test by the rows of one grader.

    A row with `is_unread` is one that a reader understands and the grader leaves unparsed.
    """
    assert kind in KINDS
    lines = Path(__file__).with_name("adversarial.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["kind"] for row in rows} == KINDS, "a row of no kind would be tested by nothing"
    rows = [row for row in rows if row["kind"] == kind]
    ids = [f"{n}-{ascii(row['said'])[:40]}" for n, row in enumerate(rows)]
    return pytest.mark.parametrize("row", rows, ids=ids)


def expected(row: Row) -> Any:
    """Return what the grader must read: what a reader does, or nothing."""
    return None if row.get("is_unread") else row["expected"]


def asked(
    text: str = "?",
    answer: str = "A",
    options: tuple[str, ...] = (),
    references: tuple[str, ...] = (),
) -> Question:
    return Question("q", Path(), text, answer, options=options, references=references)


def verdict_on(row: Row, grader: Grader) -> Verdict:
    """Return a grader's verdict on a row's text against the row's reference."""
    return grader(asked(answer=row["reference"]), row["said"])


HOSTILE: dict[str, Callable[[int], str]] = {
    "letters": lambda n: "B" * n,
    "letters apart": lambda n: "A " * (n // 2),
    "denials": lambda n: "not A, " * (n // 7),
    "corrections": lambda n: "wait, no, " * (n // 10),
    "claims": lambda n: "the answer is " * (n // 14),
    "claims of words": lambda n: "answer " * (n // 7) + "is",
    "choices": lambda n: "A or " * (n // 5),
    "open thinking": lambda n: "<think>" * (n // 7),
    "closed thinking": lambda n: "<think></think>" * (n // 15),
    "open answers": lambda n: "<answer>" * (n // 8),
    "answers": lambda n: "<answer>A</answer>" * (n // 18),
    "open calls": lambda n: "<tool_call>" * (n // 11),
    "tags": lambda n: "<b " * (n // 3),
    "braces": lambda n: "{" * n,
    "boxes": lambda n: r"\boxed{" * (n // 7),
    "nested boxes": lambda n: r"\boxed{" * (n // 8) + "A" + "}" * (n // 8),
    "open JSON": lambda n: '{"answer": "' * (n // 12),
    "quotes": lambda n: '"' * n,
    "stars": lambda n: "*" * n,
    "stars apart": lambda n: "* " * (n // 2),
    "back-ticks": lambda n: "`\n" * (n // 2),
    "fences": lambda n: "```\n" * (n // 4),
    "tildes": lambda n: "~~a" * (n // 3),
    "spaces": lambda n: " " * n + "A",
    "lines": lambda n: "\n" * n + "A",
    "short lines": lambda n: "a\n" * (n // 2),
    "full stops": lambda n: "." * n,
    "full stops apart": lambda n: ". " * (n // 2),
    "dashes": lambda n: "-—" * (n // 2),
    "question marks": lambda n: "A? " * (n // 3),
    "digits": lambda n: "1" * n,
    "numbers": lambda n: "1 " * (n // 2),
    "thousands": lambda n: "1," + "000," * (n // 4),
    "number words": lambda n: "twenty-one hundred and " * (n // 23),
    "sums": lambda n: "1 + 1 = " * (n // 8),
    "yes and no": lambda n: "yes no " * (n // 7),
    "entities": lambda n: "&amp;" * (n // 5),
    "zero width": lambda n: "\u200b" * n,
    "accents": lambda n: "a" + "\u0301" * n,
    "options": lambda n: "red blue green white " * (n // 21),
    "long words": lambda n: "x" * n + " is the answer",
    "Chinese": lambda n: "答案是" * (n // 3),
}
"""Texts of about n characters that invite a matcher to try everything at every place."""

hostile = pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE.keys())


def is_bounded(grader: Grader, question: Question, make: Callable[[int], str]) -> bool:
    """Return whether a grader reads a hostile text of 200,000 characters in five seconds."""

    started = time.perf_counter()
    grader(question, make(200_000))
    return time.perf_counter() - started < 5
