"""Measure rollouts per second in process: ours, and peers that begin each turn from scratch.

    OMP_NUM_THREADS=2 python bench/rollouts.py runs/demo/sft/checkpoint --out results/rollouts.json

The rollouts of an RL step of the demo, 16 of each LookWorld question, by the same loop:

  ours       one computation of each prompt's shared part and each picture, one cache for all turns;
             rows that have ended their turn step aside
  generate   `generate` of transformers once a turn, with all that was said and seen so far,
             pictures included
  trl        what the tool loop of TRL's GRPOTrainer does once a turn; needs "lookless[bench]"

  vllm       vLLM in process (`--vllm`); its caches begin each round empty, and which share of what
             was asked of them they held is stated

All sample; how many greedy rollouts of the first two are the same is stated beside. Prints tables
and, last, one JSON object.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from rich.console import Console
from rich.table import Table
from scratch_policy import GeneratePolicy
from trl_peer import TrlPolicy

from lookless.cli import mistakes_in_one_line
from lookless.episode import Mode, Question, Rollout
from lookless.images import SourceCache
from lookless.lookworld.base import base_folder
from lookless.lookworld.dataset import Split, export, questions
from lookless.policies import hf
from lookless.policies.hf import HfPolicy, HfSession
from lookless.policies.policy import Policy
from lookless.policies.vllm import VllmPolicy, VllmSettings
from lookless.rollout import rollout
from lookless.runs import provenance, write_json
from lookless.training.rl_config import RlConfig
from lookless.vlm import VLM, FeatureCache, load_vlm
from lookless.vlm.fresh import describe

Requests = Sequence[tuple[Question, Mode]]
VLLM = VllmSettings(dtype="float32", max_rollouts=128)


@contextmanager
def phases() -> Iterator[Counter[str]]:
    """Give the seconds that parts of our rollouts take meanwhile."""
    seconds: Counter[str] = Counter()
    parts: list[tuple[Any, str, str]] = [
        (FeatureCache, "encode", "pictures"),
        (VLM, "forward", "prompts and observations"),
        (VLM, "advance", "token by token: layers"),
        (VLM, "logits", "token by token: logits"),
        (hf, "choose", "token by token: draws"),
        (HfSession, "_kept", "rows that step aside or leave"),
        (hf.Rows, "part", "rows that step aside or leave"),
    ]
    inside = [False]
    with ExitStack() as stack:
        for owner, name, title in parts:
            stack.enter_context(
                patch.object(owner, name, _timed(getattr(owner, name), title, seconds, inside))
            )
        yield seconds


def _timed(
    run: Callable[..., Any], title: str, seconds: Counter[str], inside: list[bool]
) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        if inside[0]:  # the outer part counts
            return run(*args, **kwargs)
        inside[0], began = True, time.perf_counter()
        try:
            return run(*args, **kwargs)
        finally:
            inside[0] = False
            seconds[title] += time.perf_counter() - began

    return timed


def same_share(one: Sequence[Rollout], other: Sequence[Rollout]) -> float:
    """Return the share of rollouts whose tokens are equal."""
    return sum(a.token_ids == b.token_ids for a, b in zip(one, other, strict=True)) / len(one)


def forgetful(engine: VllmPolicy, seed: int) -> VllmPolicy:
    """Return a policy with a seed whose engine holds nothing of earlier rounds."""
    engine.forget()
    return engine.seeded(seed)


def measure(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Return all that is printed."""
    config = RlConfig()
    vlm = load_vlm(args.checkpoint)
    with TemporaryDirectory() as folder:
        asked = export(Path(folder), list(questions(Split.VALIDATION, args.queries)))
        requests: Requests = [(question, mode) for question in asked for mode in config.modes]

        def run(policy: Policy) -> tuple[float, list[Rollout]]:
            sources = SourceCache()
            began = time.perf_counter()
            made = rollout(policy, requests, sources, config.limits)
            return time.perf_counter() - began, made

        ways: dict[str, Callable[[float, int], Policy]] = {
            "ours": lambda temperature, seed: HfPolicy(vlm, temperature, seed),
            "generate": lambda temperature, seed: GeneratePolicy(vlm, temperature, seed),
        }
        greedy = [run(make(0.0, 0))[1] for make in ways.values()]
        if args.trl:
            longest = config.limits.max_turn_tokens
            ways["trl"] = lambda temperature, seed: TrlPolicy(
                vlm, temperature, longest, seed, Path(folder)
            )
        engine = None
        if args.vllm:
            engine = VllmPolicy(args.checkpoint, VLLM, temperature=config.temperature)
            ways["vllm"] = lambda _, seed: forgetful(engine, seed)
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        made: dict[str, list[Rollout]] = {}
        for turn in range(args.rounds):
            for name, make in ways.items():
                taken, made[name] = run(make(config.temperature, turn))
                seconds[name].append(taken)
                console.print(f"round {turn + 1}: {name} {taken:.2f} s")
        hit_rates = None
        if engine is not None:
            hit_rates = engine.hit_rates()
            engine.close()
        with phases() as parts:
            whole, _ = run(ways["ours"](config.temperature, 0))
    parts["the rest: loop, texts, images"] = whole - sum(parts.values())
    speedups = {
        name: [b / a for a, b in zip(seconds["ours"], values, strict=True)]
        for name, values in seconds.items()
        if name != "ours"
    }
    return {
        "model": describe(vlm),
        "rollouts": len(requests),
        "seconds": {name: median(values) for name, values in seconds.items()},
        "rollouts_per_second": {n: len(requests) / median(v) for n, v in seconds.items()},
        "sampled_tokens": {n: sum(r.sampled_tokens for r in v) for n, v in made.items()},
        "speedups": {name: median(values) for name, values in speedups.items()},
        "speedup_ranges": {name: [min(v), max(v)] for name, v in speedups.items()},
        "same_greedy_rollouts": same_share(*greedy),
        "vllm_hit_rates": hit_rates,
        "phases": dict(parts.most_common()),
        "threads": torch.get_num_threads(),
    }


def print_tables(found: dict[str, Any], console: Console) -> None:
    """Print what people read."""
    table = Table(title=f"{found['rollouts']} rollouts of {found['model']}")
    for title in ("", "seconds", "rollouts/s", "tokens"):
        table.add_column(title, justify="right" if title else "left")
    for name, seconds in found["seconds"].items():
        rate, tokens = found["rollouts_per_second"][name], found["sampled_tokens"][name]
        table.add_row(name, f"{seconds:.2f}", f"{rate:.0f}", str(tokens))
    console.print(table)
    for name, ratio in found["speedups"].items():
        low, high = found["speedup_ranges"][name]
        console.print(f"ours is {ratio:.2f} times as fast as {name} ({low:.2f} to {high:.2f})")
    console.print(f"{found['same_greedy_rollouts']:.1%} of greedy rollouts are those of generate")
    for name, rate in (found["vllm_hit_rates"] or {}).items():
        console.print(f"vLLM's {name}: {rate:.1%} of what was asked was held")
    table = Table(title="where the time goes")
    for title in ("", "seconds", "share"):
        table.add_column(title, justify="right" if title else "left")
    total = sum(found["phases"].values())
    for name, seconds in found["phases"].items():
        table.add_row(name, f"{seconds:.2f}", f"{seconds / total:.0%}")
    console.print(table)


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, nargs="?", default=base_folder())
    parser.add_argument("--queries", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trl", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--vllm", action="store_true", help="measure vLLM too, if installed")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    with mistakes_in_one_line():
        found = measure(args, Console(stderr=True))
        print_tables(found, Console())
        if args.out:
            write_json(args.out, found | {"provenance": provenance()})
        print(json.dumps(found))


if __name__ == "__main__":
    main()
