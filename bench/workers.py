"""Measure what Ray workers cost and bring: bytes and seconds of a step's rollouts.

    OMP_NUM_THREADS=1 python bench/workers.py --out results/workers.json --docs docs/scale.md

Steps like those of RL, with the shipped base model on LookWorld, but without updates, which are the
same whoever makes the rollouts: weights are handed over, then all rollouts made. In this process in
one batch; in this process in the batches that a single worker is given; by one worker; by two. What
a worker's first rollout of a version takes longer than its next one is the pull of the weights. At
last weights of a stated size are published, and pulled by a worker that only copies them.

Prints tables and keeps all numbers in `--out`; `--docs` puts the tables into a page.
"""

import argparse
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from scale import table, write_block
from torch import Tensor

from lookless.cli import mistakes_in_one_line
from lookless.episode import Mode, Question, Rollout
from lookless.images import SourceCache
from lookless.lookworld.base import base_folder, load_base
from lookless.lookworld.dataset import Split, export, questions
from lookless.policies.hf import HfPolicy
from lookless.rollout import Limits
from lookless.runs import provenance, write_json
from lookless.training.collector import Collector, InProcess, OnWorkers, OwnWeights
from lookless.training.engine import Engine, EngineConfig
from lookless.training.rl_config import RlConfig
from lookless.workers import PolicySpec, Request, Synchronised, Workers, WorkerSettings

BLOCK = "workers"
TIMES = {
    "synchronise_s": "weights handed over, s",
    "pull_s": "pulled, s",
    "rollouts_s": "rollouts, s",
}
SENT = ("weights_bytes", "requests_bytes", "rollouts_bytes")


class InBatches(InProcess):
    """Makes rollouts in the batches that a single worker is given: half of what is left."""

    def __init__(self, collector: Collector, rollouts: int) -> None:
        """Ask a collector, for so many rollouts a question."""
        self.collector = collector
        self.rollouts = rollouts

    def synchronise(self, engine: Engine) -> None:
        """Hand on the engine's weights."""
        self.collector.synchronise(engine)

    def collect(self, requests: Sequence[Request], seed: str) -> list[Rollout]:
        """Return one rollout for each request, in order."""
        made: list[Rollout] = []
        while len(made) < len(requests):
            groups = (len(requests) - len(made)) // self.rollouts
            end = len(made) + -(-groups // 2) * self.rollouts
            made += self.collector.collect(requests[len(made) : end], seed)
        return made


class Copying(HfPolicy):
    """A policy that copies the weights that it is given, and keeps its own."""

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Copy each of them, and forget the copy."""
        for _, weight in weights:
            weight.clone()


def copying() -> Synchronised:
    """Return a policy that only copies weights."""
    return Copying(load_base())


@contextmanager
def started(build: Callable[[], Synchronised], count: int) -> Iterator[Workers]:
    """Give new workers."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    with Workers.start(build, WorkerSettings(count=count), name) as workers:
        yield workers


def take_steps(
    collector: Collector, engine: Engine, steps: Sequence[Sequence[Request]], workers: int = 0
) -> tuple[list[dict[str, Any]], list[Rollout]]:
    """Return what each step but the first took and sent, and the last one's rollouts."""
    taken: list[dict[str, Any]] = []
    rollouts: list[Rollout] = []
    for number, requests in enumerate(steps):
        began = time.perf_counter()
        collector.synchronise(engine)
        step: dict[str, Any] = {"synchronise_s": time.perf_counter() - began}
        if isinstance(collector, OnWorkers):
            sent = collector.workers.traffic()
            step["pull_s"] = pull_s(collector.workers, collector.version, requests, workers)
            probed = collector.workers.traffic()
        began = time.perf_counter()
        rollouts = collector.collect(requests, str(number))
        step["rollouts_s"] = time.perf_counter() - began
        step["tokens"] = sum(len(r.token_ids) for r in rollouts)
        if isinstance(collector, OnWorkers):
            step |= asdict(collector.workers.traffic()) | {"weights_bytes": sent.weights_bytes}
            step["restarts"] += sent.restarts + probed.restarts
        taken.append(step)
    return taken[1:], rollouts


def pull_s(workers: Workers, version: int, requests: Sequence[Request], count: int) -> float:
    """Return the seconds in which all workers pull a version that none has yet."""
    asked = list({question.id: (question, mode) for question, mode in requests}.values())
    seconds = []
    for turn in range(3):  # a token from each worker: after the pull, and then without
        groups = [[one] for one in asked[turn * count : (turn + 1) * count]]
        began = time.perf_counter()
        workers.roll_out(groups, Limits(max_turn_tokens=1), 0, version)
        seconds.append(time.perf_counter() - began)
    return seconds[0] - min(seconds[1:])


def throughput(asked: Sequence[Question], size: int, times: int) -> dict[str, Any]:
    """Return how fast weights of `size` bytes are published, and pulled by one worker."""
    part = torch.ones(2**24)
    weights = [(str(k), part.clone()) for k in range(-(-size // part.nbytes))]
    requests = [(question, Mode.ADAPTIVE) for question in asked]
    published, pulled = [], []
    with started(copying, 1) as workers:
        for version in range(times + 1):
            began = time.perf_counter()
            workers.publish(version + 1, weights)
            published.append(time.perf_counter() - began)
            pulled.append(pull_s(workers, version + 1, requests, 1))
    sent = len(weights) * part.nbytes
    return {
        "bytes": sent,
        "publish_bytes_per_s": [round(sent / s) for s in published[1:]],
        "pull_bytes_per_s": [round(sent / s) for s in pulled[1:]],
    }


def measure(count: int, queries: int, size: int) -> dict[str, Any]:
    """Return the traffic and the seconds of so many steps, in all ways to make rollouts."""
    load = os.getloadavg()[0]
    config = RlConfig(queries=queries, temperature=1.0)
    with TemporaryDirectory() as name:
        worlds = list(questions(Split.TRAIN, queries * (count + 1)))
        asked = export(Path(name), worlds)
        parts = [asked[k : k + queries] for k in range(0, len(asked), queries)]
        steps = [[(question, mode) for question in p for mode in config.modes] for p in parts]
        engine = Engine(load_base(), EngineConfig())
        own = OwnWeights(HfPolicy(load_base(), 1.0), SourceCache(), config.limits)
        ways: dict[str, list[dict[str, Any]]] = {}
        ways["in process"], reference = take_steps(own, engine, steps)
        batches = InBatches(own, len(config.modes))
        ways["in process, batches of 1 worker"], _ = take_steps(batches, engine, steps)
        for number in (1, 2):
            spec = PolicySpec(base_folder(), temperature=1.0)
            with started(spec.build, number) as workers:
                collector = OnWorkers(workers, config.limits)
                way = f"{number} worker{'s'[: number - 1]}"
                ways[way], rollouts = take_steps(collector, engine, steps, number)
        moved = throughput(asked, size, 3)
    pairs = zip(reference, rollouts, strict=True)
    return {
        "load_before": round(load, 2),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "queries": queries,
        "rollouts": len(reference),
        "same_tokens": sum(a.token_ids == b.token_ids for a, b in pairs),
        "parameters": sum(p.numel() for p in engine.vlm.model.parameters()),
        "ways": ways,
        "throughput": moved,
    }


def tables(found: dict[str, Any]) -> str:
    """Return the tables of docs/scale.md."""
    ways, rollouts = found["ways"], found["rollouts"]
    base = median(step["rollouts_s"] for step in ways["in process"])
    rows = []
    for way, steps in ways.items():
        cells = [spread([s[name] for s in steps]) if name in steps[0] else "" for name in TIMES]
        rows.append([way, *cells, f"{median(s['rollouts_s'] for s in steps) / base:.2f}"])
    seconds = table(["rollouts", *TIMES.values(), "of in process"], rows)
    steps = ways["2 workers"]
    each = {name: [step[name] for step in steps] for name in ("tokens", *SENT)}
    a_token = [b / t for b, t in zip(each["rollouts_bytes"], each["tokens"], strict=True)]
    weights, asked, made = (median(each[name]) for name in SENT)
    moved = found["throughput"]
    rates = [median(moved[f"{name}_bytes_per_s"]) / 1e9 for name in ("publish", "pull")]
    restarts = sum(step.get("restarts", 0) for way in ways.values() for step in way)
    return "\n\n".join(
        [
            f"Medians of {len(steps)} steps (least - most) of {found['queries']} queries, "
            f"{rollouts} rollouts and {median(each['tokens']):,.0f} tokens, "
            f"{found['parameters'] / 1e6:.2f} M parameters; {found['cpus']} CPU cores, "
            f"{found['threads']} thread a process, load before {found['load_before']}. "
            f"Restarts: {restarts}. Rollouts with the very tokens of those made in process: "
            f"{found['same_tokens']} of {rollouts}.",
            seconds,
            f"Sent a step: weights {weights:,.0f} bytes, requests {asked:,.0f} "
            f"({asked / rollouts:,.0f} a rollout), rollouts {made:,.0f} "
            f"({made / rollouts:,.0f} a rollout, {median(a_token):.1f} a token). "
            f"{moved['bytes'] / 2**30:.2g} GiB of weights were published at {rates[0]:.1f} GB/s "
            f"and pulled at {rates[1]:.1f} GB/s, within the machine.",
        ]
    )


def spread(values: Sequence[float]) -> str:
    """Return `median (least - most)`."""
    return f"{median(values):.2g} ({min(values):.2g} - {max(values):.2g})"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--queries", type=int, default=12, help="a step, at least 6")
    parser.add_argument("--gib", type=float, default=1.0, help="of weights to publish at last")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--docs", type=Path)
    args = parser.parse_args()
    found = measure(args.steps, max(args.queries, 6), round(args.gib * 2**30)) | provenance()
    found["versions"]["ray"] = metadata.version("ray")
    if args.out:
        write_json(args.out, found)
    print(tables(found))
    if args.docs:
        write_block(args.docs, BLOCK, tables(found))


if __name__ == "__main__":
    with mistakes_in_one_line():
        main()
