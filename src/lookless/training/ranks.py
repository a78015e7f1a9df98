"""The processes that train together: who am I, and what do the others say."""

import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore

from lookless.errors import ConfigError, LooklessError

T = TypeVar("T")
PATIENCE = timedelta(hours=12)
"""Longest that processes wait for one: far above what a worker that hangs may take."""


@dataclass(frozen=True)
class Ranks:
    """One process among those that a launcher such as torchrun has started; alone without one.

    Every method but `share` must be called by all of them, in the same order.
    """

    rank: int = 0
    world: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - immutable

    @classmethod
    def join(cls) -> "Ranks":
        """Return this process's place, after all have met.

        The launcher says it by RANK, WORLD_SIZE and LOCAL_RANK in the environment. Each process
        takes the GPU of its local rank, if there is one.

        Raises:
            ConfigError: If there are fewer GPUs than processes on this machine.
        """
        world, local = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("LOCAL_RANK", 0))
        device = torch.device("cpu")
        if torch.cuda.is_available():
            if local >= torch.cuda.device_count():
                raise ConfigError(
                    f"processes on a machine must be at most its GPUs, {torch.cuda.device_count()},"
                    f" got local rank {local}; lower --nproc-per-node"
                )
            device = torch.device("cuda", local)
            torch.cuda.set_device(device)
        if world == 1:
            return cls(device=device)
        if not dist.is_initialized():
            backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
            dist.init_process_group(backend, timeout=PATIENCE)
        return cls(dist.get_rank(), dist.get_world_size(), device)

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """Return this process's part of what all have: every world-th item, from its rank on."""
        return list(items[self.rank :: self.world])

    def gather(self, mine: T) -> list[T]:
        """Return what every process has, in the order of their ranks, to all of them."""
        if self.world == 1:
            return [mine]
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, mine)
        return found

    def gather_first(self, mine: T) -> list[T]:
        """Return what every process has to the first; to the others nothing."""
        if self.world == 1:
            return [mine]
        found: list[Any] | None = [None] * self.world if self.is_first else None
        dist.gather_object(mine, found)
        return found or []

    def first(self, value: T) -> T:
        """Return what the first process has, to all."""
        return self.gather(value)[0]

    def together(self, make: Callable[[], T]) -> T:
        """Return what a function makes here; where it fails in one process, all end.

        The first one raises what was raised, and the others end in silence: none waits for one that
        has gone.

        Raises:
            LooklessError: As `make` does in any process.
        """
        error: LooklessError | None = None
        try:
            made = make()
        except LooklessError as raised:
            error = raised
        raised_by = [one for one in self.gather(error) if one is not None]
        if not raised_by:
            return made
        if not self.is_first:
            raise SystemExit(2)
        raise raised_by[0]

    def seed(self, *place: int) -> None:
        """Let what torch draws here, such as dropout, follow from a place in training."""
        drawn = hashlib.blake2b(repr((*place, self.rank)).encode(), digest_size=7).digest()
        torch.manual_seed(int.from_bytes(drawn))

    def sum(self, value: float) -> float:
        """Return the sum over all processes."""
        return sum(self.gather(value))

    def most(self, value: int) -> int:
        """Return the largest of all processes' values."""
        return max(self.gather(value))

    def wait(self) -> None:
        """Return when all have come here."""
        self.gather(None)

    def form_group(self) -> None:
        """Begin a group of processes, where a single one needs it as if there were others."""
        if not dist.is_initialized():
            backend = "nccl" if self.device.type == "cuda" else "gloo"
            dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1)

    def leave(self) -> None:
        """End what `join` or `form_group` began."""
        if dist.is_initialized():
            dist.destroy_process_group()

    def finish(self) -> None:
        """End this process now if it is one of several; all that it had to do must be done.

        What is left of a process group's threads can abort the interpreter while it is torn down
        (seen with gloo of torch 2.13), and the launcher would call a finished run failed.
        """
        if self.world > 1:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)


def interleaved(parts: Sequence[Sequence[T]]) -> list[T]:
    """Return what `share` has dealt out, in its first order.

    Example:
        >>> interleaved([["a", "c"], ["b"]])
        ['a', 'b', 'c']
    """
    longest = max(map(len, parts), default=0)
    return [part[k] for k in range(longest) for part in parts if k < len(part)]
