r"""Change one setting of RL at a time, from the SFT checkpoints of finished demo runs.

    python bench/ablations.py runs/seed-0 runs/seed-1 --work runs/ablations \
        --variants strict literal --out results/ablations.json

Trains each variant from each run's SFT checkpoint on that run's questions, and answers its test
greedily in adaptive, forced and prohibited mode. Prints means over the runs with their range, the
demo's own RL first, and the interval of what each gains over that, paired by question. What
`--work` holds is kept, so an interrupted command can be given again.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from seeds import gain_interval, spread

from lookless.cli import bar, mistakes_in_one_line
from lookless.demo import Data, DemoConfig, baseline, eval_stage, finished, make_data, train_rl
from lookless.episode import TRAINED_MODES, Mode
from lookless.images import SourceCache
from lookless.runs import CONFIG_FILE, open_run, provenance, read_config, read_jsonl, write_json
from lookless.training.rl_config import RlConfig

VARIANTS: dict[str, dict[str, Any]] = {
    "same": {},
    "strict": {"estimator": "strict"},
    "literal": {
        "estimator": "strict",
        "decision_weight": 0.0,
        "reward_settings": {"scale_by_gain": False},
    },
    "no-decision": {"decision_weight": 0.0},
    "unscaled": {"reward_settings": {"scale_by_gain": False}},
    "price-0.1": {"look_price": 0.1},
    "no-obedience": {"obedience": 0.0},
    "kl-0.02": {"kl_weight": 0.02},
    "normalised": {"normalise": True},
    "lr-1.5e-4": {"lr": 1.5e-4},
    "kl-0.05": {"kl_weight": 0.05},
    "longer": {"steps": 54, "lr": 2e-4},
    "sequential": {"first_pairs": 2, "adaptive": 5},
    "fixed-3-3-5": {"forced": 3, "prohibited": 3, "adaptive": 5},
    "fixed-2-2-7": {"forced": 2, "prohibited": 2, "adaptive": 7},
    "pixel-reasoner-lr-1e-4": {"reward": "pixel_reasoner", "lr": 1e-4},
    "accuracy-lr-1e-4": {"reward": "accuracy", "lr": 1e-4},
}
"""Settings that differ from the run's; `same` trains once more, at the present revision. `literal`
is the paper's form as we read it: strict need, unscaled alignment, no credit of the decision beyond
the rollout's advantage. Another reward starts from the demo's settings for its comparison.
`sequential` makes necessity rollouts as they are needed, up to 4 + 4; the fixed ones make 11 of
each query, about as many, whatever comes of them."""
DEMO = "demo"
PER_QUERY = "rollout/per_query"
NAMES = {Mode.ADAPTIVE: "rgrl", Mode.FORCED: "always", Mode.PROHIBITED: "never"}
"""What the demo calls its own RL in each mode."""


def train(run: Path, config: DemoConfig, data: Data, variant: str, work: Path) -> dict[str, Any]:
    """Return a variant's test results by mode, and how wrong its necessity was in training."""
    if variant == DEMO:
        policies = finished(run)["policies"]
        return {mode: policies[name] for mode, name in NAMES.items()} | training(run, "rgrl")
    changes = VARIANTS[variant]
    start = baseline(config.rl, changes["reward"]) if "reward" in changes else config.rl
    recipe = RlConfig(**{**start.model_dump(), **changes})
    folder = folder_of(run, variant, work)
    settings = {"run": str(run.resolve()), "seed": config.seed, "rl": recipe.model_dump()}
    open_run(folder, settings, resume=folder.exists())
    sources = SourceCache()
    train_rl(run / "sft", folder / "rl", data.rl, sources, recipe, config.engine, config.seed, bar)
    results: dict[str, Any] = {}
    for mode in TRAINED_MODES:
        file = folder / f"{mode}.jsonl"
        checkpoint = folder / "rl" / "checkpoint"
        results[mode] = eval_stage(checkpoint, file, data.test, mode, sources, config, bar)
    return results | training(folder, "rl")


def folder_of(run: Path, variant: str, work: Path) -> Path:
    """Return where a variant's training from a run's SFT is kept."""
    return work / f"{run.name}-{variant}"


def against_demo(runs: list[Path], variant: str, work: Path) -> str:
    """Return a variant's gain in adaptive accuracy over the demo's RL: `low to high` in points."""
    if variant == DEMO:
        return "-"
    pairs = [
        (folder_of(run, variant, work) / "adaptive.jsonl", run / "eval" / "rgrl.jsonl")
        for run in runs
    ]
    low, high = gain_interval(pairs)
    return f"{100 * low:+.1f} to {100 * high:+.1f}"


def training(folder: Path, stage: str) -> dict[str, Any]:
    """Return a training's revision, rollouts a query, and how often necessity was wrong in it."""
    rows = read_jsonl(folder / stage / "metrics.jsonl")
    names = [name for name in rows[0] if name.startswith("necessity/") or name == PER_QUERY]
    revision = json.loads((folder / CONFIG_FILE).read_text())["revision"]
    return {"revision": revision} | {
        name: sum(row[name] for row in rows) / len(rows) for name in names
    }


def main() -> None:
    """Train, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--work", type=Path, required=True, help="folder for the trainings")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in (DEMO, *args.variants)}
    for run in args.runs:
        config = DemoConfig(**read_config(run / CONFIG_FILE))
        data = make_data(run / "data", config, bar)
        for variant, parts in results.items():
            parts.append(train(run, config, data, variant, args.work))
    heads = ("RL", "accuracy %", "gain, 95 % interval", "look rate %", "MCC")
    heads += ("forced accuracy %", "prohibited accuracy %", "rollouts a query")
    print(f"| {' | '.join(heads)} |")
    print("|" + " --- |" * len(heads))
    for variant, parts in results.items():
        mcc = [part[Mode.ADAPTIVE]["necessity"]["mcc"] for part in parts]
        cells = [
            spread([part[Mode.ADAPTIVE]["accuracy"] for part in parts], percent=True),
            against_demo(args.runs, variant, args.work),
            spread([part[Mode.ADAPTIVE]["look_rate"] for part in parts], percent=True),
            f"{sum(mcc) / len(mcc):.2f} ({min(mcc):.2f} - {max(mcc):.2f})",
            spread([part[Mode.FORCED]["accuracy"] for part in parts], percent=True),
            spread([part[Mode.PROHIBITED]["accuracy"] for part in parts], percent=True),
            spread([part[PER_QUERY] for part in parts], percent=False),
        ]
        print(f"| {variant} | {' | '.join(cells)} |")
    if args.out:
        changes = {variant: VARIANTS[variant] for variant in args.variants}
        head = {"runs": [run.name for run in args.runs], "changes": changes} | provenance()
        args.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(args.out, head | {"results": results})


if __name__ == "__main__":
    with mistakes_in_one_line():
        main()
