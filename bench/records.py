r"""Measure how fast many records are converted, checked, compared and read, and in what memory.

    python bench/records.py --work /tmp/records --records 100000 --images 20000 \
        --out results/records.json

Draws images, writes a table that asks several questions about each, and runs the commands on it,
each in a process of its own. Some images are copies of others, and one of a benchmark: they must be
found. Prints a table: seconds, records (or images) a second, peak memory of the process.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lookless.runs import provenance, write_json

COPIES = 50
"""Images that are drawn again, smaller."""
READ = """
import sys
from pathlib import Path
from lookless.data.store import checked_records
print(sum(1 for _ in checked_records(Path(sys.argv[1]))))
"""
READ_BY_DATASETS = """
import sys
from datasets import load_dataset
found = load_dataset("json", data_files=sys.argv[1], split="train", cache_dir=sys.argv[2])
print(sum(1 for _ in found))
"""


def draw(number: int, side: int) -> Image.Image:
    """Return an image that looks like no other: coarse colours, fine noise."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8))
    image = coarse.resize((side, side), Image.Resampling.BICUBIC)
    noise = rng.integers(0, 24, (side, side, 3), np.uint8)
    return Image.fromarray(np.asarray(image) // 8 * 7 + noise)


def prepare(work: Path, records: int, images: int, side: int) -> Path:
    """Write the images and the table; return the table."""
    table = work / "in" / "questions.jsonl"
    if table.exists():
        return table
    (work / "in").mkdir(parents=True)
    (work / "benchmark").mkdir()
    for k in range(images):
        original = draw(k - images + COPIES, side) if k >= images - COPIES else draw(k, side)
        if k >= images - COPIES:
            original = original.resize((side // 2, side // 2), Image.Resampling.LANCZOS)
        original.save(work / "in" / f"{k}.jpg", quality=85)
    again = io.BytesIO()
    draw(COPIES, side).resize((side * 2 // 3, side * 2 // 3)).save(again, "JPEG", quality=60)
    (work / "benchmark" / "planted.jpg").write_bytes(again.getvalue())
    with table.open("w") as stream:
        for k in range(records):
            row = {
                "image": f"{k % images}.jpg",
                "question": f"What is number {k // images} here?",
                "answer": str(k),
                "boxes": [[10, 10, 40, 30]],
            }
            stream.write(json.dumps(row) + "\n")
    return table


def timed(command: list[str], expected: tuple[int, ...] = (0,)) -> tuple[float, float, str]:
    """Run a command; return its seconds, the peak memory of its process in MB, what it prints."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in expected:
        sys.exit(f"{' '.join(command)} ended with {code}")
    return time.perf_counter() - began, used.ru_maxrss / 1024, said


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--side", type=int, default=512, help="of the images in pixels")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    table = prepare(args.work, args.records, args.images, args.side)
    data = args.work / "data"
    shutil.rmtree(data, ignore_errors=True)
    lookless = [sys.executable, "-m", "lookless"]
    file, cache = str(data / "questions.jsonl"), str(args.work / "cache")
    against = f"planted={args.work / 'benchmark'}"
    plans: dict[str, tuple[list[str], tuple[int, ...]]] = {
        "convert": (
            [*lookless, "convert", "vqa", str(table), "--frame", "source", "--out", str(data)],
            (0,),
        ),
        "validate": ([*lookless, "validate", str(data), "--json"], (0,)),
        "validate, headers only": ([*lookless, "validate", str(data), "--headers"], (0,)),
        "dedupe": ([*lookless, "dedupe", str(data), "--against", against, "--json"], (2,)),
        "read": ([sys.executable, "-c", READ, file], (0,)),
        "read by datasets": ([sys.executable, "-c", READ_BY_DATASETS, file, cache], (0,)),
    }
    rows: dict[str, dict[str, Any]] = {}
    print("| command | seconds | records/s | images/s | peak MB |\n" + "| --- " * 5 + "|")
    for name, (command, expected) in plans.items():
        seconds, peak_mb, said = timed(command, expected)
        rows[name] = {
            "seconds": seconds,
            "records_per_second": args.records / seconds,
            "images_per_second": args.images / seconds,
            "peak_mb": peak_mb,
        }
        if name == "dedupe":
            found = json.loads(said)
            rows[name]["pairs_within"] = sum(p["benchmark"] is None for p in found["pairs"])
            rows[name]["planted_found"] = len(found["contaminated"])
        row = rows[name]
        print(
            f"| {name} | {seconds:.1f} | {row['records_per_second']:.0f} | "
            f"{row['images_per_second']:.0f} | {peak_mb:.0f} |",
            flush=True,
        )
    dedupe = rows["dedupe"]
    print(f"{dedupe['pairs_within']} pairs of {COPIES} planted, benchmark's image found in "
          f"{dedupe['planted_found']} image")  # fmt: skip
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        sizes = {"records": args.records, "images": args.images, "side": args.side}
        write_json(args.out, sizes | {"results": rows, "provenance": provenance()})


if __name__ == "__main__":
    main()
