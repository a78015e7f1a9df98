"""A step of SFT, and the most memory that it took; a test calls it in a process of its own.

    python tests/doctor/peak.py FOLDER MODEL SETTINGS

FOLDER is an export of LookWorld with demonstrations, SETTINGS the engine's as JSON. Writes bytes.
"""

import argparse
import json
import resource
import sys
from pathlib import Path

import torch

from lookless.demonstrations import Played, read_demonstrations
from lookless.images import SourceCache
from lookless.training.checkpoints import Checkpoints
from lookless.training.engine import Engine, EngineConfig
from lookless.training.sft import SftConfig, sft
from lookless.vlm import load_vlm


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("settings", type=json.loads)
    args = parser.parse_args()
    torch.set_num_threads(1)
    engine = Engine(load_vlm(args.model), EngineConfig.model_validate(args.settings))
    shown = read_demonstrations(args.folder / "demonstrations.jsonl")
    played = Played(engine.vlm.chat, shown, SourceCache())
    # Two steps: AdamW's moments are there from the first one on.
    config = SftConfig(epochs=1, batch=-(-len(shown) // 2), save_every=99, warmup_steps=0)
    checkpoints = Checkpoints(args.folder / "checkpoints", keep=1)
    sft(engine, played, played.source, config, 0, checkpoints, lambda metrics: None)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(f"{1024 * peak_kib}\n")


if __name__ == "__main__":
    main()
