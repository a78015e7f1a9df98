"""The command line: thin commands; the only place that prints."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.logging import RichHandler
from rich.markup import escape

from lookless import __version__, cli_data
from lookless.cli_options import IMAGES, KEY, RESUME, SET, server_key
from lookless.console import bar, console
from lookless.errors import ConfigError, LooklessError, StoppedError
from lookless.settings import override, read_toml, validated

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
OVERLAYS = (".png", ".jpg", ".jpeg", ".webp")


@app.callback(invoke_without_command=True)
def top(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Train, evaluate and run vision-language models that look closer only when it pays."""
    if version:
        console.print(f"lookless {__version__}", highlight=False)
    elif context.invoked_subcommand is None:
        console.print(context.get_help(), end="")


@app.command(
    epilog="Examples:  \n`lookless demo --out runs/demo`  \n"
    "`lookless demo --out runs/demo --resume`  \n"
    "`lookless demo --out runs/compare --seed 1 --compare`"
)
def demo(
    out: Annotated[Path, typer.Option(help="New folder for everything that the demo writes.")],
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of data, SFT, RL and sampling (0).")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also train the other rewards.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Continue an interrupted run in OUT; give its other options again."
        ),
    ] = False,
    config: Annotated[
        Path | None, typer.Option(help="TOML file with settings that differ from the demo's.")
    ] = None,
) -> None:
    """The whole method on a CPU: SFT, rollout-guided RL, evaluation, a table and a report."""
    from lookless.demo import COMPARED, DemoConfig, run_demo
    from lookless.report.html import write_report

    settings = {} if config is None else read_toml("config", config)
    if seed is not None:
        settings["seed"] = seed
    if compare:
        settings["compare"] = tuple(COMPARED)
    results = run_demo(out, validated(DemoConfig, settings), bar, resume=resume)
    print_demo(results)
    console.print(f"report: {write_report(out)}", markup=False, soft_wrap=True)
    console.print(f"results: {out / 'results.json'}", markup=False, soft_wrap=True)


def print_demo(results: dict[str, Any]) -> None:
    """Print the demo's table."""
    from lookless.report.terminal import demo_table

    console.print(demo_table(results))
    seconds = results["seconds"]
    console.print(
        f"seconds: SFT {seconds['sft']:.0f}, RGRL {seconds['rgrl']:.0f}, "
        f"evaluation {seconds['eval']:.0f}, total {seconds['total']:.0f}; "
        f"peak memory {results['peak_memory_mb']:.0f} MB"
    )


ENGINE = typer.Option(help="What runs a checkpoint: hf (transformers) or vllm.")
DTYPE = typer.Option(
    help="Of its weights: float32 or bfloat16. Without: bfloat16 on a GPU, else float32."
)
MAX_PIXELS = typer.Option(min=1, help="Of what it is shown of an image.")
LOCAL = typer.Option(
    "--local",
    metavar="NAME=VALUE",
    help="More of how a checkpoint is run, such as vllm.memory=0.5, vllm.gpus=2, pixels.max_tiles=4"
    " or workers.count=8 (Ray); can be repeated.",
)
RECIPE = typer.Argument(help="TOML file, or a folder with recipe.toml; see docs/recipes.md.")
TRAINED = typer.Option(help="New folder for metrics, records and the checkpoint.")


@app.command(
    epilog="Examples:  \n`lookless sft recipes/tiny --out runs/sft`  \n"
    "`lookless sft recipes/lora-3b --set sft.lr=1e-5 --out runs/sft-3b`  \n"
    "`torchrun --nproc-per-node 8 --shutdown-timeout 600 "
    "-m lookless sft recipes/paper --out runs/sft-7b`"
)
def sft(
    recipe: Annotated[Path, RECIPE],
    out: Annotated[Path, TRAINED],
    settings: Annotated[list[str] | None, SET] = None,
    resume: Annotated[bool, RESUME] = False,
) -> None:
    """Fine-tune a model on demonstrations, with and without looks."""
    train("sft", recipe, out, settings, resume=resume)


@app.command(
    epilog="Examples:  \n"
    "`lookless rl recipes/tiny --set model=runs/sft/checkpoint --out runs/rl`  \n"
    "`torchrun --nproc-per-node 8 --shutdown-timeout 600 -m lookless rl recipes/paper "
    "--set model=runs/sft-7b/checkpoint --out runs/rl-7b`"
)
def rl(
    recipe: Annotated[Path, RECIPE],
    out: Annotated[Path, TRAINED],
    settings: Annotated[list[str] | None, SET] = None,
    resume: Annotated[bool, RESUME] = False,
) -> None:
    """Train a model by rollout-guided RL to look only where it pays."""
    train("rl", recipe, out, settings, resume=resume)


def train(
    stage: Literal["sft", "rl"],
    recipe: Path,
    out: Path,
    settings: list[str] | None,
    *,
    resume: bool,
) -> None:
    """Run a stage of a recipe; of several processes the first one prints."""
    from lookless.recipe import read_recipe
    from lookless.train import run_stage
    from lookless.training.ranks import Ranks

    read = read_recipe(recipe, settings or ())
    ranks = Ranks.join()
    try:
        checkpoint = run_stage(stage, read, out, ranks, bar, IMAGES.expanduser(), resume=resume)
    finally:
        ranks.leave()
    if ranks.is_first:
        console.print(f"checkpoint: {checkpoint}", markup=False, soft_wrap=True)
    ranks.finish()


@app.command(
    epilog="Examples:  \n`lookless lookworld --out samples --count 12`  \n"
    "`lookless lookworld --split shifted --count 600 --size 4096 --out shifted-4k`"
)
def lookworld(
    out: Annotated[Path, typer.Option(help="New folder for images and questions.jsonl.")],
    split: Annotated[
        str, typer.Option(help="train, validation, test, shifted or graded.")
    ] = "test",
    count: Annotated[int, typer.Option(min=1, help="Number of questions.")] = 12,
    size: Annotated[
        int, typer.Option(min=1024, max=8192, help="Side of the images in pixels.")
    ] = 1024,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split.")] = 0,
    photos: Annotated[
        Path | None, typer.Option(help="Folder of photographs for the backgrounds.")
    ] = None,
    demonstrate: Annotated[
        bool,
        typer.Option("--demonstrations", help="Also write demonstrations.jsonl, for SFT."),
    ] = False,
    skip: Annotated[
        int, typer.Option(min=0, help="Scenes left out first, such as those of another export.")
    ] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted export in OUT.")
    ] = False,
) -> None:
    """Export questions of LookWorld with their images, and a sheet of samples to look at."""
    from lookless.demonstrations import write_demonstrations
    from lookless.lookworld.dataset import Split, export, questions
    from lookless.lookworld.sheet import draw_sheet
    from lookless.lookworld.trajectories import demonstrations
    from lookless.runs import open_run

    if split not in list(Split):
        raise ConfigError(f"split must be one of {', '.join(Split)}, got {split!r}")
    backgrounds = photo_names(photos) if photos else None
    settings = {
        "split": split,
        "count": count,
        "size": size,
        "seed": seed,
        "photos": photos,
        "demonstrations": demonstrate,
        "skip": skip,
    }
    open_run(out, settings, resume=resume)
    worlds = list(questions(Split(split), count, seed, skip, backgrounds))
    with bar("LookWorld", len(worlds)) as step:
        done = iter(range(1, len(worlds) + 1))
        asked = export(out, worlds, size, photos, progress=lambda: step(next(done), ""))
    if demonstrate:
        write_demonstrations(out / "demonstrations.jsonl", demonstrations(worlds, asked, seed))
    draw_sheet(asked[:12]).save(out / "sheet.png")
    console.print(
        f"{len(asked)} questions: {out / 'questions.jsonl'}, sample sheet: {out / 'sheet.png'}",
        markup=False,
        soft_wrap=True,
    )


def photo_names(folder: Path) -> tuple[str, ...]:
    """Return the backgrounds that a folder of photographs offers."""
    suffixes = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"}
    files = (
        sorted(f.name for f in folder.iterdir() if f.suffix.lower() in suffixes)
        if folder.is_dir()
        else []
    )
    if not files:
        raise ConfigError(f"photos must be a folder with image files, got {str(folder)!r}")
    return tuple(f"photo:{name}" for name in files)


@app.command(
    epilog='Examples:  \n`lookless ask photo.jpg "Which letter is on the red sign?"`  \n'
    '`lookless ask photo.jpg "How many signs are there?" --mode prohibited`  \n'
    '`lookless ask photo.jpg "How many signs are there?" --checkpoint runs/demo/sft/checkpoint`'
)
def ask(
    image: Annotated[Path, typer.Argument(help="Image file.")],
    question: Annotated[str, typer.Argument(help="What to ask about it.")],
    checkpoint: Annotated[
        str, typer.Option(help="Checkpoint folder, or OWNER/NAME on the hub.")
    ] = "runs/demo/rgrl/checkpoint",
    mode: Annotated[
        str, typer.Option(help="adaptive, forced, prohibited or toolfree.")
    ] = "adaptive",
    max_looks: Annotated[int, typer.Option(min=0, help="Looks that are executed at most.")] = 3,
    engine: Annotated[str, ENGINE] = "hf",
    dtype: Annotated[str | None, DTYPE] = None,
    max_pixels: Annotated[int | None, MAX_PIXELS] = None,
    local: Annotated[list[str] | None, LOCAL] = None,
    save_overlay: Annotated[
        Path | None, typer.Option(help="Write the image with the boxes drawn.")
    ] = None,
) -> None:
    """Answer a question about an image, and show what was looked at."""
    from lookless.episode import LookOutcome, Mode, Question
    from lookless.evaluation.model import Local, open_model
    from lookless.images import SourceCache
    from lookless.report.overlay import draw_looks
    from lookless.rollout import rollout

    if not question.strip():
        raise ConfigError("question must say something, got an empty text")
    if mode not in list(Mode):
        raise ConfigError(f"mode must be one of {', '.join(Mode)}, got {mode!r}")
    if save_overlay and (
        save_overlay.suffix.lower() not in OVERLAYS
        or save_overlay.is_dir()
        or not os.access(save_overlay.parent, os.W_OK)
    ):
        raise ConfigError(
            f"save-overlay must be a {', '.join(OVERLAYS)} file in a folder that can be written, "
            f"got {str(save_overlay)!r}"
        )
    sources = SourceCache()
    sources.get(image)
    run = validated(Local, local_settings(engine, dtype, max_pixels, local))
    with closing(
        open_model(
            checkpoint, 0.0, local=run, limits=lambda usual: replace(usual, max_looks=max_looks)
        )
    ) as model:
        asked = Question("ask", image, question, "")
        limits = replace(model.limits, max_looks=max_looks)
        (done,) = rollout(model.policy(0), [(asked, Mode(mode))], sources, limits)
    for turn in done.turns[1:]:
        console.print(f"[bold]{turn.role}[/bold]", end=" ")
        console.print(turn.text.strip(), markup=False)
    for look in done.looks:
        asked_for = look.box and [round(v) for v in look.box.coordinates]
        text = f"look in image {look.image} at {asked_for}: {look.outcome}"
        if look.outcome is LookOutcome.EXECUTED and look.view is not None:
            region = [round(v) for v in done.views[look.view].region.coordinates]
            text += f", source pixels {region}"
        console.print(text, markup=False)
    said = "none" if done.answer is None else escape(done.answer)
    console.print(
        f"[bold]answer[/bold] {said}  "
        f"({done.stop}, {done.visual_tokens} visual tokens, {done.seconds:.2f} s)"
    )
    if save_overlay:
        try:
            draw_looks(sources.get(image), done).save(save_overlay)
        except OSError as error:
            raise ConfigError(
                f"save-overlay must be a file that can be written, got {str(save_overlay)!r}: "
                f"{error.strerror}"
            ) from None
        console.print(f"overlay: {save_overlay}", markup=False, soft_wrap=True)


@app.command(
    "eval",
    epilog="Examples:  \n"
    "`lookless eval lookworld --data runs/demo/data/test --model runs/demo/rgrl/checkpoint "
    "--out runs/lookworld`  \n"
    "`lookless eval vstar --data vstar_bench --model http://localhost:8000/v1 "
    "--modes toolfree,never,always,adaptive --out runs/vstar`  \n"
    "`lookless eval own --data my_questions.csv --model scripted:gold --out runs/check`",
)
def evaluate_command(
    benchmark: Annotated[str, typer.Argument(help="See `lookless benchmarks`.")],
    model: Annotated[
        str,
        typer.Option(
            help="Checkpoint folder, http(s)://.../v1 of a chat server, scripted:gold or "
            "scripted:chance."
        ),
    ],
    out: Annotated[Path, typer.Option(help="New folder for samples, results and report.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of the official files, or a table. Without: from the hub."),
    ] = None,
    modes: Annotated[
        str, typer.Option(help="Of toolfree, never, always, adaptive, oracle; with commas.")
    ] = "never,always,adaptive",
    samples: Annotated[int, typer.Option(min=1, help="Answers to each question (Avg@k).")] = 1,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the sampling.")] = 0,
    engine: Annotated[str, ENGINE] = "hf",
    dtype: Annotated[str | None, DTYPE] = None,
    max_pixels: Annotated[int | None, MAX_PIXELS] = None,
    local: Annotated[list[str] | None, LOCAL] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many.")] = None,
    ids: Annotated[str, typer.Option(help="Only these ids; with commas.")] = "",
    categories: Annotated[str, typer.Option(help="Only these categories; with commas.")] = "",
    partial: Annotated[
        bool, typer.Option("--partial", help="The files may be a part of the official ones.")
    ] = False,
    max_looks: Annotated[int | None, typer.Option(min=0, help="Executed at most.")] = None,
    max_turn_tokens: Annotated[int | None, typer.Option(min=1, help="Of one turn.")] = None,
    max_context: Annotated[int | None, typer.Option(min=1, help="Tokens of an episode.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Questions at once.")] = None,
    server_model: Annotated[str | None, typer.Option(help="Model's name on the server.")] = None,
    frame: Annotated[
        str, typer.Option(help="Boxes of a server's model: permille or resized.")
    ] = "permille",
    server_checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the served checkpoint (weights not needed): asks in its family's own "
            "words instead of general ones."
        ),
    ] = None,
    key_env: Annotated[str | None, KEY] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 8,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="A server's longest silence in seconds.")
    ] = 120.0,
    retries: Annotated[int, typer.Option(min=0, help="Of a failed request.")] = 5,
    limit_name: Annotated[
        str, typer.Option(help="A server's limit: max_tokens or max_completion_tokens.")
    ] = "max_tokens",
    margin: Annotated[
        float, typer.Option(min=0, max=1, help="Loss of accuracy that would not matter.")
    ] = 0.01,
    audit: Annotated[
        int, typer.Option(min=0, help="Answers with a look to ask again with other crops.")
    ] = 0,
    judge: Annotated[
        str | None, typer.Option(help="http(s)://.../v1 of a server that grades (JUDGE_API_KEY).")
    ] = None,
    judge_model: Annotated[str | None, typer.Option(help="Its model's name.")] = None,
    cache: Annotated[
        Path, typer.Option(help="Folder for images that come inside tables.")
    ] = IMAGES,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run in OUT.")
    ] = False,
) -> None:
    """Measure a model in several modes: accuracy, costs, and what looking was worth."""
    from lookless.benchmarks.hub import download
    from lookless.benchmarks.registry import benchmark as named
    from lookless.evaluation.config import MODES, EvalConfig
    from lookless.evaluation.run import RESULTS, Keys, run_eval
    from lookless.report.html import write_report

    source = named(benchmark)
    unknown = [mode for mode in listed(modes) if mode not in MODES]
    if unknown:
        raise ConfigError(f"modes must be of {', '.join(MODES)}, got {unknown[0]!r}")
    settings = {
        "benchmark": benchmark,
        "data": download(source) if data is None else data,
        "model": model,
        "modes": listed(modes),
        "samples": samples,
        "temperature": temperature,
        "seed": seed,
        "local": local_settings(engine, dtype, max_pixels, local),
        "limit": limit,
        "ids": listed(ids),
        "categories": listed(categories),
        "partial": partial,
        "max_looks": max_looks,
        "max_turn_tokens": max_turn_tokens,
        "max_context": max_context,
        "batch": batch,
        "server_model": server_model,
        "frame": frame,
        "server_checkpoint": server_checkpoint,
        "concurrency": concurrency,
        "timeout_s": timeout,
        "retries": retries,
        "limit_name": limit_name,
        "margin": margin,
        "audit": audit,
        "judge": judge,
        "judge_model": judge_model,
    }
    keys = Keys(server_key(model, key_env), os.environ.get("JUDGE_API_KEY"))
    config = validated(EvalConfig, settings)
    results = run_eval(out, config, cache.expanduser(), bar, keys, resume=resume)
    print_evaluation(results)
    console.print(f"report: {write_report(out)}", markup=False, soft_wrap=True)
    console.print(f"results: {out / RESULTS}", markup=False, soft_wrap=True)


def local_settings(
    engine: str, dtype: str | None, max_pixels: int | None, more: list[str] | None
) -> dict[str, Any]:
    """Return how a checkpoint is run, as settings."""
    settings: dict[str, Any] = {"engine": engine}
    if dtype is not None:
        settings["dtype"] = dtype
    if max_pixels is not None:
        settings["pixels"] = {"max_pixels": max_pixels}
    for text in more or ():
        override(settings, text)
    return settings


def listed(text: str) -> tuple[str, ...]:
    """Return what is named with commas in between."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def print_evaluation(results: dict[str, Any]) -> None:
    """Print an evaluation's tables."""
    from lookless.report.terminal import (
        comparisons_table,
        facts_table,
        gains_table,
        looking_facts,
        modes_tables,
    )

    for made in modes_tables(results):
        console.print(made)
    if results["looking"]["gain_and_harm"]:
        console.print(gains_table(results))
    facts = looking_facts(results)
    if facts:
        console.print(facts_table("What looking was worth", facts))
    rows = [(" - ".join(row["modes"][::-1]), row) for row in results["comparisons"]]
    if rows:
        console.print(comparisons_table("Differences between modes", rows))
    failed = sum(row["failed"] for row in results["modes"].values())
    if failed:
        console.print(
            f"{failed} answers failed and count for nothing; the report says why. "
            "--resume asks for them again.",
            highlight=False,
        )


@app.command(
    epilog="Examples:  \n"
    "`lookless score vstar --data vstar_bench --predictions answers.jsonl`  \n"
    "`lookless score infovqa --data infovqa.parquet --predictions answers.jsonl --partial`"
)
def score(
    benchmark: Annotated[str, typer.Argument(help="See `lookless benchmarks`.")],
    predictions: Annotated[
        Path,
        typer.Option(
            help='JSONL; lines {"id": ..., "prediction": raw text or null}. Several lines of each '
            "id are several samples (Avg@k)."
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of the official files, or a table. Without: from the hub."),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Files and predictions may be a part.")
    ] = False,
    judge: Annotated[
        str | None, typer.Option(help="http(s)://.../v1 of a server that grades (JUDGE_API_KEY).")
    ] = None,
    judge_model: Annotated[str | None, typer.Option(help="Its model's name.")] = None,
) -> None:
    """Grade anybody's predictions; prints one JSON object with the official metrics."""
    import json

    from lookless.benchmarks.hub import download
    from lookless.benchmarks.registry import benchmark as named
    from lookless.evaluation.judging import agreement, check, open_judge
    from lookless.evaluation.score import score_predictions
    from lookless.grading.judge import judged

    source = named(benchmark)
    if judge_model and not judge:
        raise ConfigError("judge-model must come with judge, got it alone; say where it is")
    examiner = asked = None
    if judge is not None:
        kept = predictions.with_suffix(".judge.jsonl")
        asked = open_judge(judge, judge_model, kept, os.environ.get("JUDGE_API_KEY"))
        examiner = judged(source.grade, asked)
    place = download(source) if data is None else data
    found = score_predictions(source, place, predictions, is_partial=partial, examiner=examiner)
    shown = found.result
    if asked is not None:
        check(asked, any(row.is_right is not None for row in found.compared))
        faults = {"failed": asked.failed, "failure": asked.failure}
        shown |= {"judge": agreement(found.compared) | faults}
    print(json.dumps(shown, indent=1))


@app.command(
    epilog="Examples:  \n`lookless compare runs/before runs/after`  \n"
    "`lookless compare runs/before runs/after --ignore versions --margin 0.02`"
)
def compare(
    first: Annotated[Path, typer.Argument(help="Folder of `lookless eval`, or of several.")],
    second: Annotated[Path, typer.Argument(help="Folder that is compared with it.")],
    margin: Annotated[
        float, typer.Option(min=0, max=1, help="Loss of accuracy that would not matter.")
    ] = 0.01,
    ignore: Annotated[
        list[str] | None,
        typer.Option(help="Part of the protocol that may differ: versions, limits.max_looks, ..."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Compare two runs example by example; refuses runs with different protocols."""
    import json

    from lookless.evaluation.compare import compare as compared
    from lookless.report.terminal import comparisons_table

    rows = compared(first, second, margin, ignore or [])
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    named = [(f"{row['benchmark']}, {row['mode']}", row) for row in rows]
    console.print(comparisons_table(f"{second} - {first}", named))


@app.command(epilog="Examples:  \n`lookless benchmarks`  \n`lookless benchmarks vstar`")
def benchmarks(
    name: Annotated[str | None, typer.Argument(help="Tell more about this one.")] = None,
) -> None:
    """List the benchmarks: size, where to get them, licence."""
    from lookless.benchmarks.registry import BENCHMARKS, benchmark
    from lookless.report.terminal import benchmarks_table

    if name is None:
        console.print(benchmarks_table(BENCHMARKS))
        return
    one = benchmark(name)
    counts = ", ".join(f"{family or 'all'} {count}" for family, count in one.counts.items())
    facts = {
        "title": one.title,
        "about": one.about,
        "get it": one.home,
        "files": ", ".join(one.files),
        "licence": one.licence,
        "questions": counts or "any number",
        "independent": f"each {one.clusters}",
    }
    for key, value in facts.items():
        console.print(f"[bold]{key:<12}[/bold]", end="")
        console.print(value, markup=False, soft_wrap=True, highlight=False)


@app.command(epilog="Example:  \n`lookless report runs/demo`")
def report(
    run: Annotated[
        Path,
        typer.Argument(help="Folder of `lookless demo`, `eval`, `convert`, `synth` or `dedupe`."),
    ],
) -> None:
    """Write the HTML report of a run, or of a folder of data, from its records."""
    from lookless.report.html import write_report

    console.print(f"report: {write_report(run)}", markup=False, soft_wrap=True)


@app.command(
    epilog="Examples:  \n`lookless doctor recipes/tiny`  \n"
    "`lookless doctor recipes/paper --gpus 8 --gpu-memory 80`"
)
def doctor(
    recipe: Annotated[Path, RECIPE],
    settings: Annotated[list[str] | None, SET] = None,
    stage: Annotated[str, typer.Option(help="sft, rl or both.")] = "both",
    gpus: Annotated[
        int | None, typer.Option(min=0, help="Of the machine to train on. Without: those here.")
    ] = None,
    gpu_memory: Annotated[
        float | None, typer.Option(min=1, help="Of each GPU in GiB. Without: of those here.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the findings as JSON instead.")
    ] = False,
) -> None:
    """Find what would go wrong in training, before it begins; exit code 2 if anything would."""
    import json

    from lookless.doctor.versions import check_torchvision, installed

    check_torchvision()
    from lookless.doctor.finding import Level
    from lookless.doctor.machine import described, this_machine
    from lookless.doctor.run import STAGES, examine
    from lookless.recipe import read_recipe
    from lookless.report.terminal import findings_table

    if stage not in STAGES:
        raise ConfigError(f"stage must be one of {', '.join(STAGES)}, got {stage!r}")
    read = read_recipe(recipe, settings or ())
    machine = described(this_machine(), gpus, gpu_memory)
    found = examine(read, STAGES[stage], machine, installed(), IMAGES.expanduser())
    if as_json:
        print(json.dumps([asdict(one) for one in found], indent=1))
    else:
        console.print(findings_table(found))
    if any(one.level is Level.FAULT for one in found):
        raise typer.Exit(2)


@app.command("train-base", epilog="Example:  \n`lookless train-base --out runs/base`")
def train_base_command(
    out: Annotated[Path, typer.Option(help="New folder for logs, states and the checkpoint.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the weights and the data.")] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted training in OUT.")
    ] = False,
) -> None:
    """Train base weights like the shipped ones (about an hour on 2 cores)."""
    from lookless.lookworld.base import train_base

    train_base(out, bar, seed, resume=resume)
    console.print(f"base weights: {out / 'base'}", markup=False, soft_wrap=True)


for command in cli_data.COMMANDS:
    app.command(epilog=cli_data.EXAMPLES[command.__name__])(command)
app.add_typer(cli_data.synth)


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # ours say what is going on
    shown = RichHandler(console=console, show_time=False, show_path=False)
    logging.getLogger("lookless").addHandler(shown)
    with mistakes_in_one_line():
        code = app(standalone_mode=False, prog_name="lookless")
    sys.exit(code)


@contextmanager
def mistakes_in_one_line() -> Iterator[None]:
    """Turn a user's mistake into one line on stderr and exit code 2."""
    try:
        yield
        return
    except typer.TyperException as error:
        command = getattr(getattr(error, "ctx", None), "command_path", "lookless")
        said = error.format_message().rstrip(".")
        message = f"{said[:1].lower()}{said[1:]}; see {command} --help"
    except StoppedError as error:
        print(f"lookless: {error}", file=sys.stderr)
        sys.exit(128 + error.signal)
    except KeyboardInterrupt:
        print("lookless: stopped; --resume goes on where a command has it", file=sys.stderr)
        sys.exit(130)
    except LooklessError as error:
        message = str(error)
    line = f"lookless: {' '.join(message.split())}"
    print(line.encode(errors="backslashreplace").decode(), file=sys.stderr)
    sys.exit(2)
