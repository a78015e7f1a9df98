"""Measure an RL update of one query's rollouts: prefix once, each by itself, and by TRL.

    OMP_NUM_THREADS=2 python bench/update.py --out results/update.json
    OMP_NUM_THREADS=2 python bench/update.py --prefix-tokens 4096 --visual-tokens 2304

An untrained model of the Qwen3-VL architecture, the same weights and the same rollouts for all:
they share system text, image and question, and half of them look at a crop of their own. Timed are
loss and backward, images included, one way after the other in each round:

  ours      what rollouts begin alike with goes through the model once, each picture too
  alone     each rollout by itself, with its own pictures: what gradients are checked against
  batched   rollouts as padded rows, as many as fit into `--batch-tokens`, whose pictures are
            encoded once a batch: `share_prefixes = false`
  trl       TRL's GRPOTrainer (pip install "lookless[bench]"), `--trl-rows` rollouts at once

Prints a table and, last, one JSON object, in which plain is the faster one of alone and batched.
The limit is what the FLOPs say that go into matrices and into pairs of tokens that see each other.
"""

import argparse
import ctypes
import gc
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from scale_counts import Architecture, pairs
from torch import Tensor
from trl_peer import TrlUpdate

from lookless.chat import tiny
from lookless.cli import mistakes_in_one_line
from lookless.episode import Mode, Question, Rollout, StopReason
from lookless.errors import ConfigError
from lookless.frames import Box, Frame
from lookless.images import Source, SourceCache
from lookless.lookworld.tokenizer import train_tokenizer
from lookless.losses import clipped_policy_loss
from lookless.runs import provenance, write_json
from lookless.training.engine import Engine, EngineConfig
from lookless.training.replay import features_of
from lookless.training.rl import spare_rollout
from lookless.vlm import VLM, FeatureCache, Segment
from lookless.vlm.forest import Forest, grow
from lookless.vlm.fresh import Size, describe, fresh_vlm

FACTOR = 32
"""Pixels of a side of a visual token."""
MODES = (Mode.FORCED,) * 4 + (Mode.PROHIBITED,) * 4 + (Mode.ADAPTIVE,) * 8


@dataclass(frozen=True)
class Batch:
    """One query's rollouts, and what they are worth."""

    rollouts: list[Rollout]
    sources: list[Source]
    advantages: list[float]
    prefix_tokens: int
    spare: tuple[Rollout, Source]

    @property
    def total(self) -> int:
        """Return the number of sampled tokens."""
        return sum(r.sampled_tokens for r in self.rollouts)


def fresh_model(args: argparse.Namespace) -> VLM:
    """Return an untrained model that is shown pictures of the stated sizes."""
    tokenizer = train_tokenizer()
    tokenizer.chat_template = tiny.TEMPLATE
    size = Size(
        hidden=args.hidden,
        layers=args.layers,
        vision_hidden=args.vision_hidden,
        vision_layers=args.vision_layers,
        min_pixels=args.crop_tokens * FACTOR**2,
        max_pixels=args.visual_tokens * FACTOR**2,
    )
    vlm = fresh_vlm("qwen3_vl", tokenizer, size, args.seed)
    vlm.chat = replace(vlm.chat, wording=tiny.WORDING)
    # TRL lets image pads be sampled: without their ban the gradients must be the same.
    vlm._bans[vlm.device] = torch.zeros(vlm.vocabulary)
    return vlm


def batch_of(vlm: VLM, args: argparse.Namespace, folder: Path) -> Batch:
    """Return rollouts of the stated lengths that say words at random.

    Raises:
        ConfigError: If text does not fit into the stated lengths.
    """
    rng, chat = np.random.default_rng(args.seed), vlm.chat
    side = round(args.visual_tokens**0.5) * FACTOR
    file = folder / "noise.png"
    Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(file)
    sources = SourceCache()
    source = sources.get(file)
    view = source.full_view(chat.budget)
    words = chat.encode(" the red blue sign is left of right above")

    def talk(count: int) -> list[int]:
        if count < 1:
            raise ConfigError(
                f"lengths must leave room for words, got {count} too few; raise --prefix-tokens or "
                "--tail-tokens, or lower --visual-tokens or --crop-tokens"
            )
        said: list[int] = rng.choice(words, count).tolist()
        return said

    empty, _ = chat.prompt(view, "", Mode.FORCED)
    question = Question("q", file, chat.decode(talk(args.prefix_tokens - len(empty))), "yes")
    rollouts, prefix = [], []
    for k in range(args.rollouts):
        mode = MODES[k * len(MODES) // args.rollouts]
        prefix, rest = chat.prompt(view, question.text, mode)
        views, seen = [view], []
        if k % 2 == 0:
            x, y = rng.uniform(0, 0.8 * side, 2).tolist()
            box = Box(x, y, x + 0.2 * side, y + 0.2 * side, Frame.SOURCE)
            views.append(source.view(box, chat.budget))
            seen = chat.observation(views[-1])
        own = args.tail_tokens - len(rest) - len(seen)
        first = talk(own // 2 if seen else own)
        second = talk(own - len(first)) if seen else []
        parts = [(prefix, False), (rest, False), (first, True), (seen, False), (second, True)]
        rollouts.append(
            Rollout(
                question_id="q",
                mode=mode,
                token_ids=tuple(token for part, _ in parts for token in part),
                is_sampled=tuple(own for part, own in parts for _ in part),
                logprobs=tuple(-1.0 if own else 0.0 for part, own in parts for _ in part),
                views=tuple(views),
                looks=(),
                turns=(),
                answer=None,
                stop=StopReason.NO_ANSWER,
                visual_tokens=sum(chat.visual_tokens(view) for view in views),
            )
        )
    spare = spare_rollout(vlm.chat, question, sources)
    advantages = rng.normal(size=len(rollouts)).tolist()
    return Batch(rollouts, [source] * len(rollouts), advantages, len(prefix), spare)


def update(vlm: VLM, batch: Batch, config: EngineConfig) -> Callable[[], None]:
    """Return what adds the gradients of a batch to the model's."""
    engine = Engine(vlm, config)

    def loss(rows: list[int], part: list[Rollout], seen: list[Source]) -> Tensor:
        replayed = engine.replay(part, seen)
        new_BT = replayed.logprobs_BT
        advantages_B1 = torch.tensor([[batch.advantages[k]] for k in rows])
        found, _ = clipped_policy_loss(
            new_BT,
            new_BT.detach(),
            advantages_B1.expand_as(new_BT),
            replayed.mask_BT,
            denominator=batch.total,
        )
        return found

    def run() -> None:
        if engine.replay.cache is not None:
            engine.replay.cache = FeatureCache(vlm)  # every update meets its pictures first
        engine.backward(batch.rollouts, batch.sources, batch.spare, loss)

    return run


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """Give the most MB that the process holds meanwhile beyond what it held before."""

    def held() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * 4096 / 2**20

    def watch() -> None:
        while not done.wait(0.005):
            most[0] = max(most[0], held() - before)

    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before, most, done = held(), [0.0], threading.Event()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield most
    finally:
        done.set()
        watcher.join()


def gradients(vlm: VLM) -> dict[str, Tensor]:
    """Return the gradients, and start anew."""
    found = {n: p.grad.clone() for n, p in vlm.model.named_parameters() if p.grad is not None}
    vlm.model.zero_grad(set_to_none=True)
    return found


def relative_error(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Return the largest error of a parameter's gradient, relative to its norm."""
    assert found.keys() == expected.keys()
    scale = max(float(grad.norm()) for grad in expected.values())
    return max(
        float((found[name] - grad).norm() / max(float(grad.norm()), 1e-6 * scale))
        for name, grad in expected.items()
    )


def flops(vlm: VLM, batch: Batch, *, train_vision: bool) -> tuple[float, float]:
    """Return those of forward and backward that ours and plain cannot do without."""
    model = Architecture.of(vlm.model.config)
    passes = 3 if train_vision else 1
    views = [view for r in batch.rollouts for view in r.views]

    def vision(views: list[Any]) -> float:
        return sum(passes * model.vision_flops(vlm.chat.visual_tokens(view)) for view in views)

    lengths = [len(r.token_ids) for r in batch.rollouts]
    plain = model.text_flops(sum(lengths), sum(pairs(0, n) for n in lengths), batch.total)
    forest = packed(vlm, batch)
    ends: list[int] = []
    attended = 0.0
    for node in forest.nodes:
        past = 0 if node.parent is None else ends[node.parent]
        new = node.span.end - node.span.start
        attended += pairs(past, new)
        ends.append(past + new)
    ours = model.text_flops(len(forest), attended, batch.total)
    return 3 * ours + vision(list(dict.fromkeys(views))), 3 * plain + vision(views)


def packed(vlm: VLM, batch: Batch) -> Forest:
    """Return a batch as ours goes through it."""
    features = features_of(vlm, FeatureCache(vlm), batch.rollouts, batch.sources)
    rows = [Segment(r.token_ids, f) for r, f in zip(batch.rollouts, features, strict=True)]
    return grow(rows, vlm.chat.image_pad_id)


def measure(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Return all that is printed."""
    with TemporaryDirectory() as folder:
        vlm = fresh_model(args)
        batch = batch_of(vlm, args, Path(folder))
        settings = {"train_vision": args.train_vision, "checkpointing": args.checkpointing}
        ways = {
            "ours": update(vlm, batch, EngineConfig(**settings, micro_batch_tokens=10**9)),
            "alone": update(
                vlm, batch, EngineConfig(**settings, share_prefixes=False, micro_batch_tokens=1)
            ),
            "batched": update(
                vlm,
                batch,
                EngineConfig(
                    **settings, share_prefixes=False, micro_batch_tokens=args.batch_tokens
                ),
            ),
        }
        if args.trl:
            ways["trl"] = TrlUpdate(vlm, batch, args.trl_rows, Path(folder)).backward
        vlm.model.train()
        peaks: dict[str, float] = {}
        grads: dict[str, dict[str, Tensor]] = {}
        for name, way in ways.items():  # not timed: memory that is new is slow
            console.print(f"memory and gradients: {name}")
            with peak_memory() as peak:
                way()
            peaks[name] = peak[0]
            grads[name] = gradients(vlm)
        errors = {name: relative_error(own, grads["alone"]) for name, own in grads.items()}
        del grads
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(args.rounds):
            for name, way in ways.items():
                began = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - began)
                vlm.model.zero_grad(set_to_none=True)
                console.print(f"round {turn + 1}: {name} {seconds[name][-1]:.2f} s")
        needed, plain = flops(vlm, batch, train_vision=args.train_vision)
        tokens = len(packed(vlm, batch))
    return {
        "model": describe(vlm),
        "batch": batch,
        "visual_tokens": vlm.chat.visual_tokens(batch.rollouts[0].views[0]),
        "packed_tokens": tokens,
        "seconds": seconds,
        "peaks": peaks,
        "errors": errors,
        "flops": {name: needed if name == "ours" else plain for name in ways},
    }


def summary(found: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """Return the JSON object."""
    seconds, batch = found["seconds"], found["batch"]
    middle = {name: median(values) for name, values in seconds.items()}
    plain = min(("alone", "batched"), key=middle.__getitem__)
    ratio = middle[plain] / middle["ours"]
    limit = found["flops"][plain] / found["flops"]["ours"]
    trl = middle.get("trl")
    spread = {
        name: [round(value / ours, 3) for value, ours in zip(values, seconds["ours"], strict=True)]
        for name, values in seconds.items()
    }
    return {
        "prefix_tokens": batch.prefix_tokens,
        "visual_tokens": found["visual_tokens"],
        "tail_tokens": len(batch.rollouts[0].token_ids) - batch.prefix_tokens,
        "rollouts": len(batch.rollouts),
        "seconds_ours": middle["ours"],
        "seconds_plain": middle[plain],
        "seconds_trl": trl,
        "speedup_vs_plain": ratio,
        "speedup_vs_trl": trl and trl / middle["ours"],
        "flop_limit": limit,
        "fraction_of_limit": middle["alone"] / middle["ours"] / limit,
        "max_relative_gradient_error": found["errors"]["ours"],
        "peak_mb_ours": found["peaks"]["ours"],
        "peak_mb_plain": found["peaks"][plain],
        "plain": plain,
        "speedup_vs_alone": middle["alone"] / middle["ours"],
        "speedups_by_round": spread,
        "packed_tokens": found["packed_tokens"],
        "sampled_tokens": batch.total,
        "gradient_errors": found["errors"],
        "peak_mb": found["peaks"],
        "gflop": {name: value / 1e9 for name, value in found["flops"].items()},
        "gflops_per_second": {n: found["flops"][n] / 1e9 / s for n, s in middle.items()},
        "model": found["model"],
        "threads": torch.get_num_threads(),
    }


def table_of(found: dict[str, Any]) -> Table:
    """Return what people read."""
    table = Table(title=f"{found['model']}: {found['rollouts']} rollouts of a query")
    for title in ("", "seconds", "ours is faster by", "GFLOP", "GFLOP/s", "peak MB", "error"):
        table.add_column(title, justify="right" if title else "left")
    for name, ratios in found["speedups_by_round"].items():
        table.add_row(
            name,
            f"{found['gflop'][name] / found['gflops_per_second'][name]:.2f}",
            f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
            f"{found['gflop'][name]:.0f}",
            f"{found['gflops_per_second'][name]:.1f}",
            f"{found['peak_mb'][name]:.0f}",
            f"{found['gradient_errors'][name]:.1e}",
        )
    return table


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prefix-tokens", type=int, default=1300)
    parser.add_argument("--visual-tokens", type=int, default=1024, help="of the overview")
    parser.add_argument("--crop-tokens", type=int, default=64, help="of each crop")
    parser.add_argument("--tail-tokens", type=int, default=250)
    parser.add_argument("--rollouts", type=int, default=16)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--vision-hidden", type=int, default=128)
    parser.add_argument("--vision-layers", type=int, default=2)
    parser.add_argument("--train-vision", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--checkpointing", action="store_true", help="of all ways, TRL's too")
    parser.add_argument("--batch-tokens", type=int, default=16_384)
    parser.add_argument("--trl", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--trl-rows", type=int, default=4, help="rollouts at once of TRL")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    console = Console(stderr=True)
    with mistakes_in_one_line():
        found = summary(measure(args, console), args)
        Console().print(table_of(found))
        if args.out:
            write_json(args.out, found | {"provenance": provenance()})
        print(json.dumps(found))


if __name__ == "__main__":
    main()
