"""What the doctor finds, one line each."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

SAMPLE = 2000
"""Rows of a file that are looked at; of a longer file so many, evenly spaced."""

T = TypeVar("T")


class Level(StrEnum):
    """What a finding means for training."""

    OK = "ok"
    WARNING = "warning"
    """Training runs; something is worth a look."""
    FAULT = "fault"
    """Training would stop, or go wrong in silence."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of a check, or of a part of it."""

    check: str
    level: Level
    message: str


def ok(check: str, message: str) -> Finding:
    """Return that all is well."""
    return Finding(check, Level.OK, message)


def warning(check: str, message: str) -> Finding:
    """Return what is worth a look."""
    return Finding(check, Level.WARNING, message)


def fault(check: str, message: str) -> Finding:
    """Return what has to be put right."""
    return Finding(check, Level.FAULT, message)


def with_others(messages: Sequence[str]) -> str:
    """Return the first of several messages, and how many there are besides.

    Example:
        >>> with_others(["a is wrong", "b is wrong"])
        'a is wrong (and 1 more like it)'
    """
    others = f" (and {len(messages) - 1} more like it)" if len(messages) > 1 else ""
    return messages[0] + others


def evenly(items: Sequence[T], most: int = SAMPLE) -> list[T]:
    """Return all items, or so many of them at equal distances.

    Example:
        >>> evenly("abcdef", 3)
        ['a', 'c', 'e']
    """
    if len(items) <= most:
        return list(items)
    return [items[k * len(items) // most] for k in range(most)]


def looked_at(count: int, kind: str) -> str:
    """Return how many of something were looked at.

    Example:
        >>> looked_at(90_000, "questions")
        '90000 questions, of which 2000 were looked at'
    """
    return f"{count} {kind}" + (f", of which {SAMPLE} were looked at" if count > SAMPLE else "")
