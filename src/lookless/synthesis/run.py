"""Commands that make training data: from questions in a folder of records to files in another."""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lookless.benchmarks.registry import benchmark
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
from lookless.demonstrations import Demonstration, written_demonstration
from lookless.episode import Mode, Question
from lookless.errors import ConfigError
from lookless.evaluation.config import EvalConfig
from lookless.evaluation.journal import read_answers
from lookless.evaluation.model import Model, open_model
from lookless.evaluation.run import SAMPLES, Asker, Keys, answer_all, in_batches, run_eval
from lookless.frames import Box, Frame
from lookless.images import SourceCache
from lookless.mixture import Mixture
from lookless.policies.begun import Begun
from lookless.runs import Progress, open_run, write_json
from lookless.synthesis.answers import choose, costs, shortest_right
from lookless.synthesis.boxes import BoxesConfig, Made, from_boxes
from lookless.synthesis.correction import first_turn, kept, known_places, wrong_looks
from lookless.synthesis.phrases import Phrases
from lookless.synthesis.probe import filtered, kinds, probed, with_need

PROBE, ACCOUNT = "probe.json", "account.json"
CORRECTED = "corrected"


@dataclass
class Written:
    """What a command has made."""

    demonstrations: int = 0
    looks: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
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
    open_run(out, settings | config.model_dump(mode="json"), resume=resume)
    made, written = Made(), Written()
    for file in record_files(data):
        _, asked = read_questions(file)
        with progress(file.stem, len(asked)) as step:
            shown = []
            for one in from_boxes(asked, config, phrases, SourceCache(), made):
                shown.append(one)
                step(len(shown), "")
        if shown:
            _write(out, HELD_OUT if file.stem == VALIDATION else DEMONSTRATIONS, shown)
    written.demonstrations = made.demonstrations
    written.looks, written.left_out = made.looks, made.left_out
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
    run_eval(out, config, cache, progress, keys, resume=resume)
    answered = read_answers(out / SAMPLES, ("always", "never"))
    with closing(_opened(config, keys)) as model:
        chosen = choose(answered["always"], answered["never"], model.chat, mixture, config.seed)
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
    _, asked = read_questions(config.data.resolve())
    looked = (
        shortest_right(read_answers(answers / SAMPLES, ("always",))["always"]) if answers else {}
    )
    places = known_places(asked, looked)
    written = Written()
    written.left_out["no known evidence"] = len(asked) - len(places)
    sources = SourceCache()
    wholes = {
        question.id: Box(0, 0, *sources.get(question.image).size, Frame.SOURCE)
        for question in asked
        if question.id in places
    }
    wrong = wrong_looks(places, wholes, config.seed)
    written.left_out["no room for a wrong look"] = len(places) - len(wrong)
    chosen = [question for question in asked if question.id in wrong]
    if not chosen:
        raise ConfigError(
            "questions must have boxes, or answers that looked (--answers), got none with either; "
            "give answers of `lookless synth model`"
        )
    with closing(_opened(config, keys)) as model:
        settings = {**config.model_dump(mode="json"), "model_identity": model.identity}
        open_run(out, {**settings, "answers": answers and str(answers.resolve())}, resume=resume)
        if model.workers is not None:
            raise ConfigError("corrections must be made without workers, got some; leave them out")
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
    written.demonstrations, written.costs = len(shown), costs(answered)
    written.looks["corrected"] = len(shown)
    write_json(out / ACCOUNT, written.account())
    return written


@dataclass
class ProbeResult:
    """What a probe found."""

    kinds: list[dict[str, Any]]
    """Rows of a table: each category's need."""
    kept: int
    dropped: dict[str, int]
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
    results = run_eval(out, config, cache, progress, keys, resume=resume)
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
        kinds(found.values()), len(chosen.kept), dict(chosen.dropped), costs(answered)
    )
    write_json(out / PROBE, asdict(result))
    return result


def estimate(questions: Sequence[Question], chat: Any, modes: int, samples: int) -> dict[str, int]:
    """Return about what answers will cost, before any is asked for.

    Each answer that must look is taken to look once, and a picture of a part to cost as much as
    that of the whole; half of the answers look.
    """
    sources = SourceCache()
    sizes = {q.image: sources.get(q.image).full_view(chat.budget) for q in questions}
    seen = sum(chat.visual_tokens(sizes[q.image]) for q in questions)
    words = sum(len(q.text) for q in questions) // 4
    answers = len(questions) * modes * samples
    return {
        "answers": answers,
        "requests": round(1.5 * answers),
        "visual_tokens": round(1.5 * seen * modes * samples),
        "text_tokens": 2 * words * modes * samples,
    }


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
    part = out / f"{name}.part"
    with part.open("w", encoding="utf-8") as stream:
        for one in shown:
            kept_image = images.add(one.image)
            moved = one.model_copy(update={"image": out / kept_image.path})
            stream.write(written_demonstration(moved, out))
    part.replace(out / name)


def _write_records(file: Path, records: Sequence[Record], folder: Path, images: ImageStore) -> None:
    writer = RecordWriter(file)
    for record in records:
        kept_image = images.add(folder / record.image)
        writer.add(record.model_copy(update={"image": kept_image.path}))
    writer.close()
