"""Each family from SFT to servers: trained, killed, resumed, exported, evaluated, served.

The models are untrained at first, and learn a few demonstrations by heart, so that they speak in
well-formed turns with looks. Then every engine must say the same.
"""

import gc
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText

from engines import pipeline
from engines.serving import as_said, free_port, serving, transformers_command, vllm_command
from lookless.benchmarks.lookworld import BENCHMARK
from lookless.episode import Mode, Question, Rollout, StopReason
from lookless.evaluation.config import EvalConfig
from lookless.evaluation.model import Local
from lookless.evaluation.run import run_eval
from lookless.images import SourceCache
from lookless.policies.hf import HfPolicy
from lookless.policies.openai import OpenAIPolicy
from lookless.policies.policy import Policy
from lookless.rollout import Limits, rollout
from lookless.runs import read_jsonl
from lookless.train import read_all
from lookless.vlm import load_vlm
from lookless.vlm.families import load_parts
from real.parts import FAMILIES, checkpoint

pytestmark = pytest.mark.engine
pytest.importorskip("vllm")

LIMITS = Limits(max_looks=2, max_turn_tokens=96)
ADAPTIVE_AND_FORCED = (Mode.ADAPTIVE, Mode.FORCED)


@dataclass
class Case:
    """A family's data and checkpoints."""

    folder: Path
    data: Path
    shown: Path
    """After SFT."""
    looked: Path
    """After RL, with rollouts by vLLM."""

    @property
    def questions(self) -> list[Question]:
        return read_all(BENCHMARK, self.data, self.folder)

    def eval(self, name: str, checkpoint: Path, local: Local) -> dict[str, object]:
        config = EvalConfig(
            benchmark="lookworld", data=self.data, model=str(checkpoint), local=local,
            max_looks=2, max_turn_tokens=96,
        )  # fmt: skip
        return run_eval(self.folder / name, config, self.folder / "cache", pipeline.silent)


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    place = tmp_path_factory.mktemp("pipeline")
    data = pipeline.data(place / "data")
    fresh = checkpoint(request.param, place)
    shown = pipeline.train("sft", pipeline.recipe(place, fresh, data), place / "sft")
    asked = pipeline.recipe(place, shown, data, "rollouts.engine=vllm", "rl.decision_weight=5")
    return Case(place, data, shown, pipeline.train("rl", asked, place / "rl"))


def asked_of(policy: Policy, questions: Sequence[Question]) -> list[Rollout]:
    requests = [(question, mode) for question in questions for mode in ADAPTIVE_AND_FORCED]
    return rollout(policy, requests, SourceCache(), LIMITS)


def assert_same(ours: Sequence[Rollout], theirs: Sequence[Rollout], *, with_tokens: bool) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert other.stop is not StopReason.FAULT, other.turns[-1].text
        # A server that gives texts alone cuts white space off their ends.
        own, served = (
            [turn.text if with_tokens else turn.text.strip() for turn in r.turns]
            for r in (one, other)
        )
        assert served == own
        assert other.looks == one.looks
        assert other.answer == one.answer
        if with_tokens:
            assert other.token_ids == one.token_ids
            assert other.is_sampled == one.is_sampled
            assert other.logprobs == pytest.approx(one.logprobs, abs=1e-3)


def test_sft_learns_and_rl_trains_on_what_vllm_sampled(case: Case) -> None:
    losses = [row["loss"] for row in read_jsonl(case.folder / "sft" / "metrics.jsonl")]
    assert losses[0] > 9
    assert losses[-1] < 1
    rows = read_jsonl(case.folder / "rl" / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3]
    # In steps 2 and 3 vLLM has weights that it was handed, the last time after a kill.
    assert all(row["loss/sampler_kl"] < 1e-6 for row in rows)
    before, after = (load_vlm(place).model.state_dict() for place in (case.shown, case.looked))
    assert any(not torch.equal(before[name], weight) for name, weight in after.items())
    ordinary = AutoModelForImageTextToText.from_pretrained(case.looked)
    assert all(torch.equal(after[name], one) for name, one in ordinary.state_dict().items())


def test_transformers_trains_too(case: Case) -> None:
    recipe = pipeline.recipe(case.folder, case.shown, case.data)
    pipeline.train("rl", recipe, case.folder / "rl-hf")
    rows = read_jsonl(case.folder / "rl-hf" / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert all(row["loss/sampler_kl"] < 1e-6 for row in rows)


def test_evaluations_by_transformers_and_vllm_agree(case: Case) -> None:
    by_hf = case.eval("eval-hf", case.looked, Local())
    by_vllm = case.eval("eval-vllm", case.looked, Local(engine="vllm"))
    gc.collect()
    rows = [read_jsonl(case.folder / name / "samples.jsonl") for name in ("eval-hf", "eval-vllm")]
    assert len(rows[0]) == 3 * pipeline.QUESTIONS
    for one, other in zip(*rows, strict=True):
        assert one["prediction"] == other["prediction"]
        assert one["rollout"]["looks"] == other["rollout"]["looks"]
    assert by_hf["modes"]["adaptive"]["accuracy"] == by_vllm["modes"]["adaptive"]["accuracy"]  # type: ignore[index]


def test_servers_say_what_transformers_says(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """With pictures sent without loss, as small ones always are; InternVL's canvases are large."""
    monkeypatch.setattr("lookless.policies.openai.PNG_PIXELS", 10**9)
    expected = asked_of(HfPolicy(load_vlm(case.looked), 0.0), case.questions)
    assert any(r.is_used for r in expected)
    chat = load_parts(case.looked).chat
    port = free_port()
    log = case.folder / "vllm.log"
    with serving(vllm_command(case.looked, port), port, log) as address:
        policy = OpenAIPolicy(address, chat=chat, concurrency=4)
        assert policy.maker == "vllm"
        assert_same(expected, asked_of(policy, case.questions), with_tokens=True)
    port = free_port()
    log = case.folder / "transformers.log"
    plain = as_said(case.looked, case.folder / "as-said")
    with serving(transformers_command(plain, port), port, log) as address:
        policy = OpenAIPolicy(address, str(plain), chat)
        # It gives texts alone, which are cut into tokens anew.
        assert_same(expected, asked_of(policy, case.questions), with_tokens=False)


def by_command(*words: str, processes: int = 1) -> None:
    """Run `lookless` in processes of its own."""
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes),
                "--master-port", str(free_port())] if processes > 1 else []  # fmt: skip
    command = [sys.executable, *launcher, "-m", "lookless", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("case", ["qwen3_vl"], indirect=True)
def test_two_processes_with_an_engine_each_make_what_one_makes(case: Case) -> None:
    settings = (f"model={case.shown}", "rollouts.engine=vllm", "rl.decision_weight=5")
    out = case.folder / "rl-two"
    words = [word for one in settings for word in ("--set", one)]
    by_command("rl", str(case.folder), "--out", str(out), *words, processes=2)
    ours, theirs = (read_jsonl(place / "metrics.jsonl") for place in (case.folder / "rl", out))
    for one, other in zip(ours, theirs, strict=True):
        kept = [name for name in one if not name.startswith("time/")]
        assert {name: other[name] for name in kept} == pytest.approx(
            {name: one[name] for name in kept}, rel=1e-3, abs=1e-5
        )


@pytest.mark.parametrize("case", ["qwen3_vl"], indirect=True)
def test_adapters_in_half_precision_are_trained_beside_vllm(case: Case) -> None:
    settings = (
        f"model={case.shown}", "rollouts.engine=vllm", "rollouts.vllm.dtype=bfloat16",
        "engine.dtype=bfloat16", "engine.checkpointing=true", "engine.lora.rank=8",
        "rl.decision_weight=5", "rl.lr=1e-2",
    )  # fmt: skip
    out = case.folder / "rl-lora"
    words = [word for one in settings for word in ("--set", one)]
    by_command("rl", str(case.folder), "--out", str(out), *words)
    rows = read_jsonl(out / "metrics.jsonl")
    assert all(row["loss/grad_norm"] > 0 for row in rows)
    # As far apart as two programs in bfloat16 are; the adapters' change is far larger.
    assert all(row["loss/sampler_kl"] < 2e-3 for row in rows)
    before, after = (
        load_vlm(place).model.state_dict() for place in (case.shown, out / "checkpoint")
    )
    # The frozen vision tower has the type of the computation, and is rounded to it.
    text = [name for name in before if "visual" not in name]
    changed = {name for name in text if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.endswith("proj.weight") and "language_model" in name for name in changed)
