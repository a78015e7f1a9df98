r"""Put the demo's results of several seeds into tables.

    lookless demo --out runs/seed-0 --seed 0 --compare      (and so on for each seed)
    python bench/seeds.py runs/seed-0 runs/seed-1 runs/seed-2 --out results/lookworld.json \
        --figure docs/images/look-rate.svg

Prints means over seeds with their range as Markdown: both test splits, how noisy necessity was
during training, and how the look rate of each detail size developed. `--out` keeps every number of
every seed, `--figure` draws the look rates.
"""

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any

from lookless.cli import mistakes_in_one_line
from lookless.demo import finished
from lookless.lookworld.questions import LEGIBLE_PX
from lookless.report.plots import RAMP, SERIES, Line, curves_svg
from lookless.runs import read_jsonl
from lookless.statistics.intervals import cluster_interval
from lookless.training.rl_metrics import SIZE_BINS_PX

COLUMNS = (
    "accuracy",
    "look_rate",
    "looks_per_sample",
    "visual_tokens_per_sample",
    "seconds_per_sample",
)
KEPT = ("step", "accuracy/", "look_rate/", "necessity/")
"""Starts of the names of the training metrics that `--out` keeps."""
COLOURS = (
    "svg{background:#ffffff;font-family:sans-serif;--paper:#ffffff;--ink:#1c2127;--muted:#59636e;"
    "--grid:#d9dee4;--s1:#2563b8;--s2:#c2570c;"
    "--r1:#4f9e3c;--r2:#12908f;--r3:#2a75c9;--r4:#5546b8;--r5:#8a2a9e}"
)
"""The report's light colours, which a figure outside a report has to bring along."""


def relative(argv: list[str]) -> list[str]:
    """Return a command line without the folders of the machine that it ran on."""
    return [Path(word).name if Path(word).is_absolute() else word for word in argv]


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


def short_table(parts: list[dict[str, Any]]) -> str:
    """Return the README's table: means over the seeds."""
    lines = [
        "| policy | accuracy % | look rate % | visual tokens | MCC of the decision |",
        "|" + " --- |" * 5,
    ]
    for name in parts[0]["policies"]:
        rows = [part["policies"][name] for part in parts]
        cells = [
            f"{100 * mean(row['accuracy'] for row in rows):.1f}",
            f"{100 * mean(row['look_rate'] for row in rows):.1f}",
            f"{mean(row['visual_tokens_per_sample'] for row in rows):.0f}",
            f"{round(mean(row['necessity']['mcc'] for row in rows), 2) + 0.0:.2f}",
        ]
        bold = "**" if name == "rgrl" else ""
        lines.append("| " + " | ".join(f"{bold}{cell}{bold}" for cell in (name, *cells)) + " |")
    return "\n".join(lines)


def headline(parts: list[dict[str, Any]], runs: list[Path]) -> str:
    """Return how accuracy and looks of rgrl compare with every other policy that looks.

    The interval is of the mean difference over all questions of all seeds, images resampled.
    """
    names = [name for name in parts[0]["policies"] if name not in ("never", "rgrl")]
    lines = [
        "| rgrl against | accuracy, points | 95 % interval | each seed | looks |",
        "|" + " --- |" * 5,
    ]
    for name in names:
        pairs = [(part["policies"]["rgrl"], part["policies"][name]) for part in parts]
        gain = [ours["accuracy"] - other["accuracy"] for ours, other in pairs]
        looks = [
            ours["looks_per_sample"] / other["looks_per_sample"] - 1
            for ours, other in pairs
            if other["looks_per_sample"]
        ]
        few = f"{100 * mean(looks):+.1f} %" if looks else "-"
        low, high = gain_interval(
            [(run / "eval" / "rgrl.jsonl", run / "eval" / f"{name}.jsonl") for run in runs]
        )
        each = ", ".join(f"{100 * one:+.1f}" for one in gain)
        lines.append(
            f"| {name} | {100 * mean(gain):+.1f} | {100 * low:+.1f} to {100 * high:+.1f} "
            f"| {each} | {few} |"
        )
    return "\n".join(lines)


def gain_interval(pairs: list[tuple[Path, Path]]) -> tuple[float, float]:
    """Return the interval of one policy's accuracy minus another's, paired by question.

    Args:
        pairs: The records of the one and of the other, for each seed.
    """
    values: list[float] = []
    images: list[str] = []
    for one, other in pairs:
        ours, theirs = (
            {row["question"]["id"]: row for row in read_jsonl(file)} for file in (one, other)
        )
        for key, row in ours.items():
            values.append((row["grade"] or 0.0) - (theirs[key]["grade"] or 0.0))
            images.append(f"{one} {row['question']['image']}")
    return cluster_interval(values, images)


def curve(seeds: list[list[dict[str, Any]]], name: str) -> list[float | None]:
    """Return a metric's mean over the seeds, step by step; None where no seed measured it."""
    steps = []
    for rows in zip(*seeds, strict=True):
        values = [row[name] for row in rows if name in row]
        steps.append(mean(values) if values else None)
    return steps


def over(values: list[float | None]) -> str:
    """Return the mean of what was measured as a percentage."""
    known = [v for v in values if v is not None]
    return f"{100 * mean(known):.1f}" if known else "-"


def noise_table(seeds: list[list[dict[str, Any]]]) -> str:
    """Return how often necessity was wrong against the truth, in thirds of the training."""
    third = -(-len(seeds[0]) // 3)
    lines = [
        "| necessity | wrong % of decided, first third | second | last | all steps | undecided % |",
        "|" + " --- |" * 6,
    ]
    for name in ("strict", "posterior"):
        wrong = curve(seeds, f"necessity/{name}/wrong")
        parts = [over(wrong[start : start + third]) for start in range(0, len(wrong), third)]
        abstained = over(curve(seeds, f"necessity/{name}/abstained"))
        lines.append(f"| {name} | {' | '.join([*parts, over(wrong), abstained])} |")
    return "\n".join(lines)


def size_names() -> dict[str, str]:
    """Return the metric of each bin of detail size and what to call it."""
    return {
        f"look_rate/size/{low:g}": f"from {low:g} px" if low else f"under {SIZE_BINS_PX[1]:g} px"
        for low in SIZE_BINS_PX[:-1]
        if low != LEGIBLE_PX  # the splits have no details from there to the next edge
    }


def size_table(seeds: list[list[dict[str, Any]]]) -> str:
    """Return the look rate of adaptive rollouts by detail size in five stretches of training."""
    fifth = -(-len(seeds[0]) // 5)
    starts = range(0, len(seeds[0]), fifth)
    heads = [f"steps {start + 1}-{min(start + fifth, len(seeds[0]))}" for start in starts]
    lines = [f"| detail | {' | '.join(heads)} |", "|" + " --- |" * (len(heads) + 1)]
    for metric, name in size_names().items():
        rates = curve(seeds, metric)
        parts = [over(rates[start : start + fifth]) for start in starts]
        lines.append(f"| {name} | {' | '.join(parts)} |")
    return "\n".join(lines)


def figure(seeds: list[list[dict[str, Any]]]) -> str:
    """Return the look rates by detail size as SVG."""
    lines = [
        Line(name, curve(seeds, metric), colour)
        for (metric, name), colour in zip(size_names().items(), (SERIES[1], *RAMP), strict=False)
    ]
    steps = [row["step"] for row in seeds[0]]
    alt = "Look rate during RL by detail size: near 1 where illegible, falling where legible"
    drawn = curves_svg("looks", alt, steps, lines, is_share=True, top=1.0)
    return drawn.replace(">", f"><style>{COLOURS}</style>", 1)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    results = [finished(run) for run in args.runs]
    heads = [json.loads((run / "config.json").read_text()) for run in args.runs]
    for head in heads:
        if any(head[k] != heads[0][k] for k in ("revision", "versions")) or (
            head["config"] | {"seed": 0} != heads[0]["config"] | {"seed": 0}
        ):
            parser.error("the runs differ in more than their seed: config, revision or versions")
    seeds = [list(read_jsonl(run / "rgrl" / "metrics.jsonl")) for run in args.runs]
    for title, text in (
        ("For the README", short_table(results)),
        ("Test", table(results)),
        ("Test, rgrl against the others", headline(results, args.runs)),
        ("Shifted test", table([r["shifted"] for r in results])),
        ("Necessity against the truth, during training", noise_table(seeds)),
        ("Look rate % of adaptive rollouts by size of the detail", size_table(seeds)),
    ):
        print(f"### {title}\n\n{text}\n")
    if args.figure:
        args.figure.write_text(figure(seeds))
    if args.out:
        kept = {
            "commands": [relative(head["argv"]) for head in heads],
            "machines": [head["machine"] for head in heads],
            "revision": heads[0]["revision"],
            "versions": heads[0]["versions"],
            "config": heads[0]["config"],
            "results": results,
            "training": [
                [{k: v for k, v in row.items() if k.startswith(KEPT)} for row in rows]
                for rows in seeds
            ],
        }
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    with mistakes_in_one_line():
        main()
