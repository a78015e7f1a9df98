"""Measure rollouts per second in process: ours, and `generate` of transformers once a turn.

    OMP_NUM_THREADS=2 python bench/rollouts.py runs/demo/sft/checkpoint --out results/rollouts.json

The rollouts of an RL step of the demo, 16 of each LookWorld question, by the same loop:

  ours       one computation of each prompt's shared part and each picture, one cache for all turns;
             rows that have ended their turn step aside
  generate   `generate` with all that was said and seen so far, pictures included, once a turn

Both sample; how many of their greedy rollouts are the same is stated beside. Prints tables and,
last, one JSON object.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from rich.console import Console
from rich.table import Table

from lookless.chat.chatml import ChatML
from lookless.cli import mistakes_in_one_line
from lookless.episode import Mode, Question, Rollout
from lookless.images import SourceCache
from lookless.lookworld.base import base_folder
from lookless.lookworld.dataset import Split, export, questions
from lookless.policies import hf
from lookless.policies.hf import HfPolicy, HfSession
from lookless.policies.policy import Observation, Policy, Prompt, Sampled
from lookless.rollout import rollout
from lookless.runs import provenance, write_json
from lookless.training.rl_config import RlConfig
from lookless.vlm import VLM, FeatureCache, load_vlm
from lookless.vlm.fresh import describe

Requests = Sequence[tuple[Question, Mode]]


class GeneratePolicy:
    """Calls `generate` of transformers, once a turn, from scratch."""

    def __init__(self, vlm: VLM, temperature: float, seed: int = 0) -> None:
        """Sample from a model; temperature 0 is greedy."""
        self.vlm = vlm
        self.temperature = temperature
        torch.manual_seed(seed)

    @property
    def chat(self) -> ChatML:
        """Return the dialect it speaks."""
        return self.vlm.chat

    def start(self, prompts: Sequence[Prompt]) -> "GenerateSession":
        """Begin a batch of rollouts."""
        return GenerateSession(self, prompts)


class GenerateSession:
    """A batch of rollouts, as their tokens and pictures."""

    def __init__(self, policy: GeneratePolicy, prompts: Sequence[Prompt]) -> None:
        self.policy = policy
        self.ids = [[*prompt.prefix, *prompt.rest] for prompt in prompts]
        self.pictures = [[prompt.overview] for prompt in prompts]

    @torch.no_grad()
    def step(
        self, appended: Mapping[int, Observation | None], max_tokens: int
    ) -> dict[int, Sampled]:
        """Return the next turn of the rollouts that go on."""
        vlm, chat = self.policy.vlm, self.policy.chat
        for row, seen in appended.items():
            if seen is not None:
                self.ids[row] += seen.token_ids
                self.pictures[row] += [seen.picture] if seen.picture else []
        longest = max(len(self.ids[row]) for row in appended)
        pads = [longest - len(self.ids[row]) for row in appended]
        ids_BT = torch.tensor(
            [[chat.end_id] * n + self.ids[row] for n, row in zip(pads, appended, strict=True)]
        )
        mask_BT = torch.tensor([[0] * n + [1] * (longest - n) for n in pads])
        pixels = [picture.pixels for row in appended for picture in self.pictures[row]]
        images = vlm.processor(pixels, do_resize=False, return_tensors="pt")
        greedy = self.policy.temperature == 0
        made: Any = vlm.model.generate(  # type: ignore[operator]
            input_ids=ids_BT,
            attention_mask=mask_BT,
            mm_token_type_ids=(ids_BT == chat.image_pad_id).int(),
            **images,
            max_new_tokens=max_tokens,
            do_sample=not greedy,
            temperature=None if greedy else self.policy.temperature,
            top_k=None if greedy else 0,
            top_p=None if greedy else 1.0,
            suppress_tokens=sorted(chat.banned_ids),
            eos_token_id=chat.end_id,
            pad_token_id=chat.end_id,
            output_logits=True,
            return_dict_in_generate=True,
        )
        new_BT = made.sequences[:, longest:]
        logprobs_BTV = torch.stack(made.logits, dim=1).log_softmax(-1)
        logprobs_BT = logprobs_BTV.gather(-1, new_BT[..., None])[..., 0]
        turns = {}
        for row, new, logprobs in zip(appended, new_BT.tolist(), logprobs_BT.tolist(), strict=True):
            is_ended = chat.end_id in new
            said = new[: new.index(chat.end_id) + 1] if is_ended else new
            self.ids[row] += said
            turns[row] = Sampled(tuple(said), tuple(logprobs[: len(said)]), is_ended)
        return turns


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
        greedy = {name: run(make(0.0, 0))[1] for name, make in ways.items()}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        made: dict[str, list[Rollout]] = {}
        for turn in range(args.rounds):
            for name, make in ways.items():
                taken, made[name] = run(make(config.temperature, turn))
                seconds[name].append(taken)
                console.print(f"round {turn + 1}: {name} {taken:.2f} s")
        with phases() as parts:
            whole, _ = run(ways["ours"](config.temperature, 0))
    parts["the rest: loop, texts, images"] = whole - sum(parts.values())
    speedups = [b / a for a, b in zip(seconds["ours"], seconds["generate"], strict=True)]
    return {
        "model": describe(vlm),
        "rollouts": len(requests),
        "seconds": {name: median(values) for name, values in seconds.items()},
        "rollouts_per_second": {n: len(requests) / median(v) for n, v in seconds.items()},
        "sampled_tokens": {n: sum(r.sampled_tokens for r in v) for n, v in made.items()},
        "speedup_vs_generate": median(speedups),
        "speedup_range": [min(speedups), max(speedups)],
        "same_greedy_rollouts": same_share(greedy["ours"], greedy["generate"]),
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
    low, high = found["speedup_range"]
    console.print(
        f"ours is {found['speedup_vs_generate']:.2f} times as fast ({low:.2f} to {high:.2f}); "
        f"{found['same_greedy_rollouts']:.1%} of greedy rollouts are the same"
    )
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
