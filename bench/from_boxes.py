r"""Train from plain files with boxes, and compare with the demo, which knows its scenes.

    python bench/from_boxes.py runs/seed-0 --work runs/from-boxes --out results/from_boxes.json

Takes a finished demo run's questions as a user would have them: image, question, answer, boxes,
nothing else. Then runs the commands: convert, synth boxes, sft, probe, rl, eval. Prints accuracy
and look rate of the SFT and the RL model beside the demo's own, on the same test questions, with
the interval of the difference, paired by question. What `--work` holds is kept, so that an
interrupted command can be given again.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from seeds import gain_interval

from lookless.cli import mistakes_in_one_line
from lookless.demo import finished
from lookless.runs import provenance, read_jsonl, write_json

ROOT = Path(__file__).parents[1]
FIELDS = ("id", "image", "question", "answer", "boxes")
NAMES = {"sft": "sft", "rl": "rgrl"}
"""Stages, and what the demo calls theirs."""


def plain(folder: Path, work: Path) -> Path:
    """Write what a user would have of a folder of LookWorld; return the file."""
    rows = [json.loads(line) for line in (folder / "questions.jsonl").read_text().splitlines()]
    file = work / f"{folder.name}.jsonl"
    kept = [{name: row[name] for name in FIELDS} for row in rows]
    for row in kept:
        row["image"] = str((folder / row["image"]).resolve())
    file.write_text("".join(json.dumps(row) + "\n" for row in kept))
    return file


def lookless(out: Path, seconds: dict[str, float], *words: str) -> None:
    """Run a command that writes `out`, unless it has done so."""
    done = out.with_name(out.name + ".done")
    if done.exists():
        seconds[out.name] = float(done.read_text())
        return
    more = ["--resume"] if (out / "config.json").exists() else []
    began = time.perf_counter()
    command = [sys.executable, "-m", "lookless", *words, "--out", str(out), *more]
    subprocess.run(command, cwd=ROOT, check=True)
    seconds[out.name] = round(time.perf_counter() - began, 1)
    done.write_text(str(seconds[out.name]))


def run(demo: Path, work: Path) -> dict[str, Any]:
    """Return what came of the commands, beside what the demo has."""
    theirs = finished(demo)
    work.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}
    for name in ("sft", "rl"):
        file = plain(demo / "data" / name, work)
        lookless(
            work / f"{name}-data", seconds,
            "convert", "vqa", str(file), "--frame", "source", "--instruction", "", "--link",
            "--option", f"images={demo / 'data' / name}",
        )  # fmt: skip
    lookless(
        work / "shown", seconds, "synth", "boxes", str(work / "sft-data"),
        "--phrases", "recipes/tiny/phrases.toml", "--set", "grid=25",
    )  # fmt: skip
    shown = f"data.demonstrations={work / 'shown' / 'demonstrations.jsonl'}"
    lookless(work / "sft", seconds, "sft", "recipes/tiny", "--set", shown)
    tuned = work / "sft" / "checkpoint"
    lookless(work / "probed", seconds, "probe", str(work / "rl-data"), "--model", str(tuned))
    lookless(
        work / "rl", seconds, "rl", "recipes/tiny", "--set", f"model={tuned}", "--set",
        "data.reader=own", "--set", f"data.questions={work / 'probed' / 'questions.jsonl'}",
    )  # fmt: skip
    results: dict[str, Any] = {"seconds": seconds}
    for stage, name in NAMES.items():
        out = work / f"eval-{stage}"
        lookless(
            out, seconds, "eval", "lookworld", "--data", str(demo / "data" / "test"),
            "--model", str(work / stage / "checkpoint"), "--modes", "adaptive,always,never",
        )  # fmt: skip
        modes = json.loads((out / "results.json").read_text())["modes"]
        own = [row for row in read_jsonl(out / "samples.jsonl") if row["mode"] == "adaptive"]
        file = work / f"adaptive-{stage}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in own))
        results[stage] = {
            "ours": {mode: row_of(row) for mode, row in modes.items()},
            "demo": row_of(theirs["policies"][name]),
            "difference_ci": gain_interval([(file, demo / "eval" / f"{name}.jsonl")]),
        }
    probe = json.loads((work / "probed" / "probe.json").read_text())
    return results | {"kept": probe["kept"], "dropped": probe["dropped"], "need": probe["kinds"][0]}


def row_of(summary: dict[str, Any]) -> dict[str, Any]:
    """Return what is compared."""
    return {
        "accuracy": summary["accuracy"],
        "look_rate": summary["look_rate"],
        "mcc": summary["necessity"]["mcc"],
    }


def main() -> None:
    """Train, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("demo", type=Path, help="folder of a finished `lookless demo`")
    parser.add_argument("--work", type=Path, required=True, help="folder for the trainings")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with mistakes_in_one_line():
        found = run(args.demo.resolve(), args.work.resolve())
    print("| model | accuracy % | look rate % | MCC |\n| --- | --- | --- | --- |")
    for stage, name in NAMES.items():
        rows = {
            f"{stage} from boxes": found[stage]["ours"]["adaptive"],
            f"{stage} from boxes, always": found[stage]["ours"]["always"],
            f"{stage} from boxes, never": found[stage]["ours"]["never"],
            f"{name} of the demo": found[stage]["demo"],
        }
        for label, row in rows.items():
            cells = f"{100 * row['accuracy']:.1f} | {100 * row['look_rate']:.1f}"
            print(f"| {label} | {cells} | {row['mcc']:.2f} |")
        low, high = found[stage]["difference_ci"]
        print(f"| difference, 95 % | {100 * low:+.1f} to {100 * high:+.1f} | | |")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(args.out, found | {"provenance": provenance()})


if __name__ == "__main__":
    main()
