"""Put the demo's results of several seeds into one table.

    lookless demo --out runs/seed-0 --seed 0 --compare      (and so on for each seed)
    python bench/seeds.py runs/seed-0 runs/seed-1 runs/seed-2 --out results/lookworld.json

Prints means over seeds with their range as Markdown; `--out` keeps every number of every seed.
"""

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any

COLUMNS = (
    "accuracy",
    "look_rate",
    "looks_per_sample",
    "visual_tokens_per_sample",
    "seconds_per_sample",
)


def spread(values: list[float], percent: bool) -> str:
    """Return `mean (lowest - highest)`."""
    scale, form = (100, "{:.1f}") if percent else (1, "{:.3g}")
    low, middle, high = (form.format(scale * v) for v in (min(values), mean(values), max(values)))
    return f"{middle} ({low} - {high})"


def table(parts: list[dict[str, Any]]) -> str:
    """Return one split's table over the seeds; each part has `policies` and `oracle_look_rate`."""
    names = [name for name in parts[0]["policies"] if all(name in p["policies"] for p in parts)]
    lines = [
        "| policy | accuracy % | look rate % | looks | visual tokens | s/sample | MCC |",
        "|" + " --- |" * 7,
    ]
    for name in names:
        rows = [part["policies"][name] for part in parts]
        cells = [spread([row[c] for row in rows], c in COLUMNS[:2]) for c in COLUMNS]
        cells.append(spread([row["necessity"]["mcc"] for row in rows], percent=False))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    oracle = spread([part["oracle_look_rate"] for part in parts], percent=True)
    return "\n".join([f"n = {parts[0]['n']} questions a seed; {oracle} % need a look", "", *lines])


def main() -> None:
    """Print both splits' tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    results = [json.loads((run / "results.json").read_text()) for run in args.runs]
    print(
        f"### Test\n\n{table(results)}\n\n"
        f"### Shifted test\n\n{table([r['shifted'] for r in results])}"
    )
    if args.out:
        heads = [json.loads((run / "config.json").read_text()) for run in args.runs]
        kept = {
            "command": heads[0]["argv"],
            "revision": [head["revision"] for head in heads],
            "machine": heads[0]["machine"],
            "versions": heads[0]["versions"],
            "results": results,
        }
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
