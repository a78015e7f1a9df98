"""Measure what can be read without looking and with a look, by size of the detail.

    python bench/legibility.py CHECKPOINT --out results/legibility.json

Asks LookWorld's graded split (details of every size) and the validation split (the sizes that
questions are made of) in all three modes. The last line is one JSON object.
"""

import argparse
import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

from lookless.cli import mistakes_in_one_line
from lookless.episode import TRAINED_MODES
from lookless.evaluation.answered import Answered
from lookless.evaluation.evaluate import evaluate
from lookless.grading.exact import boxed_exact
from lookless.images import SourceCache
from lookless.lookworld.dataset import Split, export, questions
from lookless.policies.hf import HfPolicy
from lookless.rollout import Limits
from lookless.runs import provenance
from lookless.statistics.intervals import wilson_interval
from lookless.vlm import load_vlm

EDGES_PX = (1.5, 2.6, 3.2, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 13.0, 16.0, 20.0, 32.0)
"""Edges of the size bins in overview pixels; small details are 1.9 to 2.6, large ones from 13."""


def row(part: list[Answered]) -> dict[str, Any]:
    """Return n, accuracy with interval, chance, and look rate of a set of answers."""
    right = sum(a.grade or 0.0 for a in part)
    low, high = wilson_interval(right, len(part))
    chance = sum(1 / a.question.choices for a in part) / max(len(part), 1)
    return {
        "n": len(part),
        "accuracy": round(right / max(len(part), 1), 4),
        "ci": [round(low, 4), round(high, 4)],
        "chance": round(chance, 4),
        "look_rate": round(sum(a.rollout.is_used for a in part) / max(len(part), 1), 4),
    }


def main() -> None:
    """Print a table for each mode and split, then the JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--questions", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    policy = HfPolicy(load_vlm(args.checkpoint), temperature=0)
    result: dict[str, Any] = {"seed": args.seed} | provenance()
    with tempfile.TemporaryDirectory() as folder:
        for split in (Split.GRADED, Split.VALIDATION):
            asked = export(Path(folder) / split, list(questions(split, args.questions, args.seed)))
            for mode in TRAINED_MODES:
                limits = Limits(max_turn_tokens=72)
                answered = evaluate(policy, asked, mode, SourceCache(), limits, boxed_exact)
                detail = [a for a in answered if a.question.kind != "overview"]
                table: dict[str, Any] = {"all": row(answered)}
                if whole := [a for a in answered if a.question.kind == "overview"]:
                    table["overview"] = row(whole)
                for low, high in itertools.pairwise(EDGES_PX):
                    part = [a for a in detail if low <= (a.question.detail_px or 0) < high]
                    if part:
                        table[f"{low:g}-{high:g} px"] = row(part)
                for need in (False, True):
                    for kind in sorted({a.question.kind for a in detail}):
                        part = [
                            a
                            for a in detail
                            if a.question.kind == kind and a.question.needs_look is need
                        ]
                        if part and split is Split.VALIDATION:
                            table[f"{kind}, {'small' if need else 'large'}"] = row(part)
                result[f"{split}/{mode}"] = table
                print(f"\n{split}, {mode}")
                for name, r in table.items():
                    print(
                        f"  {name:16} n {r['n']:5}  accuracy {r['accuracy']:.3f}"
                        f"  chance {r['chance']:.3f}  look rate {r['look_rate']:.3f}"
                    )
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    with mistakes_in_one_line():
        main()
