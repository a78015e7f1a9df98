"""Commands about data: thin, like all of the command line."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lookless.cli_options import IMAGES, KEY, RESUME, SET, server_key
from lookless.console import bar, console, silent
from lookless.errors import ConfigError
from lookless.settings import override, validated

DATA = typer.Argument(help="Folder of `lookless convert`, or a file of records.")
NEW = typer.Option(help="New folder for what is written.")
MODEL = typer.Option(
    help="Checkpoint folder, OWNER/NAME on the hub, or http(s)://.../v1 of a chat server."
)
SAMPLES = typer.Option(min=1, help="Answers to each question in each mode.")
TEMPERATURE = typer.Option(min=0.01, help="Of the sampling.")
SEED = typer.Option(min=0, help="Of all that is drawn.")
YES = typer.Option("--yes", help="Do not ask whether the cost is right.")
ANSWERING = typer.Option(
    "--set",
    metavar="NAME=VALUE",
    help="A setting of the answers, such as limit=100, max_looks=2, concurrency=16, retries=8, "
    "server_model=NAME, local.engine=vllm, local.pixels.max_pixels=1000000; can be repeated.",
)
MIXTURE = typer.Option(
    "--mix",
    metavar="NAME=SHARE",
    help="Share of forced, prohibited, look, corrected or closer; can be repeated.",
)


def convert(
    reader: Annotated[
        str,
        typer.Argument(
            help="vqa, coco, vstar, sharegpt, openai, "
            "pixel-reasoner-sft, pixel-reasoner-rl or deepeyes."
        ),
    ],
    path: Annotated[Path, typer.Argument(help="The files: a table, or a folder with them.")],
    out: Annotated[Path, NEW],
    frame: Annotated[
        str | None,
        typer.Option(help="What numbers of boxes mean: source, unit, permille or resized."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="With frame resized: the model whose resized pixels they are."),
    ] = None,
    validation: Annotated[
        float, typer.Option(min=0, max=0.99, help="Share of the images kept for validation.")
    ] = 0.0,
    kind: Annotated[str, typer.Option(help="Of the files of records: jsonl or parquet.")] = "jsonl",
    link: Annotated[
        bool, typer.Option("--link", help="Hard links to the images instead of copies.")
    ] = False,
    instruction: Annotated[
        str | None,
        typer.Option(help="Said after each question instead of the usual words; '' for nothing."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Of a reader: images=FOLDER, ask=count."),
    ] = None,
    resume: Annotated[bool, RESUME] = False,
) -> None:
    """Make records of questions or trajectories in somebody's layout."""
    from lookless.data.convert import ConvertConfig
    from lookless.data.convert import convert as converted
    from lookless.data.reader import Reading
    from lookless.data.readers.registry import reader as named
    from lookless.frames import Frame
    from lookless.report.terminal import counts_table
    from lookless.vlm.families import load_parts

    if frame is not None and frame not in list(Frame):
        raise ConfigError(f"frame must be one of {', '.join(Frame)}, got {frame!r}")
    if frame == Frame.RESIZED and checkpoint is None:
        raise ConfigError("frame resized must come with --checkpoint, got none; name the model")
    if not path.exists():
        raise ConfigError(f"path must be files that are there, got {str(path)!r}; check it")
    budget = load_parts(checkpoint).chat.budget if checkpoint else None
    source = named(reader)
    options = pairs(option, "option")
    unknown = [name for name in options if name not in source.options]
    if unknown:
        raise ConfigError(
            f"option must be of {', '.join(source.options) or 'none'} for {reader}, got "
            f"{unknown[0]!r}"
        )
    if "images" in options and not Path(options["images"]).is_dir():
        raise ConfigError(f"option images must be a folder, got {options['images']!r}")
    reading = Reading(Frame(frame) if frame else None, budget, options)
    settings = {"validation": validation, "kind": kind, "link": link, "instruction": instruction}
    config = validated(ConvertConfig, settings)
    made = converted(source, path, out, reading, config, bar, resume=resume)
    counts = {name: value for name, value in vars(made).items() if name != "broken"}
    console.print(counts_table(f"{out}", counts))
    print_left_out("rows left out (broken.jsonl lists them)", made.broken)


def validate(
    path: Annotated[Path, DATA],
    headers: Annotated[
        bool, typer.Option("--headers", help="Read the images' headers only, not their pixels.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Check records, images and demonstrations; exit code 2 if anything is wrong."""
    from lookless.data.validate import validate as checked
    from lookless.report.terminal import complaints_table, counts_table

    found = checked(path, silent if as_json else bar, decode=not headers)
    if as_json:
        print(json.dumps(asdict(found), indent=1))
    else:
        counts = {name: getattr(found, name) for name in ("records", "demonstrations", "images")}
        console.print(counts_table(str(path), {**counts, "wrong": found.count}))
        if found.count:
            console.print(complaints_table(found))
    if found.count:
        raise typer.Exit(2)


def dedupe(
    path: Annotated[Path, DATA],
    out: Annotated[
        Path | None,
        typer.Option(
            help="New folder for what is left. Without: only look; exit code 2 if a "
            "benchmark's images are found."
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATH",
            help="A benchmark's files, or a folder of images under any name; can be repeated.",
        ),
    ] = None,
    bits: Annotated[
        int, typer.Option(min=0, max=31, help="Of 256 in which images that look alike may differ.")
    ] = 24,
    flag: Annotated[
        bool, typer.Option("--flag", help="Keep records about a benchmark's images; list them.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Find images that are there twice, or that a benchmark has; leave them out."""
    from lookless.data.dedupe import look_for, write_clean
    from lookless.report.terminal import counts_table, pairs_table

    others = {
        name: benchmark_images(name, Path(place))
        for name, place in pairs(against, "against").items()
    }
    found = look_for(path, others, bits, silent if as_json else bar)
    cleaned = write_clean(path, out, found, flag=flag) if out else None
    if as_json:
        told = asdict(found) | {"unread": sorted(found.unread)}
        print(json.dumps(told | {"cleaned": cleaned and asdict(cleaned)}, indent=1))
    else:
        counts: dict[str, Any] = {
            "records": found.records,
            "images": found.images,
            "unreadable": len(found.unreadable),
            "alike within": sum(pair.benchmark is None for pair in found.pairs),
            **{f"also in {name}": count for name, count in found.by_benchmark.items()},
        }
        console.print(counts_table(str(path), counts))
        if found.pairs:
            console.print(pairs_table(found.pairs))
        if cleaned:
            console.print(counts_table(str(out), asdict(cleaned)))
    if found.contaminated and cleaned is None and not flag:
        raise typer.Exit(2)


def probe(
    path: Annotated[Path, DATA],
    model: Annotated[str, MODEL],
    out: Annotated[Path, NEW],
    samples: Annotated[int, SAMPLES] = 4,
    temperature: Annotated[float, TEMPERATURE] = 0.6,
    seed: Annotated[int, SEED] = 0,
    share: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Wanted share of questions that need a look; without: as they come."
        ),
    ] = None,
    drop_easy: Annotated[
        bool,
        typer.Option("--drop-easy", help="Drop questions that are always right, looking or not."),
    ] = False,
    settings: Annotated[list[str] | None, ANSWERING] = None,
    key_env: Annotated[str | None, KEY] = None,
    yes: Annotated[bool, YES] = False,
    resume: Annotated[bool, RESUME] = False,
) -> None:
    """Measure which questions a model must look for; keep those that RL can use."""
    from lookless.evaluation.run import Keys
    from lookless.report.html import write_report
    from lookless.report.terminal import counts_table, kinds_table
    from lookless.synthesis.run import probe as probed

    config = answering(path, model, samples, temperature, seed, settings)
    keys = Keys(server_key(model, key_env))
    agree(config, yes=yes or resume)
    found = probed(
        out, config, IMAGES.expanduser(), bar, keys,
        share=share, drop_easy=drop_easy, resume=resume,
    )  # fmt: skip
    console.print(kinds_table(found.kinds))
    dropped = {f"dropped, {name}": count for name, count in found.dropped.items()}
    console.print(counts_table(str(out / "questions.jsonl"), {"kept": found.kept, **dropped}))
    if not found.is_balanced:
        console.print("The share was not reached: all questions are of one kind.")
    console.print(counts_table("cost", found.costs))
    console.print(f"report: {write_report(out)}", markup=False, soft_wrap=True)


def export(
    target: Annotated[str, typer.Argument(help="verl, trl or ms-swift.")],
    path: Annotated[Path, typer.Argument(help="Folder of records, demonstrations, or both.")],
    out: Annotated[Path, NEW],
    crop_pixels: Annotated[int, typer.Option(min=1024, help="Of a crop, at most.")] = 1_000_000,
    resume: Annotated[bool, RESUME] = False,
) -> None:
    """Write records and demonstrations in the form of another trainer."""
    from lookless.chat.remote import RemoteChat
    from lookless.data.export import WRITERS
    from lookless.data.export import export as exported
    from lookless.report.terminal import counts_table

    if target not in WRITERS:
        raise ConfigError(f"target must be one of {', '.join(WRITERS)}, got {target!r}")
    made = exported(path, out, target, RemoteChat(), bar, crop_pixels=crop_pixels, resume=resume)
    console.print(counts_table(str(out), {**made.trajectories, **made.questions}))
    print_left_out("left out", made.left_out)


synth = typer.Typer(
    name="synth",
    help="Make demonstrations for SFT: of boxes, of a model's answers, or of its corrections.",
    rich_markup_mode="markdown",
    no_args_is_help=True,
)


@synth.command(
    epilog="Examples:  \n`lookless synth boxes data --out demonstrations`  \n"
    "`lookless synth boxes data --out demonstrations --mix look=0.5 --set grid=25`"
)
def boxes(
    path: Annotated[Path, DATA],
    out: Annotated[Path, NEW],
    mix: Annotated[list[str] | None, MIXTURE] = None,
    phrases: Annotated[
        Path | None, typer.Option(help="TOML file with other words; see docs/data.md.")
    ] = None,
    settings: Annotated[list[str] | None, SET] = None,
    seed: Annotated[int, SEED] = 0,
    resume: Annotated[bool, RESUME] = False,
) -> None:
    """Of boxes: offline, always the same."""
    from lookless.synthesis.boxes import BoxesConfig
    from lookless.synthesis.phrases import read_phrases
    from lookless.synthesis.run import synth_boxes

    chosen: dict[str, Any] = {"seed": seed, "mixture": shares(mix)}
    for text in settings or ():
        override(chosen, text)
    config = validated(BoxesConfig, chosen)
    print_written(out, synth_boxes(path, out, config, read_phrases(phrases), bar, resume=resume))


@synth.command(
    "model",
    epilog="Examples:  \n`lookless synth model data --model runs/sft/checkpoint --out own`  \n"
    "`lookless synth model data --model https://api.openai.com/v1 --set server_model=gpt-5 "
    "--set limit_name=max_completion_tokens --out teacher`",
)
def of_model(
    path: Annotated[Path, DATA],
    model: Annotated[str, MODEL],
    out: Annotated[Path, NEW],
    samples: Annotated[int, SAMPLES] = 4,
    temperature: Annotated[float, TEMPERATURE] = 0.6,
    mix: Annotated[list[str] | None, MIXTURE] = None,
    seed: Annotated[int, SEED] = 0,
    settings: Annotated[list[str] | None, ANSWERING] = None,
    key_env: Annotated[str | None, KEY] = None,
    yes: Annotated[bool, YES] = False,
    resume: Annotated[bool, RESUME] = False,
) -> None:
    """Of a model's own answers, or a teacher's: the shortest right ones, looking and not."""
    from lookless.evaluation.run import Keys
    from lookless.mixture import Mixture
    from lookless.synthesis.run import synth_answers

    config = answering(path, model, samples, temperature, seed, settings)
    keys = Keys(server_key(model, key_env))
    mixture = Mixture(**shares(mix))
    agree(config, yes=yes or resume)
    cache = IMAGES.expanduser()
    print_written(out, synth_answers(out, config, mixture, cache, bar, keys, resume=resume))


@synth.command(
    epilog="Example:  \n`lookless synth corrections data --model http://localhost:8000/v1 "
    "--answers own --out corrections`"
)
def corrections(
    path: Annotated[Path, DATA],
    model: Annotated[str, MODEL],
    out: Annotated[Path, NEW],
    answers: Annotated[
        Path | None,
        typer.Option(
            help="Folder of `synth model` or `probe` on the same questions: where its "
            "right answers looked is the evidence of questions without boxes."
        ),
    ] = None,
    samples: Annotated[int, SAMPLES] = 2,
    temperature: Annotated[float, TEMPERATURE] = 0.6,
    seed: Annotated[int, SEED] = 0,
    settings: Annotated[list[str] | None, ANSWERING] = None,
    key_env: Annotated[str | None, KEY] = None,
    yes: Annotated[bool, YES] = False,
    resume: Annotated[bool, RESUME] = False,
) -> None:
    """Of wrong looks that are put in a model's mouth: it must notice, and look again."""
    from lookless.evaluation.run import Keys
    from lookless.synthesis.run import synth_corrections

    config = answering(path, model, samples, temperature, seed, settings, ("always",))
    keys = Keys(server_key(model, key_env))
    agree(config, yes=yes or resume)
    print_written(out, synth_corrections(out, config, answers, bar, keys, resume=resume))


@synth.command("merge", epilog="Example:  \n`lookless synth merge shown own corrections --out all`")
def merged(
    folders: Annotated[list[Path], typer.Argument(help="Folders with demonstrations.")],
    out: Annotated[Path, NEW],
    resume: Annotated[bool, RESUME] = False,
) -> None:
    """Put the demonstrations of several folders into one."""
    from lookless.synthesis.run import merge

    print_written(out, merge(folders, out, resume=resume))


COMMANDS = (convert, validate, probe, dedupe, export)
EXAMPLES = {
    "convert": "Examples:  \n`lookless convert vqa questions.csv --out data`  \n"
    "`lookless convert vqa boxes.jsonl --frame source --validation 0.1 --out data`  \n"
    "`lookless convert pixel-reasoner-sft PixelReasoner-SFT-Data --out data`",
    "validate": "Examples:  \n`lookless validate data`  \n"
    "`lookless validate data --headers --json`",
    "probe": "Examples:  \n`lookless probe data --model runs/sft/checkpoint --out probed`  \n"
    "`lookless probe data --model http://localhost:8000/v1 --samples 8 --share 0.5 --out probed`",
    "dedupe": "Examples:  \n`lookless dedupe data --against vstar=vstar_bench`  \n"
    "`lookless dedupe data --against vstar=vstar_bench --against mine=photos --out clean`",
    "export": "Examples:  \n`lookless export verl data --out for-verl`  \n"
    "`lookless export ms-swift demonstrations --out for-swift`",
}


def pairs(texts: list[str] | None, name: str) -> dict[str, str]:
    """Return what is said as NAME=VALUE."""
    found = {}
    for text in texts or ():
        key, mark, value = text.partition("=")
        if not (key and mark and value):
            raise ConfigError(f"{name} must be NAME=VALUE, got {text!r}")
        found[key] = value
    return found


def shares(texts: list[str] | None) -> dict[str, Any]:
    """Return the shares of a mixture, checked."""
    from pydantic import TypeAdapter, ValidationError

    from lookless.mixture import Mixture

    chosen: dict[str, Any] = {}
    for text in texts or ():
        override(chosen, text)
    try:
        TypeAdapter(Mixture).validate_python(chosen)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "mix"
        raise ConfigError(f"mix: {name}: {first['msg']}, got {first['input']!r}") from None
    return chosen


def answering(
    path: Path,
    model: str,
    samples: int,
    temperature: float,
    seed: int,
    settings: list[str] | None,
    modes: tuple[str, ...] = ("never", "always"),
) -> Any:
    """Return the settings of answers to the first file of records."""
    from lookless.data.store import record_files
    from lookless.evaluation.config import EvalConfig

    chosen: dict[str, Any] = {
        "benchmark": "own",
        "data": record_files(path)[0],
        "model": model,
        "modes": modes,
        "samples": samples,
        "temperature": temperature,
        "seed": seed,
    }
    for text in settings or ():
        override(chosen, text)
    return validated(EvalConfig, chosen)


def agree(config: Any, *, yes: bool) -> None:
    """Say what answers will cost; of a server ask whether that is right."""
    from lookless.report.terminal import counts_table
    from lookless.synthesis.run import estimate

    console.print(counts_table("cost, about", estimate(config)))
    if config.is_served and not yes and console.is_terminal:
        typer.confirm("Go on?", abort=True)


def benchmark_images(name: str, path: Path) -> list[Path]:
    """Return the images of a benchmark's files, or of a folder."""
    from lookless.benchmarks.own import SUFFIXES
    from lookless.benchmarks.registry import BENCHMARKS
    from lookless.benchmarks.stored import Embedded, unpack
    from lookless.benchmarks.tables import Files

    if name in BENCHMARKS:
        stored = [one for e in BENCHMARKS[name].load(Files(path.resolve())) for one in e.images]
        cache = IMAGES.expanduser()
        files = [unpack(one, cache) if isinstance(one, Embedded) else one for one in stored]
        return list(dict.fromkeys(file for file in files if isinstance(file, Path)))
    if not path.is_dir():
        raise ConfigError(
            f"against must name a benchmark ({', '.join(BENCHMARKS)}) or a folder of images, got "
            f"{name}={str(path)!r}"
        )
    return sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)


def print_left_out(title: str, reasons: Counter[str]) -> None:
    """Print why rows were left out, if any were."""
    from lookless.report.terminal import counts_table

    if reasons:
        console.print(counts_table(title, dict(reasons.most_common())))


def print_written(out: Path, written: Any) -> None:
    """Print what came of a synthesis."""
    from lookless.report.terminal import counts_table

    ways = {f"of these, {name}": count for name, count in sorted(written.looks.items())}
    if not written.demonstrations:
        console.print("[bold]No demonstration was made.[/bold]")
    thinned = {"taken out to keep shares": written.thinned} if written.thinned else {}
    console.print(
        counts_table(str(out), {"demonstrations": written.demonstrations, **ways, **thinned})
    )
    print_left_out("questions left out", +written.left_out)
    if written.costs:
        console.print(counts_table("cost", written.costs))
