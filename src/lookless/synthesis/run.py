"""Commands that make training data: from questions in a folder of records to files in another."""

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lookless.benchmarks.questions import selected
from lookless.benchmarks.registry import benchmark
from lookless.chat.chatml import ChatML
from lookless.chat.remote import RemoteChat
from lookless.data.questions import read_questions
from lookless.data.record import Record
from lookless.data.store import (
    DEMONSTRATIONS,
    HELD_OUT,
    VALIDATION,
    ImageStore,
    RecordWriter,
    record_files,
)
from lookless.demonstrations import (
    Demonstration,
    read_demonstrations,
    written_demonstration,
)
from lookless.episode import Mode
from lookless.errors import ConfigError, DataError, ImageError, RunError
from lookless.evaluation.config import EvalConfig
from lookless.evaluation.journal import read_answers
from lookless.evaluation.model import SCRIPTED, Model, open_model
from lookless.evaluation.protocol import questions_hash
from lookless.evaluation.run import FREE, SAMPLES, Asker, Keys, answer_all, in_batches, run_eval
from lookless.frames import Box, Frame
from lookless.images import SourceCache
from lookless.mixture import Mixture
from lookless.policies.begun import Begun
from lookless.runs import Progress, check_folder, open_run, whole_file, write_json
from lookless.synthesis.answers import choose, costs, shortest_right
from lookless.synthesis.boxes import BoxesConfig, Made, from_boxes
from lookless.synthesis.correction import first_turn, kept, known_places, wrong_looks
from lookless.synthesis.phrases import Phrases
from lookless.synthesis.probe import filtered, kinds, probed, with_need
from lookless.vlm.families import load_parts
from lookless.vlm.hub import checkpoint_folder

PROBE, ACCOUNT, CHOICE = "probe.json", "account.json", "choice.json"
CORRECTED = "corrected"
CHARACTERS_OF_PROMPT = 900
"""Of what a prompt holds besides the question, about."""


@dataclass
class Written(Made):
    """What a command has made, and what that took."""

    thinned: int = 0
    costs: dict[str, float] = field(default_factory=dict)

    def account(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {name: dict(v) if isinstance(v, dict) else v for name, v in vars(self).items()}


def synth_boxes(
    data: Path,
    out: Path,
    config: BoxesConfig,
    phrases: Phrases,
    progress: Progress,
    *,
    resume: bool = False,
) -> Written:
    """Write demonstrations made of the boxes of records; return what was made.

    Questions of validation become held_out.jsonl. Images become hard links where that is possible.

    Raises:
        DataError: If the data are no records.
        RunError: If `out` exists and may not be continued.
    """
    settings = {"data": str(data.resolve()), "phrases": phrases.model_dump(mode="json")}
    files = record_files(data)
    parts = [(file, read_questions(file)[1]) for file in files]
    open_run(out, settings | config.model_dump(mode="json"), resume=resume)
    written = Written()
    for file, asked in parts:
        with progress(file.stem, len(asked)) as step:
            shown = []
            for one in from_boxes(asked, config, phrases, SourceCache(), written):
                shown.append(one)
                step(len(shown), "")
        if shown:
            _write(out, HELD_OUT if file.stem == VALIDATION else DEMONSTRATIONS, shown)
    return written


def synth_answers(
    out: Path,
    config: EvalConfig,
    mixture: Mixture,
    cache: Path,
    progress: Progress,
    keys: Keys | None = None,
    *,
    resume: bool = False,
) -> Written:
    """Write demonstrations chosen among a model's answers; return what was made.

    `out` is a run like one of `lookless eval` in the modes always and never, with demonstrations
    besides; a finished one of `lookless probe` can be given, with `resume`.

    Raises:
        LooklessError: As `run_eval`.
    """
    choice = {"mixture": vars(mixture)}
    check_choice(out, choice)
    chat = chat_of(config)
    run_eval(out, config, cache, progress, keys, resume=resume)
    write_json(out / CHOICE, choice)
    answered = read_answers(out / SAMPLES, ("always", "never"))
    chosen = choose(answered["always"], answered["never"], chat, mixture, config.seed)
    _write(out, DEMONSTRATIONS, chosen.demonstrations)
    written = Written(
        len(chosen.demonstrations), chosen.looks, chosen.left_out, chosen.thinned, costs(answered)
    )
    write_json(out / ACCOUNT, written.account())
    return written


def synth_corrections(
    out: Path,
    config: EvalConfig,
    answers: Path | None,
    progress: Progress,
    keys: Keys | None = None,
    *,
    resume: bool = False,
) -> Written:
    """Write demonstrations of wrong looks that are noticed; return what was made.

    Args:
        out: A new folder.
        config: Which model, on which questions, and how many answers to each.
        answers: A run of `synth_answers` or `lookless probe` of the same questions: where its right
            answers looked is taken for the evidence of questions that have no boxes.
        progress: Shows how far it has come.
        keys: For servers.
        resume: Whether to continue.

    Raises:
        LooklessError: If settings, data, model or folder do not fit.
    """
    keys = keys or Keys()
    unfit = "judge" if config.judge else "workers" if config.local.workers else None
    if unfit:
        raise ConfigError(f"corrections must be made without {unfit}, got some; leave it out")
    check_folder(out, resume=resume)
    if answers is not None and not (answers / SAMPLES).is_file():
        raise ConfigError(
            f"answers must be a folder of `lookless synth model` or `lookless probe`, got "
            f"{str(answers)!r} without {SAMPLES}; check the path"
        )
    _, every = read_questions(config.data.resolve())
    asked = selected(every, config.selection)
    looked = (
        shortest_right(read_answers(answers / SAMPLES, ("always",))["always"]) if answers else {}
    )
    places = known_places(asked, looked)
    written = Written()
    written.left_out["no known evidence"] = len(asked) - len(places)
    sources = SourceCache()
    wholes = {}
    for question in asked:
        if question.id in places:
            try:
                size = sources.get(question.image).size
            except ImageError:
                written.left_out["image cannot be opened"] += 1
                del places[question.id]
                continue
            wholes[question.id] = Box(0, 0, *size, Frame.SOURCE)
    wrong = wrong_looks(places, wholes, config.seed)
    written.left_out["no room for a wrong look"] = len(places) - len(wrong)
    chosen = [question for question in asked if question.id in wrong]
    if not chosen:
        raise ConfigError(
            "questions must have boxes, or answers that looked (--answers), got none with either; "
            "give answers of `lookless synth model`"
        )
    with closing(_opened(config, keys)) as model:
        settings = {
            **config.model_dump(mode="json"),
            "model_identity": model.identity,
            "questions_hash": questions_hash(chosen),
            "answers": answers and str(answers.resolve()),
        }
        free = FREE | {"model"} if config.is_served else FREE
        open_run(out, settings, resume=resume, free=free)
        first = first_turn(wrong, model.chat, config.seed)
        begun = replace(model, policy=lambda seed: Begun(model.policy(seed), first))
        grader = benchmark(config.benchmark).grade
        limits = config.limits(model.limits)
        asker = Asker(begun, limits, grader, 1, config.seed)
        pairs = [(question, k) for question in chosen for k in range(config.samples)]
        batches = in_batches(CORRECTED, Mode.ADAPTIVE, pairs, config.batch or model.batch)
        answer_all(out / SAMPLES, batches, asker, progress)
        answered = read_answers(out / SAMPLES, (CORRECTED,))
        shown = kept(answered[CORRECTED], model.chat, places)
    written.left_out["not corrected"] = len(chosen) - len(shown)
    _write(out, DEMONSTRATIONS, shown)
    written.demonstrations, written.costs = len(shown), costs(answered, given=1)
    written.looks["corrected"] = len(shown)
    write_json(out / ACCOUNT, written.account())
    return written


def merge(folders: Sequence[Path], out: Path, *, resume: bool = False) -> Written:
    """Write the demonstrations of several folders into one; return how many there are.

    An id that was there before gets a number.

    Raises:
        DataError: If a folder holds none, or a line is wrong.
        RunError: If `out` exists and may not be continued.
    """
    found = [
        (name, folder / name)
        for name in (DEMONSTRATIONS, HELD_OUT)
        for folder in folders
        if (folder / name).is_file()
    ]
    without = [folder for folder in folders if not (folder / DEMONSTRATIONS).is_file()]
    if without:
        raise DataError(
            f"folders must hold {DEMONSTRATIONS}, got {str(without[0])!r} without; leave it out"
        )
    shown = [(name, one) for name, file in found for one in read_demonstrations(file)]
    open_run(out, {"folders": [str(folder.resolve()) for folder in folders]}, resume=resume)
    written = Written()
    ids = {one.id for _, one in shown}
    seen: set[str] = set()
    by_name: dict[str, list[Demonstration]] = {}
    for name, one in shown:
        named, number = one.id, 0
        while named in seen or (number and named in ids):
            number += 1
            named = f"{one.id}-{number}"
        seen.add(named)
        by_name.setdefault(name, []).append(one.model_copy(update={"id": named}))
        written.looks["look" if len(one.turns) > 1 else "none"] += 1
    for name, rows in by_name.items():
        _write(out, name, rows)
        written.demonstrations += len(rows)
    return written


@dataclass
class ProbeResult:
    """What a probe found."""

    kinds: list[dict[str, Any]]
    """Rows of a table: each category's need."""
    kept: int
    dropped: dict[str, int]
    is_balanced: bool
    """Whether the wanted share was reached."""
    costs: dict[str, float]


def probe(
    out: Path,
    config: EvalConfig,
    cache: Path,
    progress: Progress,
    keys: Keys | None = None,
    *,
    share: float | None = None,
    drop_easy: bool = False,
    resume: bool = False,
) -> ProbeResult:
    """Measure the necessity of each question of a file of records; write those that RL can use.

    Writes the run of an evaluation in the modes always and never, probe.json with what was found,
    all.jsonl with every question's need, and questions.jsonl with those that are kept.

    Raises:
        LooklessError: As `run_eval`.
    """
    choice = {"share": share, "drop_easy": drop_easy}
    check_choice(out, choice)
    results = run_eval(out, config, cache, progress, keys, resume=resume)
    write_json(out / CHOICE, choice)
    answered = read_answers(out / SAMPLES, ("always", "never"))
    found = probed(answered["always"], answered["never"])
    chosen = filtered(found, config.seed, share, drop_easy=drop_easy)
    file = config.data.resolve()
    records, _ = read_questions(file)
    known = with_need(records, found, str(results["model"]["name"]))
    images = ImageStore(out, link=True)
    kept_ids = set(chosen.kept)
    _write_records(out / "all.jsonl", known, file.parent, images)
    _write_records(
        out / "questions.jsonl", [r for r in known if r.id in kept_ids], file.parent, images
    )
    result = ProbeResult(
        kinds(found.values()),
        len(chosen.kept),
        dict(chosen.dropped),
        chosen.is_balanced,
        costs(answered),
    )
    write_json(out / PROBE, asdict(result))
    return result


def estimate(config: EvalConfig) -> dict[str, int]:
    """Return about what answers will cost, before any is asked for.

    Each answer that must look is taken to look once, at a picture that costs as much as that of the
    whole image: two requests, of which the second holds both. What the model writes, and requests
    that have to be repeated, come on top. Images that cannot be opened count for nothing.

    Raises:
        DataError: If the data are no records.
    """
    _, every = read_questions(config.data)
    asked = selected(every, config.selection)
    chat, sources = chat_of(config), SourceCache()
    seen: dict[Path, int] = {}
    for question in asked:
        if question.image not in seen:
            try:
                view = sources.get(question.image).full_view(chat.budget)
                seen[question.image] = chat.visual_tokens(view)
            except ImageError:
                seen[question.image] = 0
    requests = {"always": 2, "never": 1}
    pictures = {"always": 3, "never": 1}
    prompt = CHARACTERS_OF_PROMPT * len(asked) + sum(len(question.text) for question in asked)
    images = sum(seen[question.image] for question in asked)
    return {
        "answers": config.samples * len(config.modes) * len(asked),
        "requests": config.samples * len(asked) * sum(requests[mode] for mode in config.modes),
        "visual_tokens": config.samples * images * sum(pictures[mode] for mode in config.modes),
        "prompt_tokens": config.samples * prompt // 4 * sum(requests[m] for m in config.modes),
    }


def chat_of(config: EvalConfig) -> RemoteChat | ChatML:
    """Return the dialect that a model is asked in, without starting it.

    Raises:
        CheckpointError: If a checkpoint's folder is none.
    """
    if config.is_served and config.server_checkpoint is None:
        return RemoteChat(Frame(config.frame))
    if config.model.startswith(SCRIPTED):
        return RemoteChat()
    folder = config.server_checkpoint or checkpoint_folder(config.model)
    return load_parts(folder, config.local.pixels).chat


def check_choice(out: Path, choice: Mapping[str, Any]) -> None:
    """Refuse to make another choice of answers that one was made of already.

    Raises:
        RunError: If there is another one.
    """
    file = out / CHOICE
    if not file.exists():
        return
    made = json.loads(file.read_text())
    other = [name for name, value in choice.items() if made.get(name) != value]
    if other and made.keys() == choice.keys():
        raise RunError(
            f"a resumed run must keep its {other[0]}, got {choice[other[0]]} and before "
            f"{made[other[0]]}; use another folder"
        )


def _opened(config: EvalConfig, keys: Keys | None) -> Model:
    return open_model(
        config.model,
        config.temperature,
        config.server((keys or Keys()).server),
        config.local,
        config.limits,
    )


def _write(out: Path, name: str, shown: Sequence[Demonstration]) -> None:
    """Write demonstrations with their images, as a whole or not at all."""
    images = ImageStore(out, link=True)
    with whole_file(out / name) as stream:
        for one in shown:
            kept_image = images.add(one.image)
            moved = one.model_copy(update={"image": out / kept_image.path})
            stream.write(written_demonstration(moved, out))


def _write_records(file: Path, records: Sequence[Record], folder: Path, images: ImageStore) -> None:
    writer = RecordWriter(file)
    for record in records:
        kept_image = images.add(folder / record.image)
        writer.add(record.model_copy(update={"image": kept_image.path}))
    writer.close()
