"""Measure how many bits of a perceptual hash change with an image, and between images.

    python bench/alike.py --images 200 --out results/alike.json

Draws LookWorld's scenes (few backgrounds, so that images resemble each other), changes each as
copies of images are changed, and prints the bits of 256 that differ: between a copy and its
original, and between distinct scenes.
"""

import argparse
import io
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from PIL import Image, ImageEnhance

from lookless.data.phash import distance, hash_of, perceptual_hash
from lookless.lookworld.dataset import Split, export, questions
from lookless.runs import provenance, write_json


def saved(image: Image.Image, quality: int, kind: str = "JPEG") -> Image.Image:
    """Return an image after it was written and read again."""
    stream = io.BytesIO()
    image.save(stream, kind, quality=quality)
    return Image.open(stream)


def scaled(image: Image.Image, by: float) -> Image.Image:
    """Return an image at another size."""
    size = round(image.width * by), round(image.height * by)
    return image.resize(size, Image.Resampling.LANCZOS)


def cut(image: Image.Image, share: float) -> Image.Image:
    """Return an image without a share of each side at each edge."""
    dx, dy = round(image.width * share), round(image.height * share)
    return image.crop((dx, dy, image.width - dx, image.height - dy))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG, quality 30": lambda image: saved(image, 30),
    "half the size, quality 75": lambda image: saved(scaled(image, 0.5), 75),
    "a quarter of the size, quality 60": lambda image: saved(scaled(image, 0.25), 60),
    "1.7 times the size, WebP": lambda image: saved(scaled(image, 1.7), 80, "WEBP"),
    "grey": lambda image: image.convert("L"),
    "20 % brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "2 % cut off at each edge": lambda image: cut(image, 0.02),
    "5 % cut off at each edge": lambda image: cut(image, 0.05),
}


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        asked = export(Path(folder), list(questions(Split.TRAIN, 3 * args.images)))
        files = list(dict.fromkeys(question.image for question in asked))[: args.images]
        hashes = [perceptual_hash(file) for file in files]
        rows: dict[str, list[int]] = {}
        for name, change in CHANGES.items():
            rows[name] = []
            for file, own in zip(files, hashes, strict=True):
                with Image.open(file) as image:
                    rows[name].append(distance(own, hash_of(change(image))))
        rows["another scene"] = [distance(a, b) for a, b in combinations(hashes, 2)]
    print("| change | least | median | most |\n| --- | --- | --- | --- |")
    for name, bits in rows.items():
        print(f"| {name} | {min(bits)} | {median(bits):g} | {max(bits)} |")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        table = {n: {"least": min(b), "median": median(b), "most": max(b)} for n, b in rows.items()}
        write_json(args.out, {"images": len(files), "bits": table, "provenance": provenance()})


if __name__ == "__main__":
    main()
