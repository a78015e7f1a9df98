"""RL with rollouts by two workers that run vLLM, one of which is killed in the middle of a step."""

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lookless.episode import StopReason
from lookless.images import SourceCache
from lookless.lookworld.dataset import Split, questions, to_question
from lookless.policies.policy import Observation, Prompt
from lookless.policies.vllm import VllmPolicy, VllmSession, VllmSettings
from lookless.training.checkpoints import Checkpoints
from lookless.training.collector import OnWorkers
from lookless.training.engine import Engine, EngineConfig
from lookless.training.rl import rl
from lookless.training.rl_config import RlConfig
from lookless.training.scoring import ScoredGroup
from lookless.vlm import load_vlm
from lookless.workers import Synchronised, Workers, WorkerSettings
from real.parts import checkpoint
from training.worker import drawn, whim

pytestmark = pytest.mark.engine
pytest.importorskip("vllm")
ray = pytest.importorskip("ray")
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test

RL = RlConfig(
    steps=3, queries=5, forced=2, prohibited=2, adaptive=4, lr=1e-3, warmup_steps=1,
    max_turn_tokens=9, temperature=1.0,
)  # fmt: skip
VLLM = VllmSettings(max_rollouts=8, dtype="float32", eager=True)
Steps = list[list[ScoredGroup]]


def mortal(folder: Path, flag: Path) -> Callable[[], Synchronised]:
    """Return a maker of policies; the first to find the flag in a batch removes it, and dies."""

    class MortalSession(VllmSession):
        def step(self, appended: Mapping[int, Observation | None], max_tokens: int) -> Any:
            turns = super().step(appended, max_tokens)
            try:
                flag.unlink()
            except FileNotFoundError:
                return turns
            os.kill(os.getpid(), signal.SIGKILL)

    class Mortal(VllmPolicy):
        def start(self, prompts: Sequence[Prompt]) -> VllmSession:
            return MortalSession(self, prompts)

    return lambda: Mortal(folder, VLLM, temperature=RL.temperature)


def test_worker_killed_in_a_step_changes_nothing_of_it(tmp_path: Path) -> None:
    """The two runs sample the very same tokens: vLLM's draws are seeded turn by turn.

    That holds as long as no draw falls within the rounding by which logits differ between batches;
    on a CPU, with these seeds, none does.
    """
    folder = checkpoint("qwen2_5_vl", tmp_path)
    flag = tmp_path / "flag"
    image = drawn(tmp_path)
    asked = [to_question(world, image, 1024) for world in questions(Split.TRAIN, 6)]

    def train(name: str, collector: OnWorkers, die_in: int | None) -> tuple[Steps, list[float]]:
        """Return each step's groups, and how many of them were made again."""
        steps: Steps = []
        again: list[float] = []

        def log(metrics: dict[str, Any], groups: list[ScoredGroup], *_: object) -> None:
            steps.append(groups)
            again.append(metrics["workers/redone_groups"])
            assert metrics["loss/sampler_kl"] < 1e-6  # 0.3 with the weights of the step before
            if metrics["step"] + 1 == die_in:
                flag.touch()

        engine = Engine(load_vlm(folder), EngineConfig())
        checkpoints = Checkpoints(tmp_path / name)
        rl(engine, collector, asked, SourceCache(), RL, 0, checkpoints, log, whim)
        return steps, again

    with Workers.start(mortal(folder, flag), WorkerSettings(count=2), "killed") as workers:
        collector = OnWorkers(workers, RL.limits)
        undisturbed, calm = train("undisturbed", collector, None)
        disturbed, redone = train("disturbed", collector, die_in=2)
    assert not flag.exists()
    assert calm == [0, 0, 0]
    assert [count > 0 for count in redone] == [False, True, False]
    assert len(undisturbed) == len(disturbed) == RL.steps
    for ours, theirs in zip(undisturbed, disturbed, strict=True):
        assert len(theirs) == RL.queries
        for one, other in zip(ours, theirs, strict=True):
            assert [r.mode for r in other.group.rollouts] == list(RL.modes)
            assert all(r.stop is not StopReason.FAULT for r in other.group.rollouts)
            said = [[r.token_ids for r in each.group.rollouts] for each in (one, other)]
            assert said[0] == said[1]
            assert other.group.grades == one.group.grades
            assert other.rewards == one.rewards
            assert other.advantages == pytest.approx(one.advantages)
    sampled = {r.token_ids for groups in disturbed for one in groups for r in one.group.rollouts}
    assert len(sampled) > RL.queries * len(RL.modes)  # they are drawn, and anew in each step
    assert any(a for groups in disturbed for one in groups for a in one.advantages)
