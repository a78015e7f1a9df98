import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safetensors.torch import load_file

from lookless.demo import COMPARED, DemoConfig, baseline, run_demo
from lookless.errors import RunError
from lookless.report.html import write_report
from lookless.runs import Step
from lookless.training.rl_config import RlConfig
from lookless.training.sft import SftConfig

TINY = DemoConfig(
    sft_questions=48,
    rl_questions=4,
    eval_questions=10,
    sft=SftConfig(epochs=1, batch=16),
    rl=RlConfig(steps=3, queries=2, save_every=1, max_turn_tokens=40),
)


class Stopped(Exception):  # noqa: N818
    """Stands for a kill."""


@contextmanager
def silent(title: str, total: int) -> Iterator[Step]:
    yield lambda done, note: None


def stopping_at(stage: str, step: int) -> Any:
    """Return a progress display that kills the run in the middle of a stage."""

    @contextmanager
    def show(title: str, total: int) -> Iterator[Step]:
        def move(done: int, note: str) -> None:
            if title.startswith(stage) and done >= step:
                raise Stopped

        yield move

    return show


@pytest.mark.slow
def test_demo_writes_results_for_every_policy_and_a_report(tmp_path: Path) -> None:
    out = tmp_path / "run"
    results = run_demo(out, TINY.model_copy(update={"compare": tuple(COMPARED)}), silent)
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(results))
    assert {"n", "oracle_look_rate", "protocol", "seed", "seconds", "policies"} <= results.keys()
    assert {"sft", "rgrl", "eval", "total"} <= results["seconds"].keys()
    assert list(results["policies"]) == ["never", "always", "sft", "rgrl", *COMPARED]
    for row in results["policies"].values():
        low, high = row["accuracy_ci"]
        assert 0 <= low <= row["accuracy"] <= high <= 1
        assert {
            "look_rate",
            "looks_per_sample",
            "visual_tokens_per_sample",
            "seconds_per_sample",
        } <= row.keys()
        assert {"precision", "recall", "f1", "mcc"} <= row["necessity"].keys()
    assert results["policies"]["never"]["look_rate"] == 0
    for name in ("sft", "rgrl"):
        assert list((out / name / "tensorboard").glob("events.*"))
    assert write_report(out).read_text().startswith("<!DOCTYPE html>")
    with pytest.raises(RunError, match="must be new"):
        run_demo(out, TINY, silent)
    before = (out / "results.json").read_text()
    again = TINY.model_copy(update={"compare": tuple(COMPARED)})
    assert run_demo(out, again, silent, resume=True) == json.loads(before)
    assert (out / "results.json").read_text() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "step"), [("LookWorld", 20), ("SFT", 2), ("RL", 2), ("evaluating", 1)]
)
def test_interrupted_demo_resumes_to_the_same_weights(
    tmp_path: Path, stage: str, step: int
) -> None:
    whole = run_demo(tmp_path / "whole", TINY, silent)
    with pytest.raises(Stopped):
        run_demo(tmp_path / "cut", TINY, stopping_at(stage, step))
    assert (tmp_path / "cut" / "rgrl" / "checkpoints").exists() == (stage == "RL")
    again = run_demo(tmp_path / "cut", TINY, silent, resume=True)
    for name in ("sft", "rgrl"):
        one, other = (
            load_file(tmp_path / run / name / "checkpoint" / "model.safetensors")
            for run in ("whole", "cut")
        )
        assert all(one[key].equal(other[key]) for key in one)
        logs = [
            (tmp_path / run / name / "metrics.jsonl").read_text().count("\n")
            for run in ("whole", "cut")
        ]
        assert logs[0] == logs[1]
    assert [r["accuracy"] for r in again["policies"].values()] == [
        r["accuracy"] for r in whole["policies"].values()
    ]


def test_every_reward_to_compare_with_can_be_asked_for() -> None:
    assert DemoConfig.model_validate({"compare": list(COMPARED)}).compare == tuple(COMPARED)
    with pytest.raises(ValidationError):
        DemoConfig.model_validate({"compare": ["typo"]})
    with pytest.raises(ValidationError):
        DemoConfig.model_validate({"mixture": {"look": -3}})


def test_baselines_get_as_many_rollouts_all_adaptive() -> None:
    config = RlConfig(forced=3, prohibited=2, adaptive=4, decision_weight=1.0)
    other = baseline(config, "deepeyes")
    assert (other.forced, other.prohibited, other.adaptive) == (0, 0, 9)
    assert other.reward == "deepeyes"
    assert other.decision_weight == 0
