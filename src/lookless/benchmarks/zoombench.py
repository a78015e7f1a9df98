"""ZoomBench: details that only a closer look shows, half of it hidden by the whole image.

Source: Wei et al. (2026), "Zooming without Zooming", `inclusionAI/ZoomBench`; 621 questions with
options and 224 without. The parquet of revision b788097 calls its columns `query` and `response`,
later ones `prompt` and `answer`; both are read. `crop_image`, the evidence cut out, is never shown.

The authors grade by mathruler, the first letter, and then a judge (Qwen3-30B), which forgives other
wordings; here rules do, so open questions are stricter. Their script appends no instruction; we ask
for the letter, or for a single word or phrase. Options are read from the question for matching by
text; where none are found there, A to D stand for themselves.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from lookless.benchmarks.benchmark import Benchmark, Entry, Graded, Metric, by_family, share
from lookless.benchmarks.tables import Files, Row
from lookless.episode import Question
from lookless.grading.free_form import free_form
from lookless.grading.multiple_choice import multiple_choice
from lookless.grading.verdict import Verdict

FAMILIES = ("mcq", "blank")
LETTER = "Answer with the option's letter."
PHRASE = "Answer the question using a single word or phrase."
_OPTION = re.compile(r"(?:^|(?<=\s))\(?([A-H])[).:]\s*(.*?)(?=\s+\(?[A-H][).:]\s|\s*$)", re.DOTALL)
_LETTER = re.compile(r"\s*[(\[]?([A-Ha-h])(?:[).\]:]|\s*$)")
_FILES = ("data/test-*.parquet", "test-*.parquet", "*.parquet")


def load(files: Files) -> Iterator[Entry]:
    """Yield the questions; `family` is `mcq` or `blank`."""
    for row in files.rows(*_FILES, images=("image", "crop_image")):
        family = row.text("question_type").strip().lower()
        if family not in FAMILIES:
            raise row.wrong(("question_type",), "mcq or blank", family)
        asked = row.text("query", "prompt").replace("<image>", "").strip()
        options = _options(asked) if family == "mcq" else ()
        question = Question(
            id=row.text("id"),
            image=Path(),
            text=f"{asked}\n{LETTER if options else PHRASE}",
            answer=_letter(row, len(options)) if options else row.text("response", "answer"),
            family=family,
            boxes=row.boxes("bbox") if row.has("bbox") else (),
            choices=len(options),
            options=options,
        )
        yield Entry(question, (row.image("image"),))


def _options(asked: str) -> tuple[str, ...]:
    r"""Return the options that a question lists.

    Example:
        >>> _options("Which?\nA. red\nB. dark blue\n(C) Any.")
        ('red', 'dark blue', 'Any.')
        >>> _options("Which one? (A) red (B) blue")
        ('red', 'blue')
        >>> _options("Which?")
        ('A', 'B', 'C', 'D')
    """
    found = _OPTION.findall(asked)
    letters = "".join(letter for letter, _ in found)
    if len(found) < 2 or not "ABCDEFGH".startswith(letters):
        return tuple("ABCD")
    return tuple(" ".join(text.split()) for _, text in found)


def _letter(row: Row, options: int) -> str:
    """Return the letter of an answer that may repeat the option: `B. dark blue`."""
    match = _LETTER.match(row.text("response", "answer"))
    letter = match[1].upper() if match else "?"
    last = chr(ord("A") + options - 1)
    if not "A" <= letter <= last:
        names = ("response", "answer")
        raise row.wrong(names, f"a letter from A to {last}", row.text(*names))
    return letter


def grade(question: Question, text: str) -> Verdict:
    """Return the verdict by letter where there are options, else by strict rules."""
    return multiple_choice(question, text) if question.options else free_form(question, text)


def score(graded: Sequence[Graded]) -> list[Metric]:
    """Return `accuracy`, then that of questions with options and without."""
    return [share("accuracy", graded), *by_family(graded)]


BENCHMARK = Benchmark(
    name="zoombench",
    title="ZoomBench",
    about="Details that only a closer look shows, with and without options.",
    home="inclusionAI/ZoomBench",
    files=_FILES,
    licence="Apache-2.0",
    clusters="question",
    counts={"mcq": 621, "blank": 224},
    load=load,
    grade=grade,
    score=score,
)
