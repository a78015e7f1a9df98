"""Two processes compute what one does; a killed run goes on as if nothing had happened."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lookless.vlm import load_vlm

WORKER = Path(__file__).parent / "worker.py"
STEPS = 4

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def run(folder: Path, kind: str, processes: int, *more: str) -> int:
    """Train in processes of their own; return the exit status."""
    folder.mkdir(exist_ok=True)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    launcher += ["--master-port", str(free_port())]
    alone = [sys.executable]
    command = [*(launcher if processes > 1 else alone), str(WORKER), str(folder), kind, str(STEPS)]
    done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=300,
                          env=os.environ | {"OMP_NUM_THREADS": "1"})  # fmt: skip
    (folder / "stderr.txt").write_text(done.stderr)
    return done.returncode


def rows(folder: Path) -> list[dict[str, Any]]:
    """Return each step's metrics; of a step that was taken again, the last."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    by_step = {row["step"]: row for row in map(json.loads, lines)}
    return [by_step[step] for step in sorted(by_step)]


def assert_same(one: Path, other: Path, atol: float) -> None:
    """Check that losses and weights agree."""
    assert len(rows(one)) == len(rows(other)) == STEPS
    for a, b in zip(rows(one), rows(other), strict=True):
        kept = [name for name in a if not name.startswith("time/")]
        assert {name: b[name] for name in kept} == pytest.approx(
            {name: a[name] for name in kept}, rel=1e-3, abs=1e-5
        )
    first, second = (torch.load(folder / "weights.pt") for folder in (one, other))
    assert first.keys() == second.keys()
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, rtol=0, atol=atol, msg=name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return finished runs of one process."""
    folders = {kind: tmp_path_factory.mktemp("runs") / kind for kind in ("sft", "rl")}
    for kind, folder in folders.items():
        assert run(folder, kind, 1) == 0, (folder / "stderr.txt").read_text()[-2000:]
    return folders


@pytest.mark.parametrize("kind", ["sft", "rl"])
def test_two_processes_compute_what_one_does(
    alone: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    """Also where they have unequal parts: batches of 4 and 2, three queries a step."""
    assert run(tmp_path, kind, 2) == 0, (tmp_path / "stderr.txt").read_text()[-2000:]
    # Adam divides by what it has seen of a gradient, so rounding of a small one counts fully.
    assert_same(alone[kind], tmp_path, atol=2e-4)
    moved = torch.load(tmp_path / "weights.pt")
    assert all(torch.isfinite(weight).all() for weight in moved.values())
    exported = load_vlm(tmp_path / "model").model.state_dict()
    for name, weight in moved.items():
        assert torch.equal(exported[name], weight), name


@pytest.mark.parametrize(("kind", "after"), [("sft", 2), ("rl", 2), ("rl", 1)])
def test_killed_run_of_two_goes_on_with_two_or_one(
    alone: dict[str, Path], tmp_path: Path, kind: str, after: int
) -> None:
    assert run(tmp_path, kind, 2, "--die-after", "3") != 0
    assert not (tmp_path / "weights.pt").exists()
    assert run(tmp_path, kind, after) == 0, (tmp_path / "stderr.txt").read_text()[-2000:]
    assert_same(alone[kind], tmp_path, atol=2e-4)


def test_adapters_are_trained_alike_by_two_processes_and_one(tmp_path: Path) -> None:
    settings = ("--settings", json.dumps({"lora": {"rank": 4, "alpha": 8}}))
    for name, processes in (("one", 1), ("two", 2)):
        folder = tmp_path / name
        assert run(folder, "rl", processes, *settings) == 0, (folder / "stderr.txt").read_text()[
            -2000:
        ]
    assert_same(tmp_path / "one", tmp_path / "two", atol=2e-4)


def test_recomputed_activations_and_a_trained_tower_change_nothing(tmp_path: Path) -> None:
    for name, processes, checkpointing in (("one", 1, False), ("two", 2, True)):
        settings = {"train_vision": True, "checkpointing": checkpointing}
        folder = tmp_path / name
        status = run(folder, "rl", processes, "--settings", json.dumps(settings))
        assert status == 0, (folder / "stderr.txt").read_text()[-2000:]
    assert_same(tmp_path / "one", tmp_path / "two", atol=2e-4)
