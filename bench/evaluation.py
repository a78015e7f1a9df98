"""Measure what an evaluation costs besides the model: samples a second, and memory.

    python bench/evaluation.py speed --out results/evaluation_speed.json
    python bench/evaluation.py memory --out results/evaluation_memory.json

`speed` asks a scripted policy about images of one megapixel, in the modes never and always: once
as it is, which opens the files but needs no pixels, and once made to take the pixels of every
picture, as a model does. Grading and records are included, making the images is not.

`memory` evaluates 800 questions on 200 images of 33 megapixels, four on each as in HR-Bench 8K and
embedded in a parquet file like its own, with the pixels of every picture, in a process of its own,
and once more on a quarter of them: what grows with the number of images is not bounded.
"""

import argparse
import base64
import contextlib
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from lookless.benchmarks.hrbench import BENCHMARK_8K
from lookless.benchmarks.own import BENCHMARK as OWN
from lookless.benchmarks.questions import Selection, read_questions, with_images
from lookless.chat.dialect import Dialect
from lookless.cli import mistakes_in_one_line
from lookless.evaluation.config import EvalConfig
from lookless.evaluation.journal import read_answers
from lookless.evaluation.model import Model, open_model
from lookless.evaluation.results import results_of
from lookless.evaluation.run import Asker, answer_all, planned
from lookless.policies.policy import Failed, Observation, Policy, Prompt, Sampled, Session
from lookless.runs import provenance

OPTIONS = ("red", "blue", "green", "white")


@dataclass(frozen=True)
class Seeing:
    """A policy that takes the pixels of everything that it is shown."""

    policy: Policy

    @property
    def chat(self) -> Dialect:
        """Return the dialect it speaks."""
        return self.policy.chat

    def start(self, prompts: Sequence[Prompt]) -> "SeeingSession":
        """Look at the overviews, and begin."""
        for prompt in prompts:
            _ = prompt.overview.pixels
        return SeeingSession(self.policy.start(prompts))


@dataclass(frozen=True)
class SeeingSession:
    """A batch of rollouts that look at their crops."""

    session: Session

    def step(
        self, appended: Mapping[int, Observation | None], max_tokens: int
    ) -> Mapping[int, Sampled | Failed]:
        """Return the next turns."""
        for seen in appended.values():
            if seen is not None and seen.picture is not None:
                _ = seen.picture.pixels
        return self.session.step(appended, max_tokens)


@contextlib.contextmanager
def silent(title: str, total: int) -> Iterator[Any]:
    """Show no progress."""
    yield lambda done, note: None


def seeing(model: Model) -> Model:
    """Return a model that takes all pixels."""
    return Model(
        model.name,
        model.identity,
        model.chat,
        lambda seed, batch: Seeing(model.policy(seed, batch)),
        model.limits,
        model.batch,
    )


def noisy(width: int, height: int, seed: int) -> bytes:
    """Return a JPEG of smooth shapes with some grain, about as large as a photograph's."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (height // 64, width // 64, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    grain = rng.integers(-12, 13, (height, width, 1), dtype=np.int16)
    stream = io.BytesIO()
    grainy = Image.fromarray(np.clip(image + grain, 0, 255).astype(np.uint8))
    grainy.save(stream, "JPEG", quality=85)
    return stream.getvalue()


def asked(model: Model, questions: Sequence[Any], config: EvalConfig, out: Path) -> float:
    """Return the seconds that an evaluation takes from questions to results."""
    began = time.perf_counter()
    asker = Asker(model, config.limits(model.limits), OWN.grade, 1, 0)
    answer_all(out / "samples.jsonl", planned(questions, config, model.batch), asker, silent)
    answered = read_answers(out / "samples.jsonl", config.modes)
    found = results_of(OWN, answered, 0.01)
    spent = time.perf_counter() - began
    assert all(row["accuracy"] == 1.0 for row in found["modes"].values()), "gold must be right"
    return spent


def speed(images: int) -> dict[str, Any]:
    """Return samples a second, without pixels and with them, side by side."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = []
        for k in range(images):
            (folder / f"{k}.jpg").write_bytes(noisy(1024, 1024, k))
            row = {"image": f"{k}.jpg", "question": "Which?", "answer": "B", "options": OPTIONS}
            rows.append(json.dumps(row))
        (folder / "questions.jsonl").write_text("\n".join(rows))
        config = EvalConfig(
            benchmark="own", data=folder, model="scripted:gold", modes=("never", "always")
        )
        chosen = read_questions(OWN, folder / "questions.jsonl", Selection())
        chosen = with_images(OWN, folder / "questions.jsonl", chosen, folder / "cache")
        model = open_model("scripted:gold", 0.0)
        seconds = {}
        for kind, one in (("without_pixels", model), ("with_pixels", seeing(model))):
            (folder / kind).mkdir()
            seconds[kind] = asked(one, chosen.questions, config, folder / kind)
        began = time.perf_counter()
        for question in chosen.questions:
            with Image.open(question.image) as image:
                image.load()
        decoding = time.perf_counter() - began
    samples = 2 * images
    return {
        "images": images,
        "samples": samples,
        "samples_per_second": {kind: round(samples / s, 1) for kind, s in seconds.items()},
        "decoding_alone_images_per_second": round(images / decoding, 1),
    }


def write_8k(file: Path, images: int) -> None:
    """Write a parquet file like that of HR-Bench 8K, one image at a time."""
    writer = None
    for k in range(images):
        data = base64.b64encode(noisy(7680, 4320, k)).decode()
        rows = []
        for cycle in range(4):
            options = OPTIONS[cycle:] + OPTIONS[:cycle]
            rows.append(
                {
                    "index": 4 * k + cycle,
                    "question": "Which colour?",
                    "answer": "ABCD"[options.index("blue")],
                    "category": ("single", "cross")[k % 2],
                    **dict(zip("ABCD", options, strict=True)),
                    "cycle_category": str(cycle),
                    "image": data,
                }
            )
        table = pa.Table.from_pylist(rows)
        writer = writer or pq.ParquetWriter(file, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def evaluate_8k(file: Path, limit: int, out: Path) -> dict[str, Any]:
    """Return the peak memory of this process after evaluating so many rows of a file."""
    began = time.perf_counter()
    chosen = read_questions(BENCHMARK_8K, file, Selection(limit), is_partial=True)
    chosen = with_images(BENCHMARK_8K, file, chosen, out / "cache")
    config = EvalConfig(
        benchmark="hrbench_8k", data=file, model="scripted:gold", modes=("never", "always")
    )
    spent = asked(seeing(open_model("scripted:gold", 0.0)), chosen.questions, config, out)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "rows": len(chosen.questions),
        "samples": 2 * len(chosen.questions),
        "peak_memory_mb": round(peak),
        "samples_per_second": round(2 * len(chosen.questions) / spent, 1),
        "seconds_with_unpacking": round(time.perf_counter() - began, 1),
    }


def memory(images: int) -> dict[str, Any]:
    """Return the peak memory of evaluating all images and a quarter of them."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "hr_bench_8k.parquet"
        write_8k(file, images)
        found = []
        for rows in (images, 4 * images):
            out = Path(name) / str(rows)
            out.mkdir()
            command = [sys.executable, __file__, "rows", str(file), str(rows), str(out)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
        size = round(file.stat().st_size / 2**20)
    return {"images": images, "pixels": [7680, 4320], "file_mb": size, "runs": found}


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_subparsers(dest="what", required=True)
    for name, count in (("speed", 400), ("memory", 200)):
        one = what.add_parser(name)
        one.add_argument("--images", type=int, default=count)
        one.add_argument("--out", type=Path)
    rows = what.add_parser("rows")
    rows.add_argument("file", type=Path)
    rows.add_argument("limit", type=int)
    rows.add_argument("folder", type=Path)
    args = parser.parse_args()
    if args.what == "rows":
        print(json.dumps(evaluate_8k(args.file, args.limit, args.folder)))
        return
    measured = speed(args.images) if args.what == "speed" else memory(args.images)
    result = measured | provenance()
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    with mistakes_in_one_line():
        main()
