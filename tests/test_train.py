import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lookless.demonstrations import write_demonstrations
from lookless.errors import AlarmError, LooklessError, RunError
from lookless.lookworld.base import base_folder
from lookless.lookworld.dataset import Split, export, questions
from lookless.lookworld.trajectories import demonstrations
from lookless.recipe import Recipe, read_recipe
from lookless.runs import Step, read_jsonl
from lookless.train import Stage, run_stage
from lookless.training.ranks import Ranks

TEXT = """
model = "{model}"

[data]
reader = "lookworld"
demonstrations = "{data}/demonstrations.jsonl"
questions = "{data}"

[sft]
epochs = 2
batch = 4
warmup_steps = 1
save_every = 1

[rl]
steps = 3
queries = 2
forced = 1
prohibited = 1
adaptive = 2
warmup_steps = 1
temperature = 1.0
max_turn_tokens = 40
save_every = 1
"""


class Stopped(Exception):  # noqa: N818
    """Stands for a kill."""


@contextmanager
def silent(title: str, total: int) -> Iterator[Step]:
    yield lambda done, note: None


@contextmanager
def dying(title: str, total: int) -> Iterator[Step]:
    """Show progress until the second step, then be killed."""

    def move(done: int, note: str) -> None:
        if title != "checking" and done == 2:
            raise Stopped

    yield move


@dataclass
class Runs:
    """Training runs of one recipe."""

    folder: Path

    def recipe(self, *overrides: str) -> Recipe:
        return read_recipe(self.folder, overrides)

    def train(
        self,
        stage: Stage,
        name: str,
        *overrides: str,
        progress: Any = silent,
        resume: bool = False,
    ) -> Path:
        return run_stage(
            stage, self.recipe(*overrides), self.folder / name, Ranks(), progress,
            self.folder / "cache", resume=resume,
        )  # fmt: skip

    def rows(self, name: str, file: str = "metrics.jsonl") -> list[dict[str, Any]]:
        rows = read_jsonl(self.folder / name / file)
        return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in rows]


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint / "model.safetensors")


def assert_same(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name, weight in first.items():
        assert torch.equal(weight, second[name]), name


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    data = tmp_path / "data"
    worlds = list(questions(Split.TRAIN, 8))
    asked = export(data, worlds)
    write_demonstrations(data / "demonstrations.jsonl", demonstrations(worlds, asked, 0))
    (tmp_path / "recipe.toml").write_text(TEXT.format(model=base_folder(), data=data))
    return Runs(tmp_path)


@pytest.mark.slow
def test_sft_then_rl_leave_checkpoints_and_records(runs: Runs) -> None:
    first = runs.train("sft", "a")
    assert first == runs.folder / "a" / "checkpoint"
    assert [row["step"] for row in runs.rows("a")] == [1, 2, 3, 4]
    second = runs.train("rl", "b", f"model={first}")
    assert [row["step"] for row in runs.rows("b")] == [1, 2, 3]
    assert {row["step"] for row in runs.rows("b", "rollouts.jsonl")} == {1, 2, 3}
    assert json.loads((runs.folder / "b" / "trained.json").read_text()) == {
        "step": 3,
        "score": None,
    }
    assert list((runs.folder / "b" / "tensorboard").glob("events.*"))
    assert not (runs.folder / "b" / "checkpoints").exists()
    before, after = weights(first), weights(second)
    assert any(not torch.equal(before[name], after[name]) for name in before)
    # A finished run is left as it is.
    stamp = (second / "model.safetensors").stat().st_mtime_ns
    assert runs.train("rl", "b", f"model={first}", resume=True) == second
    assert (second / "model.safetensors").stat().st_mtime_ns == stamp
    with pytest.raises(RunError, match="must be new"):
        runs.train("rl", "b", f"model={first}")


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["sft", "rl"])
def test_killed_run_goes_on_as_if_nothing_had_happened(runs: Runs, stage: Stage) -> None:
    whole = runs.train(stage, "whole")
    with pytest.raises(Stopped):
        runs.train(stage, "part", progress=dying)
    part = runs.train(stage, "part", resume=True)
    assert runs.rows("part") == runs.rows("whole")
    if stage == "rl":
        assert _rollouts(runs, "part") == _rollouts(runs, "whole")
    assert_same(whole, part)


def _rollouts(runs: Runs, name: str) -> list[dict[str, Any]]:
    rows = runs.rows(name, "rollouts.jsonl")
    for row in rows:
        for r in row["rollouts"]:
            del r["seconds"], r["latency"]
    return rows


@pytest.mark.slow
def test_only_the_same_run_is_continued(runs: Runs) -> None:
    with pytest.raises(Stopped):
        runs.train("rl", "a", progress=dying)
    for override in ("rl.lr=1e-3", "seed=1", "engine.lora.rank=4", "rl.steps=2"):
        with pytest.raises(RunError, match="must keep its config"):
            runs.train("rl", "a", override, resume=True)
    with pytest.raises(RunError, match=r"must keep its config, got another .*stage"):
        runs.train("sft", "a", resume=True)
    table = runs.folder / "data" / "questions.jsonl"
    table.write_text(table.read_text().replace('"answer": "', '"answer": "x', 1))
    with pytest.raises(RunError, match="must keep its config, got another data_hashes"):
        runs.train("rl", "a", resume=True)


@pytest.mark.slow
def test_best_checkpoint_is_the_one_that_is_exported(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([3.0, 1.0, 2.0, 4.0])
    monkeypatch.setattr("lookless.training.stages.held_out_loss", lambda *_: next(losses))
    held = f"data.held_out={runs.folder / 'data' / 'demonstrations.jsonl'}"
    best = runs.train("sft", "a", held)
    assert json.loads((best.parent / "trained.json").read_text()) == {"step": 2, "score": -1.0}
    assert [row["loss"] for row in runs.rows("a", "validation.jsonl")] == [3.0, 1.0, 2.0, 4.0]


@pytest.mark.slow
def test_validation_measures_sampled_answers(runs: Runs) -> None:
    runs.train("rl", "a", f"data.validation={runs.folder / 'data'}")
    rows = runs.rows("a", "validation.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3]
    best = json.loads((runs.folder / "a" / "trained.json").read_text())
    scores = {row["step"]: row["accuracy"] - 0.05 * row["look_rate"] for row in rows}
    assert best["score"] == max(scores.values()) == scores[best["step"]]


@pytest.mark.slow
def test_alarm_ends_training_and_what_was_done_is_saved(runs: Runs) -> None:
    always = ("alarms.patience=1", "alarms.high_cut_off=0")
    ends = ('alarms.stop=["length_explosion"]', "rl.max_turn_tokens=2")
    with pytest.raises(AlarmError, match=r"alarm length_explosion after step 1, which is saved"):
        runs.train("rl", "a", *always, *ends)
    said = {row["name"] for row in read_jsonl(runs.folder / "a" / "alarms.jsonl")}
    assert "length_explosion" in said
    # Alarms are free to change, and one that was said is not said again.
    runs.train("rl", "a", ends[1], resume=True)
    assert [row["step"] for row in runs.rows("a")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("stage", "override", "said"),
    [
        ("sft", "data={reader='lookworld'}", "data.demonstrations must be a file or folder"),
        ("rl", "data={reader='lookworld'}", "data.questions must be a file or folder"),
        ("sft", "data.demonstrations=nowhere.jsonl", "demonstrations must be a readable JSONL"),
        ("rl", "data.questions=nowhere", "nowhere"),
        ("rl", "model=nowhere", "checkpoint must be a folder"),
        ("sft", "pixels.max_tiles=4", "max_tiles must be of the model's own kind"),
        ("rl", "rollouts.engine=vllm", "rollouts by vLLM need the package vllm"),
    ],
)
def test_mistakes_are_said_before_anything_is_written(
    runs: Runs, stage: Stage, override: str, said: str
) -> None:
    with pytest.raises(LooklessError, match=said) as raised:
        runs.train(stage, "a", override)
    assert "\n" not in str(raised.value)
    assert not (runs.folder / "a").exists()


def command(runs: Runs, *words: str, processes: int = 2) -> subprocess.Popen[str]:
    """Start `lookless` by torchrun, in a group of its own."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    return subprocess.Popen(
        [sys.executable, *launcher, "--master-port", port, "-m", "lookless", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=runs.folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.slow
def test_two_processes_by_the_command_do_what_one_does(runs: Runs) -> None:
    alone = runs.train("rl", "alone")
    words = ("rl", str(runs.folder), "--out", "two")
    out, err = (process := command(runs, *words)).communicate(timeout=300)
    assert process.returncode == 0, err[-2000:]
    assert out.count("checkpoint:") == 1
    for one, other in zip(runs.rows("alone"), runs.rows("two"), strict=True):
        assert other == pytest.approx(one, rel=1e-3, abs=1e-5)
    first, second = weights(alone), weights(runs.folder / "two" / "checkpoint")
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, rtol=0, atol=2e-4, msg=name)
    # A mistake is said once, whoever finds it, and nobody waits for the others.
    for wrong, said in (
        (("--out", "two"), "output folder must be new"),
        (("--out", "x", "--set", "data.questions=no"), "data must be a folder or a table"),
        (
            ("--out", "x", "--set", "rl.queries=1"),
            "rl.queries must be at least one for each of 2 processes",
        ),
    ):
        _, err = (process := command(runs, "rl", str(runs.folder), *wrong)).communicate(timeout=120)
        assert process.returncode != 0
        assert sum(line.startswith(f"lookless: {said}") for line in err.splitlines()) >= 1, err
        assert "Connection closed" not in err


@pytest.mark.slow
def test_two_processes_asked_to_stop_save_and_go_on_with_one(runs: Runs) -> None:
    whole = runs.train("sft", "whole", "sft.epochs=12", "sft.save_every=99")
    more = ("--set", "sft.epochs=12", "--set", "sft.save_every=99")
    process = command(runs, "sft", str(runs.folder), "--out", "part", *more)
    metrics = runs.folder / "part" / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while not metrics.exists() or len(metrics.read_text().splitlines()) < 3:
        assert process.poll() is None, process.communicate()[1][-2000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "stopped after step" in err
    done = len(runs.rows("part"))
    assert 3 <= done < 24
    part = runs.train("sft", "part", "sft.epochs=12", "sft.save_every=99", resume=True)
    assert [row["step"] for row in runs.rows("part")] == list(range(1, 25))
    first, second = weights(whole), weights(part)
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, rtol=0, atol=5e-3, msg=name)
