"""The command line: thin commands; the only place that prints."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from lookless import __version__
from lookless.errors import ConfigError, LooklessError, wrong_setting

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
console = Console()
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


@contextmanager
def bar(title: str, total: int) -> Iterator[Any]:
    """Show a progress bar; yields the function that moves it."""
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=total, note="")
        yield lambda done, note: progress.update(task, completed=done, note=note)


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

    settings = read_toml(config)
    if seed is not None:
        settings["seed"] = seed
    if compare:
        settings["compare"] = tuple(COMPARED)
    results = run_demo(out, validated(DemoConfig, settings), bar, resume=resume)
    print_results(results)
    console.print(f"report: {write_report(out)}", markup=False, soft_wrap=True)
    console.print(f"results: {out / 'results.json'}", markup=False, soft_wrap=True)


def print_results(results: dict[str, Any]) -> None:
    """Print the demo's table."""
    table = Table(
        title=f"LookWorld test, n = {results['n']}, {results['oracle_look_rate']:.1%} need a look",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("policy", no_wrap=True)
    for column in (
        "accuracy\n%",
        "95 % CI\n%",
        "look\nrate %",
        "looks",
        "visual\ntokens",
        "s per\nsample",
        "MCC",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    for name, row in results["policies"].items():
        low, high = row["accuracy_ci"]
        table.add_row(
            name,
            f"{100 * row['accuracy']:.1f}",
            f"{100 * low:.1f}-{100 * high:.1f}",
            f"{100 * row['look_rate']:.1f}",
            f"{row['looks_per_sample']:.2f}",
            f"{row['visual_tokens_per_sample']:.0f}",
            f"{row['seconds_per_sample']:.3f}",
            "-" if row["necessity"] is None else f"{row['necessity']['mcc']:.2f}",
        )
    console.print(table)
    seconds = results["seconds"]
    console.print(
        f"seconds: SFT {seconds['sft']:.0f}, RGRL {seconds['rgrl']:.0f}, "
        f"evaluation {seconds['eval']:.0f}, total {seconds['total']:.0f}; "
        f"peak memory {results['peak_memory_mb']:.0f} MB"
    )


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
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted export in OUT.")
    ] = False,
) -> None:
    """Export questions of LookWorld with their images, and a sheet of samples to look at."""
    from lookless.lookworld.dataset import Split, export, questions
    from lookless.lookworld.sheet import draw_sheet
    from lookless.runs import open_run

    if split not in list(Split):
        raise ConfigError(f"split must be one of {', '.join(Split)}, got {split!r}")
    backgrounds = photo_names(photos) if photos else None
    settings = {"split": split, "count": count, "size": size, "seed": seed, "photos": photos}
    open_run(out, settings, resume=resume)
    worlds = list(questions(Split(split), count, seed, backgrounds=backgrounds))
    with bar("LookWorld", len(worlds)) as step:
        done = iter(range(1, len(worlds) + 1))
        asked = export(out, worlds, size, photos, progress=lambda: step(next(done), ""))
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
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint folder.")] = Path(
        "runs/demo/rgrl/checkpoint"
    ),
    mode: Annotated[
        str, typer.Option(help="adaptive, forced, prohibited or toolfree.")
    ] = "adaptive",
    max_looks: Annotated[int, typer.Option(min=0, help="Looks that are executed at most.")] = 3,
    save_overlay: Annotated[
        Path | None, typer.Option(help="Write the image with the boxes drawn.")
    ] = None,
) -> None:
    """Answer a question about an image, and show what was looked at."""
    from lookless.episode import LookOutcome, Mode, Question
    from lookless.images import SourceCache
    from lookless.policies.hf import HfPolicy
    from lookless.report.overlay import draw_looks
    from lookless.rollout import Limits, rollout
    from lookless.vlm import VLM

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
    policy = HfPolicy(VLM.load(checkpoint), temperature=0)
    asked = Question("ask", image, question, "")
    (done,) = rollout(policy, [(asked, Mode(mode))], sources, Limits(max_looks=max_looks))
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


@app.command(epilog="Example:  \n`lookless report runs/demo`")
def report(run: Annotated[Path, typer.Argument(help="Folder that `lookless demo` wrote.")]) -> None:
    """Write a demo run's HTML report again from its records."""
    from lookless.report.html import write_report

    console.print(f"report: {write_report(run)}", markup=False, soft_wrap=True)


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


def read_toml(file: Path | None) -> dict[str, Any]:
    """Return the settings in a TOML file, none without a file."""
    import tomllib

    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"config must be a readable TOML file, got {str(file)!r}: {error}"
        ) from None


def validated(model: type[Any], settings: dict[str, Any]) -> Any:
    """Return a config object, or raise one line that names the first wrong setting."""
    from pydantic import ValidationError

    try:
        return model(**settings)
    except ValidationError as error:
        raise wrong_setting(model, error) from None


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # ours say what is going on
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
    except LooklessError as error:
        message = str(error)
    print(f"lookless: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)
