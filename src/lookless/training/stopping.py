"""Stopping between two steps: the machine is taken away (SIGTERM), or somebody asks (SIGINT)."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether a signal to stop has come."""

    def __init__(self) -> None:
        """Begin without one."""
        self.signal: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; the second one of its kind ends the process at once."""
        self.signal = number
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def stopping() -> Iterator[Stop]:
    """Note SIGTERM and SIGINT instead of dying of them, while it lasts.

    Only the main thread can; elsewhere nothing is noted.
    """
    stop = Stop()
    kinds = (signal.SIGTERM, signal.SIGINT)
    try:
        before = [signal.signal(kind, stop) for kind in kinds]
    except ValueError:  # not the main thread
        yield stop
        return
    try:
        yield stop
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)
