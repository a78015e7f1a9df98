import pytest

from lookless.doctor.machine import GIB, Machine, described, this_machine
from lookless.errors import ConfigError

HERE = Machine(2, 24 * GIB, 16, 64 * GIB)


def test_this_machine() -> None:
    found = this_machine()
    assert found.cpus
    assert found.ram_bytes
    assert found.ram_bytes > GIB
    assert found.processes == max(found.gpus, 1)


@pytest.mark.parametrize(
    ("gpus", "gib", "found"),
    [
        (None, None, HERE),
        (2, 24, HERE),
        (8, 80, Machine(8, 80 * GIB)),
        (8, None, Machine(8, 24 * GIB)),
        (None, 80, Machine(2, 80 * GIB)),
        (0, None, Machine(0, 0, 16, 64 * GIB)),
    ],
)
def test_machine_that_is_described(gpus: int | None, gib: float | None, found: Machine) -> None:
    assert described(HERE, gpus, gib) == found


def test_gpus_of_which_the_memory_is_not_known() -> None:
    assert described(Machine(cpus=2), None, 80) == Machine(1, 80 * GIB)
    with pytest.raises(ConfigError, match="gpu-memory must be given where no GPU is at hand"):
        described(Machine(cpus=2), 8, None)
