"""Measure what views of large images cost: decoded as small as the view allows, or as a whole.

    python bench/images.py --out results/images.json

Mosaics of photographs at their own resolution, as JPEG, PNG and WebP of 4K and 8K. Timed are the
overview alone, and the overview with a crop, each from a source that nothing is decoded of yet:

  ours     `Source.pixels`: a JPEG is decoded at a half, a quarter or an eighth of its sides where
           the view is still given twice the pixels that it shows
  whole    the whole image is decoded, once, and views are cut and resized from it

Pixels of ours differ by what the table says, in levels of 255. No decoder is faster than the one
that makes an eighth of the sides and so does little but reading: the limit. Prints a table and,
last, one JSON object.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from skimage import data

from lookless.cli import mistakes_in_one_line
from lookless.frames import Box, Frame, View
from lookless.images import PixelBudget, PixelPool, Source, open_image
from lookless.runs import provenance, write_json

SIZES = {"4K": (4096, 3072), "8K": (7680, 5760)}
FORMATS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 92},
    "PNG": {"compress_level": 1},
    "WEBP": {"quality": 75, "method": 4},
}


def mosaic(width: int, height: int) -> Image.Image:
    """Return photographs side by side until the size is reached."""
    photos = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    tiles = [Image.fromarray(photo).crop((0, 0, 400, 300)) for photo in photos]
    whole = Image.new("RGB", (width, height))
    for k, (x, y) in enumerate((x, y) for y in range(0, height, 300) for x in range(0, width, 400)):
        whole.paste(tiles[k % len(tiles)].transpose(Image.Transpose(k % 4)), (x, y))
    return whole


def timed(run: Callable[[], Any]) -> float:
    """Return the seconds that something takes."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def compare(file: Path, budget: PixelBudget, rounds: int) -> dict[str, Any]:
    """Return what is measured of one file."""
    asked = Source(file)
    width, height = asked.size
    overview = asked.full_view(budget)
    box = Box(width * 0.6, height * 0.55, width * 0.75, height * 0.7, Frame.SOURCE)
    crop = asked.view(box, budget)

    def ours(views: list[View]) -> tuple[list[Image.Image], int]:
        pool = PixelPool()
        source = Source(file, pool=pool)
        return [source.pixels(view) for view in views], pool.decoded_bytes

    def whole(views: list[View]) -> list[Image.Image]:
        image = open_image(file)
        return [
            image.resize(
                (view.width_px, view.height_px),
                Image.Resampling.BICUBIC,
                view.region.coordinates,
            )
            for view in views
        ]

    found: dict[str, Any] = {}
    for name, views in {"overview": [overview], "overview and crop": [overview, crop]}.items():
        seconds: dict[str, list[float]] = {"ours": [], "whole": [], "limit": []}
        for _ in range(rounds):
            seconds["ours"].append(timed(lambda views=views: ours(views)))
            seconds["whole"].append(timed(lambda views=views: whole(views)))
            seconds["limit"].append(timed(lambda: open_image(file, shrink=8)))
        pixels, held = ours(views)
        off = np.concatenate(
            [
                np.abs(np.asarray(a, float) - np.asarray(b, float)).ravel()
                for a, b in zip(pixels, whole(views), strict=True)
            ]
        )
        ratios = [b / a for a, b in zip(seconds["ours"], seconds["whole"], strict=True)]
        found[name] = {
            "seconds": {way: median(values) for way, values in seconds.items()},
            "speedup": median(ratios),
            "speedup_range": [min(ratios), max(ratios)],
            "held_mb": held / 2**20,
            "held_mb_whole": width * height * 4 / 2**20,
            "levels_off_mean": float(off.mean()),
            "levels_off_99.9_percent": float(np.quantile(off, 0.999)),
            "levels_off_max": float(off.max()),
        }
    return found


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--max-pixels", type=int, default=1024 * 32 * 32, help="of a view")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    found: dict[str, Any] = {}
    with mistakes_in_one_line(), TemporaryDirectory() as folder:
        budget = PixelBudget(64 * 32 * 32, args.max_pixels, 32)
        for size, (width, height) in SIZES.items():
            image = mosaic(width, height)
            for form, settings in FORMATS.items():
                file = Path(folder) / f"{size}.{form.lower()}"
                image.save(file, form, **settings)
                found[f"{size} {form}"] = compare(file, budget, args.rounds)
                file.unlink()
        table = Table(title=f"Views of up to {args.max_pixels} pixels")
        for title in ("", "", "ours ms", "whole ms", "limit ms", "faster by", "held MB", "off"):
            table.add_column(title, justify="right" if title else "left")
        for name, cases in found.items():
            for case, one in cases.items():
                low, high = one["speedup_range"]
                milliseconds = [f"{1000 * value:.0f}" for value in one["seconds"].values()]
                table.add_row(
                    name,
                    case,
                    *milliseconds,
                    f"{one['speedup']:.2f} ({low:.2f} to {high:.2f})",
                    f"{one['held_mb']:.0f} / {one['held_mb_whole']:.0f}",
                    f"{one['levels_off_mean']:.2f}, at most {one['levels_off_max']:.0f}",
                )
        Console().print(table)
        if args.out:
            write_json(args.out, found | {"provenance": provenance()})
        print(json.dumps(found))


if __name__ == "__main__":
    main()
