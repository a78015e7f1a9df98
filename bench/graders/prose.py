"""What graders read in answers as models write them, against what a careful reader finds there.

`prose.jsonl` holds the answers with the reading that is right, and why; docs/graders.md says how it
was judged. A judgement is changed only because it is wrong, never because a grader differs.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agreement import FOUR_LETTERS_ONLY, LETTER_GRADERS, asked, by_letter

from lookless.errors import DataError
from lookless.grading.multiple_choice import multiple_choice
from lookless.grading.yes_no import yes_no

FILE = Path(__file__).with_name("prose.jsonl")
YES_NO_GRADERS = ("lmms pope", "vlm yes_no")
OURS = "ours"

Readings = Mapping[str, str | None]
"""What each grader read, by its name; a grader that is not made for a question is left out."""


@dataclass(frozen=True)
class Judged:
    """An answer, and what is to be read in it."""

    question: str
    options: tuple[str, ...]
    """Empty if the question asks for yes or no."""
    answer: str
    right: str | None
    """The letter, or yes or no; None if the answer chooses nothing."""
    why: str

    @property
    def choices(self) -> Sequence[str]:
        """Return what can be read."""
        return tuple(by_letter(self.options)) or ("yes", "no")

    @property
    def graders(self) -> tuple[str, ...]:
        """Return the public graders for it."""
        if not self.options:
            return YES_NO_GRADERS
        is_four = len(self.options) <= 4
        return tuple(one for one in LETTER_GRADERS if is_four or one != FOUR_LETTERS_ONLY)

    @property
    def case(self) -> dict[str, Any]:
        """Return what `public.py` is asked."""
        return {"answer": self.answer, "options": by_letter(self.options)}

    def read_by_us(self) -> str | None:
        """Return what our grader reads."""
        grade = multiple_choice if self.options else yes_no
        return grade(asked(self.question, self.options), self.answer).answer

    def chosen(self, reading: str | None) -> str | None:
        """Return a reading if it is one of the choices; any other is as good as none."""
        return reading if reading in self.choices else None


def judged() -> list[Judged]:
    """Return all judged answers.

    Raises:
        DataError: If one is judged to be what cannot be chosen, or stands there twice.
    """
    found = []
    for number, line in enumerate(FILE.read_text(encoding="utf-8").splitlines(), 1):
        row = json.loads(line)
        one = Judged(**row | {"options": tuple(row.get("options", ()))})
        if one.right is not None and one.right not in one.choices:
            raise DataError(
                f"{FILE.name}, line {number}: right must be one of {', '.join(one.choices)} or "
                f"null, got {one.right!r}; mend the judgement"
            )
        found.append(one)
    keys = [(one.question, one.answer) for one in found]
    if len(set(keys)) < len(keys):
        again = next(key for key in keys if keys.count(key) > 1)
        raise DataError(
            f"{FILE.name}: each answer must stand there once, got {again!r} again; remove it"
        )
    return found


def tables(readings: Sequence[tuple[Judged, Readings]]) -> str:
    """Return the tables of errors and disagreements, as Markdown.

    Args:
        readings: The judged answers with what was read in each, ours among it.
    """
    parts = []
    for title, graders in (("Multiple choice", LETTER_GRADERS), ("Yes or no", YES_NO_GRADERS)):
        pairs = [pair for pair in readings if bool(pair[0].options) == (graders is LETTER_GRADERS)]
        parts += [f"### {title}: errors", _errors((OURS, *graders), pairs)]
        parts += [f"### {title}: every disagreement", _disagreements((OURS, *graders), pairs)]
    return "\n\n".join(parts)


def _errors(graders: Sequence[str], pairs: Sequence[tuple[Judged, Readings]]) -> str:
    lines = [
        "| grader | answers | right | misread | unread | invented | errors |",
        "|" + " --- |" * 7,
    ]
    for grader in graders:
        read = [(one.right, readings[grader]) for one, readings in pairs if grader in readings]
        unread = sum(reading is None and right is not None for right, reading in read)
        invented = sum(reading is not None and right is None for right, reading in read)
        right = sum(reading == wanted for wanted, reading in read)
        misread = len(read) - right - unread - invented
        wrong = f"**{len(read) - right}** ({100 * (1 - right / len(read)):.1f} %)"
        cells = (grader, len(read), right, misread, unread, invented, wrong)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _disagreements(graders: Sequence[str], pairs: Sequence[tuple[Judged, Readings]]) -> str:
    parts = []
    for question, options in dict.fromkeys((one.question, one.options) for one, _ in pairs):
        lines = []
        for one, readings in pairs:
            is_here = (one.question, one.options) == (question, options)
            if is_here and set(readings.values()) != {one.right}:
                said = (_shown(one.right), *(_marked(one, readings, name) for name in graders))
                lines.append("| " + " | ".join((code(one.answer), *said, one.why)) + " |")
        if lines:
            listed = ", ".join(f"{letter} {text}" for letter, text in by_letter(options).items())
            heading = " | ".join(("answer", "right", *graders, "why"))
            parts.append(f"*{question}* {listed}".strip())
            parts.append("\n".join([f"| {heading} |", "|" + " --- |" * (len(graders) + 3), *lines]))
    return "\n\n".join(parts)


def _marked(one: Judged, readings: Readings, grader: str) -> str:
    if grader not in readings:
        return ""
    return _shown(readings[grader]) + ("" if readings[grader] == one.right else " ✗")


def _shown(reading: str | None) -> str:
    return reading or "–"  # noqa: RUF001


def code(text: str) -> str:
    r"""Return a text as code in a cell of a Markdown table, line ends as ⏎.

    Example:
        >>> print(code("a | b\nc"), code(""), code("`x`"))
        `a \| b⏎c` (empty) `` `x` ``
    """
    if not text:
        return "(empty)"
    text = text.replace("\n", "⏎").replace("\t", "⇥").replace("|", "\\|")
    fence = "`"
    while fence in text:
        fence += "`"
    pad = " " if "`" in text or text != text.strip() else ""
    return f"{fence}{pad}{text}{pad}{fence}"
