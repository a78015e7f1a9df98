"""The whole method in one run: SFT from the base, RL, and evaluation on held-out questions."""

import json
import resource
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lookless.demonstrations import Played
from lookless.episode import Mode, Question
from lookless.errors import RunError
from lookless.evaluation.evaluate import evaluate
from lookless.evaluation.protocol import protocol_hash
from lookless.evaluation.records import answered_record
from lookless.evaluation.summary import summary
from lookless.grading.exact import boxed_exact, grade
from lookless.images import SourceCache
from lookless.lookworld.base import load_base
from lookless.lookworld.dataset import Split, WorldQuestion, export, questions
from lookless.lookworld.trajectories import demonstrations
from lookless.mixture import Mixture
from lookless.policies.hf import HfPolicy
from lookless.runs import Progress, append_jsonl, open_run, write_json
from lookless.training.collector import SameWeights
from lookless.training.engine import Engine, EngineConfig
from lookless.training.rl_config import RlConfig
from lookless.training.scoring import reward_alone
from lookless.training.sft import SftConfig
from lookless.training.stages import CHECKPOINT, is_finished, rl_stage, sft_stage
from lookless.vlm import VLM, load_vlm

COMPARED: dict[str, str] = {
    "accuracy_reward": "accuracy",
    "pixel_reasoner": "pixel_reasoner",
    "deepeyes": "deepeyes",
    "hdpo": "hdpo",
}
"""Names in the result of the other rewards, and the rewards."""


class DemoConfig(BaseModel):
    """Settings of the demo; the defaults are what `make demo` runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(0, ge=0)
    sft_questions: int = Field(3000, ge=1)
    rl_questions: int = Field(1500, ge=1)
    eval_questions: int = Field(800, ge=1)
    """Of the test split, and as many of the shifted one."""
    mixture: Mixture = Mixture()
    sft: SftConfig = SftConfig()
    rl: RlConfig = RlConfig()
    engine: EngineConfig = EngineConfig()
    compare: tuple[Literal["accuracy_reward", "pixel_reasoner", "deepeyes", "hdpo"], ...] = ()
    """Other rewards to train from the same SFT checkpoint, by their names in COMPARED."""


@dataclass
class Data:
    """The demo's questions, exported to disk."""

    sft_worlds: list[WorldQuestion]
    sft: list[Question]
    rl: list[Question]
    test: list[Question]
    shifted: list[Question]


def run_demo(
    out: Path, config: DemoConfig, progress: Progress, *, resume: bool = False
) -> dict[str, Any]:
    """Run all stages that `out` does not hold yet; return the content of results.json.

    Raises:
        RunError: If `out` exists and may not be continued.
    """
    open_run(out, config.model_dump(mode="json"), resume=resume)
    if (out / "results.json").exists():
        return finished(out)
    clock = Clock(out / "clock.json")
    with clock("data"):
        data = make_data(out / "data", config, progress)
    sources = SourceCache()
    vlm = load_base()
    with clock("sft"):
        train_sft(vlm, out / "sft", data, sources, config, progress)
    trained = {"rgrl": config.rl} | {
        name: baseline(config.rl, COMPARED[name]) for name in config.compare
    }
    for name, recipe in trained.items():
        with clock(name):
            train_rl(
                out / "sft",
                out / name,
                data.rl,
                sources,
                recipe,
                config.engine,
                config.seed,
                progress,
            )
    with clock("eval"):
        plans = [
            ("never", "rgrl", Mode.PROHIBITED),
            ("always", "rgrl", Mode.FORCED),
            ("sft", "sft", Mode.ADAPTIVE),
        ]
        plans += [(name, name, Mode.ADAPTIVE) for name in trained]
        policies: dict[str, Any] = {}
        shifted: dict[str, Any] = {}
        for name, checkpoint, mode in plans:
            folder = out / checkpoint / CHECKPOINT
            policies[name] = eval_stage(
                folder, out / "eval" / f"{name}.jsonl", data.test, mode, sources, config, progress
            )
            shifted[name] = eval_stage(
                folder,
                out / "eval" / f"{name}.shifted.jsonl",
                data.shifted,
                mode,
                sources,
                config,
                progress,
            )
    settings = asdict(config.rl.limits) | {"temperature": 0}
    results = {
        "n": len(data.test),
        "oracle_look_rate": sum(bool(q.needs_look) for q in data.test) / len(data.test),
        "protocol": protocol_hash(data.test, settings),
        "seed": config.seed,
        "seconds": clock.seconds | {"total": sum(clock.seconds.values())},
        "peak_memory_mb": clock.peak_memory_mb,
        "policies": policies,
        "shifted": {
            "n": len(data.shifted),
            "oracle_look_rate": sum(bool(q.needs_look) for q in data.shifted) / len(data.shifted),
            "protocol": protocol_hash(data.shifted, settings),
            "policies": shifted,
        },
    }
    write_json(out / "results.json", results)
    return results


def finished(run: Path) -> dict[str, Any]:
    """Return the results of a finished run.

    Raises:
        RunError: If there are none.
    """
    try:
        results: dict[str, Any] = json.loads((run / "results.json").read_text())
    except (OSError, ValueError):
        raise RunError(
            f"run must be a folder that `lookless demo` finished, got {str(run)!r} without "
            "a results.json; check the path, or finish it with --resume"
        ) from None
    return results


class Clock:
    """Adds up the seconds of each stage over interruptions, in a file; notes the peak memory too.

    What a stage had spent when its process was killed outright is lost.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.seconds: dict[str, float] = {}
        self.peak_memory_mb = 0.0
        if file.exists():
            saved = json.loads(file.read_text())
            self.seconds, self.peak_memory_mb = saved["seconds"], saved["peak_memory_mb"]

    def __call__(self, stage: str) -> "Clock":
        """Name the stage that the `with` block measures."""
        self.stage = stage
        return self

    def __enter__(self) -> None:
        """Start measuring."""
        self.began = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        """Add what was measured."""
        spent = time.perf_counter() - self.began
        self.seconds[self.stage] = round(self.seconds.get(self.stage, 0.0) + spent, 1)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self.peak_memory_mb = max(self.peak_memory_mb, peak)
        write_json(
            self.file, {"seconds": self.seconds, "peak_memory_mb": round(self.peak_memory_mb)}
        )


def make_data(folder: Path, config: DemoConfig, progress: Progress) -> Data:
    """Draw the demo's scenes and questions; what is on disk already is kept."""
    sft_worlds = list(questions(Split.TRAIN, config.sft_questions, config.seed))
    first_free = 1 + int(sft_worlds[-1].scene_id.rsplit("-", 1)[1])
    rl_worlds = list(questions(Split.TRAIN, config.rl_questions, config.seed, first_free))
    test = list(questions(Split.TEST, config.eval_questions, config.seed))
    shifted = list(questions(Split.SHIFTED, config.eval_questions, config.seed))
    total = len(sft_worlds) + len(rl_worlds) + len(test) + len(shifted)
    done = 0
    with progress("LookWorld", total) as step:

        def count() -> None:
            nonlocal done
            done += 1
            step(done, "")

        parts = [
            export(folder / name, worlds, progress=count)
            for name, worlds in (
                ("sft", sft_worlds),
                ("rl", rl_worlds),
                ("test", test),
                ("shifted", shifted),
            )
        ]
    return Data(sft_worlds, *parts)


def train_sft(
    vlm: VLM, folder: Path, data: Data, sources: SourceCache, config: DemoConfig, progress: Progress
) -> None:
    """Train the base on demonstrations, unless `folder` holds the checkpoint already."""
    if is_finished(folder):
        return
    shown = demonstrations(data.sft_worlds, data.sft, config.seed, config.mixture)
    played = Played(vlm.chat, shown, sources, config.sft.max_context)
    sft_stage(folder, Engine(vlm, config.engine), played, config.sft, config.seed, progress)


def train_rl(
    start: Path,
    folder: Path,
    queries: Sequence[Question],
    sources: SourceCache,
    config: RlConfig,
    settings: EngineConfig,
    seed: int,
    progress: Progress,
) -> None:
    """Train the SFT checkpoint by RL, unless `folder` holds the checkpoint already."""
    if is_finished(folder):
        return
    engine = Engine(load_vlm(start / CHECKPOINT), settings, with_reference=config.kl_weight > 0)
    collector = SameWeights(engine, sources, config.limits, config.temperature)
    rl_stage(folder, engine, collector, queries, sources, config, seed, progress, grade)


def baseline(config: RlConfig, reward: str) -> RlConfig:
    """Return the same RL with another reward: as many rollouts, all of them adaptive."""
    rollouts = config.forced + config.prohibited + config.adaptive
    changes = {
        "reward": reward,
        "reward_settings": {},
        "forced": 0,
        "prohibited": 0,
        "adaptive": rollouts,
    }
    return RlConfig(**{**config.model_dump(), **changes, "decision_weight": 0.0})


def eval_stage(
    checkpoint: Path,
    file: Path,
    asked: Sequence[Question],
    mode: Mode,
    sources: SourceCache,
    config: DemoConfig,
    progress: Progress,
) -> dict[str, Any]:
    """Answer all questions greedily, write a record of each to `file`, return the summary."""
    summary_file = file.with_suffix(".summary.json")
    if summary_file.exists():
        loaded: dict[str, Any] = json.loads(summary_file.read_text())
        return loaded
    file.parent.mkdir(exist_ok=True)
    vlm = load_vlm(checkpoint)
    limits = config.rl.limits
    with progress(f"evaluating {file.stem}", len(asked)) as step:
        answered = evaluate(
            HfPolicy(vlm, temperature=0),
            asked,
            mode,
            sources,
            limits,
            boxed_exact,
            progress=lambda n: step(n, ""),
        )
    file.unlink(missing_ok=True)
    for one in answered:
        parts = reward_alone(one.question, one.rollout, one.grade, config.rl)
        append_jsonl(file, answered_record(one) | {"parts": parts and parts.parts})
    result = summary(answered)
    write_json(summary_file, result)
    return result
