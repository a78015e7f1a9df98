"""Stopping between two steps: the machine is taken away (SIGTERM), or somebody asks (SIGINT)."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE_S = 3.0


class Stop:
    """Whether a signal to stop has come."""

    def __init__(self) -> None:
        """Begin without one."""
        self.signal: int | None = None
        self.since = 0.0
        """When it came, on the monotonic clock."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; one that comes some seconds after it ends the process at once.

        Schedulers and launchers both pass a signal on, so that it may come twice.
        """
        now = time.monotonic()
        if self.signal is not None and now - self.since > GRACE_S:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif self.signal is None:
            self.signal, self.since = number, now


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
