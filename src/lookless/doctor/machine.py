"""The machine that training is to run on: this one, or another that is only described."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from lookless.errors import ConfigError

GIB = 2**30
_CGROUP = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Machine:
    """What a machine has."""

    gpus: int = 0
    """One training process runs on each; without any, one runs on the CPUs."""
    gpu_bytes: int = 0
    """Memory of the smallest GPU."""
    cpus: int | None = None
    """None where it is not known, as of another machine than this."""
    ram_bytes: int | None = None
    """As `cpus`."""

    @property
    def processes(self) -> int:
        """Return how many processes train."""
        return max(self.gpus, 1)


def this_machine() -> Machine:
    """Return what this machine has; of its memory what this process may take."""
    gpus = torch.cuda.device_count()
    sizes = [torch.cuda.get_device_properties(k).total_memory for k in range(gpus)]
    ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if _CGROUP.is_file() and (limit := _CGROUP.read_text().strip()).isdigit():
        ram = min(ram, int(limit))
    return Machine(gpus, min(sizes, default=0), os.cpu_count(), ram)


def described(here: Machine, gpus: int | None, gpu_gib: float | None) -> Machine:
    """Return this machine, or one with other GPUs, of which nothing else is known.

    Args:
        here: This machine.
        gpus: How many; None for those that are here, or one if only their memory is given.
        gpu_gib: Memory of each in GiB; None for that of those that are here.

    Raises:
        ConfigError: If there are to be GPUs whose memory is not known.
    """
    if gpus is None and gpu_gib is None:
        return here
    count = (here.gpus or 1) if gpus is None else gpus
    if count == 0:
        return replace(here, gpus=0, gpu_bytes=0)
    if gpu_gib is None and not here.gpus:
        raise ConfigError(
            "gpu-memory must be given where no GPU is at hand, got none; say --gpu-memory 80"
        )
    size = here.gpu_bytes if gpu_gib is None else round(gpu_gib * GIB)
    if (count, size) == (here.gpus, here.gpu_bytes):
        return here
    return Machine(count, size)
