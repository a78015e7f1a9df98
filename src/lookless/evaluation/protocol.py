"""What two results must share to stand in one table."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from lookless.chat.dialect import Dialect
from lookless.episode import Mode, Question
from lookless.evaluation.records import question_record
from lookless.frames import Box, Frame, View

QUESTION = "{question}"
"""Stands for the question in the recorded prompts."""


def protocol_hash(questions: Sequence[Question], settings: Mapping[str, Any]) -> str:
    """Return 12 hex digits that two results must share to be compared in one table.

    They stand for the questions, their answers, the content of their image files and `settings`.
    """
    files = {q.image for q in questions}
    images = {file: content_hash(file) for file in files}
    asked = [[q.id, q.text, q.answer, q.needs_look, images[q.image]] for q in questions]
    return _digits([asked, settings])


def questions_hash(
    questions: Sequence[Question], images: Mapping[Path, str | None] | None = None
) -> str:
    """Return 12 hex digits for all that is asked and graded, and for the content of the images.

    Args:
        questions: What is asked.
        images: From `image_hashes`; None leaves the images out.
    """
    images = images or {}
    rows = [question_record(q) | {"image": images.get(q.image)} for q in questions]
    return _digits(rows)


def image_hashes(questions: Sequence[Question]) -> dict[Path, str | None]:
    """Return a hash of the content of each question's image file, None where there is no file."""
    hashes: dict[Path, str | None] = {}
    for file in dict.fromkeys(question.image for question in questions):
        try:
            hashes[file] = content_hash(file)
        except OSError:
            hashes[file] = None
    return hashes


def hash_of(protocol: Mapping[str, Any]) -> str:
    """Return 12 hex digits for a protocol that is written down as a whole."""
    return _digits(protocol)


def _digits(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def content_hash(file: Path) -> str:
    """Return the SHA-256 of a file's content as hex digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def dialect_settings(chat: Dialect, modes: Mapping[str, Mode]) -> dict[str, Any]:
    """Return what a model's dialect contributes: prompts by name, pixel budget, frame."""
    view = View(Box(0, 0, 64, 64, Frame.SOURCE), *chat.budget.resized(64, 64))
    prompts = {
        name: chat.decode(list(chain.from_iterable(chat.prompt(view, QUESTION, mode))))
        for name, mode in modes.items()
    }
    return {
        "prompts": prompts,
        "frame": chat.frame.value,
        "budget": str(chat.budget),
    }


def differences(
    first: Mapping[str, Any], second: Mapping[str, Any], above: str = ""
) -> dict[str, tuple[Any, Any]]:
    """Return what differs between two protocols, by dotted names.

    Example:
        >>> differences({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}})
        {'b.c': (2, 3)}
    """
    found: dict[str, tuple[Any, Any]] = {}
    for name in dict.fromkeys([*first, *second]):
        one, other = first.get(name), second.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found |= differences(one, other, f"{above}{name}.")
        elif one != other:
            found[f"{above}{name}"] = (one, other)
    return found
