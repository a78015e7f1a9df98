"""One process of a training run that a test starts with torchrun, or calls directly, alone.

    torchrun --nproc-per-node 2 tests/training/worker.py FOLDER {sft,rl} STEPS [--die-after N]

Trains the untrained tiny model and leaves the whole weights and each step's metrics in FOLDER.
"""

import argparse
import json
import os
import signal
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw

from lookless.demonstrations import Played
from lookless.episode import Question, Rollout
from lookless.images import SourceCache
from lookless.lookworld.base import new_base
from lookless.lookworld.dataset import Split, questions, to_question
from lookless.lookworld.trajectories import demonstrations
from lookless.policies.hf import HfPolicy
from lookless.training.checkpoints import Checkpoints
from lookless.training.collector import OwnWeights
from lookless.training.engine import Engine, EngineConfig
from lookless.training.lora import LoraSettings
from lookless.training.ranks import Ranks
from lookless.training.rl import rl
from lookless.training.rl_config import RlConfig
from lookless.training.sft import SftConfig, sft

RL = RlConfig(
    queries=3, forced=2, prohibited=2, adaptive=4, lr=1e-3, warmup_steps=1, max_turn_tokens=9,
    save_every=2, kl_weight=0.1, temperature=1.0, steps=99,
)  # fmt: skip


def drawn(folder: Path) -> Path:
    """Draw an image and return its file."""
    file = folder / "drawn.png"
    image = Image.new("RGB", (1024, 1024), (90, 120, 60))
    ImageDraw.Draw(image).rectangle((256, 256, 512, 512), fill="red")
    image.save(file)
    return file


def whim(question: Question, r: Rollout) -> float:
    """Grade by a whim, since an untrained model is never right."""
    return float(zlib.crc32(repr(r.token_ids[-9:]).encode()) % 3 == 0)


def train(
    ranks: Ranks,
    folder: Path,
    kind: str,
    steps: int,
    settings: Mapping[str, Any] | None = None,
    die_after: int | None = None,
) -> None:
    """Train, and let the first process write what came of it."""
    vlm, own = new_base(0), new_base(0)
    engine = Engine(vlm, EngineConfig(**settings or {}), ranks, with_reference=kind == "rl")
    sources = SourceCache()
    image = ranks.first(drawn(folder) if ranks.is_first else None)
    assert image is not None
    worlds = list(questions(Split.TRAIN, 6))
    asked = [to_question(world, image, 1024) for world in worlds]
    checkpoints = Checkpoints(folder / "checkpoints", keep=9)

    def log(metrics: dict[str, Any], *others: object) -> None:
        with (folder / "metrics.jsonl").open("a") as stream:
            stream.write(json.dumps(metrics) + "\n")
        if die_after is not None and metrics["step"] == die_after:
            os.kill(os.getpid(), signal.SIGKILL)

    if kind == "sft":
        shown = Played(vlm.chat, demonstrations(worlds, asked, 0), sources)
        config = SftConfig(epochs=99, batch=4, lr=1e-3, warmup_steps=1, save_every=2)
        config = config.model_copy(update={"epochs": -(-steps // 2)})
        sft(engine, shown, shown.source, config, 0, checkpoints, log)
    else:
        config_rl = RL.model_copy(update={"steps": steps})
        collector = OwnWeights(HfPolicy(own), sources, config_rl.limits)
        rl(engine, collector, asked, sources, config_rl, 0, checkpoints, log, whim)
    whole = {name: weight.cpu().clone() for name, weight in engine.weights()}
    if ranks.is_first:
        torch.save(whole, folder / "weights.pt")
    engine.export(folder / "model")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("kind", choices=("sft", "rl"))
    parser.add_argument("steps", type=int)
    parser.add_argument("--die-after", type=int)
    parser.add_argument("--settings", type=json.loads, default={})
    args = parser.parse_args()
    torch.set_num_threads(1)
    if "lora" in args.settings:
        args.settings["lora"] = LoraSettings(**args.settings["lora"])
    ranks = Ranks.join()
    train(ranks, args.folder, args.kind, args.steps, args.settings, args.die_after)
    ranks.leave()
    ranks.finish()


if __name__ == "__main__":
    main()
