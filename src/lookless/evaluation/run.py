"""An evaluation from settings to results, in a folder that survives being killed.

The folder holds config.json, samples.jsonl with a line for each answer as it came, and in the end
results.json, which is computed from those lines alone, so that an interrupted evaluation ends like
any other. Answers are given in batches whose make-up and seeds depend on the settings only; see
`Journal` for what an interruption leaves.
"""

import json
import resource
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from lookless.benchmarks.benchmark import Benchmark
from lookless.benchmarks.questions import Chosen, read_questions, with_images
from lookless.benchmarks.registry import benchmark
from lookless.episode import Mode, Question, Rollout
from lookless.errors import ConfigError, DataError, ImageError, PolicyError, RunError
from lookless.evaluation.answered import Answered, prediction
from lookless.evaluation.audit import CROPS, Swap, Swapped, auditable, changes, swaps
from lookless.evaluation.config import MODES, EvalConfig
from lookless.evaluation.evaluate import RollOut, answer_batch
from lookless.evaluation.journal import Batch, Journal, is_failed, read_answers
from lookless.evaluation.judging import agreement, check, open_judge
from lookless.evaluation.model import Model, open_model
from lookless.evaluation.protocol import dialect_settings, hash_of, image_hashes, questions_hash
from lookless.evaluation.records import Record, answered_record, question_of
from lookless.evaluation.results import results_of
from lookless.frames import Box, Frame, surroundings
from lookless.grading.judge import Compared, judged
from lookless.grading.verdict import Examiner, Grader
from lookless.images import SourceCache
from lookless.rollout import Limits, rollout
from lookless.runs import Progress, check_folder, open_run, provenance, write_json
from lookless.workers import Workers

SAMPLES, RESULTS, AUDIT, JUDGE = "samples.jsonl", "results.json", "audit.jsonl", "judge.jsonl"
IMAGES = "images.json"
FREE = frozenset({"retries", "concurrency", "timeout_s", "margin"})
"""Settings that change no answer, so that a run can be continued with others; so is the address of
a server, as long as it serves the same model."""
FAILED_IN_A_ROW = 32
"""So many failed answers without a good one among them end an evaluation."""


@dataclass(frozen=True)
class Keys:
    """What servers want to be sent; kept out of every record."""

    server: str | None = None
    judge: str | None = None


def run_eval(
    out: Path,
    config: EvalConfig,
    cache: Path,
    progress: Progress,
    keys: Keys | None = None,
    *,
    resume: bool = False,
) -> Record:
    """Answer, grade and record what `out` does not hold yet; return the content of results.json.

    Args:
        out: Folder of the run: a new one or, with `resume`, one that the same settings began.
        config: The settings.
        cache: Folder for images that come inside tables.
        progress: Shows how far it has come, with a running score.
        keys: For servers.
        resume: Whether to continue.

    Raises:
        LooklessError: If settings, data, model or folder do not fit, or the model answers nothing.
    """
    keys = keys or Keys()
    source = benchmark(config.benchmark)
    check_folder(out, resume=resume)
    chosen = read_questions(
        source, config.data.resolve(), config.selection, is_partial=config.partial
    )
    model = open_model(
        config.model,
        config.temperature,
        config.server(keys.server),
        config.local,
        config.limits,
    )
    with closing(model):
        return _run(out, config, model, source, chosen, cache, progress, keys, resume=resume)


def _run(
    out: Path,
    config: EvalConfig,
    model: Model,
    source: Benchmark,
    chosen: Chosen,
    cache: Path,
    progress: Progress,
    keys: Keys,
    *,
    resume: bool,
) -> Record:
    """Do what `run_eval` does, with a model that is open."""
    data = config.data.resolve()
    with progress("images", len(chosen.questions)) as step:
        chosen = with_images(source, data, chosen, cache, lambda done: step(done, ""))
    if not source.counts:
        check_boxes(chosen.questions)
    if not chosen.questions:
        raise ConfigError(
            f"questions must be about one image each, got {chosen.left_out}; choose others"
        )
    size = config.batch or model.batch
    batches = planned(chosen.questions, config, size)
    judge = config.judge and open_judge(config.judge, config.judge_model, out / JUDGE, keys.judge)
    settings = {
        "model_identity": model.identity,
        "questions_hash": questions_hash(chosen.questions),
    }
    free = FREE | {"model"} if config.is_served else FREE
    open_run(out, {**config.model_dump(mode="json"), **settings}, resume=resume, free=free)
    images = image_hashes(chosen.questions)
    check_images(out, chosen.questions, images)
    grader = judged(source.grade, judge) if judge else source.grade
    threads = config.concurrency if judge else 1
    asker = Asker(model, config.limits(model.limits), grader, threads, config.seed)
    answer_all(out / SAMPLES, batches, asker, progress)
    answered = read_answers(out / SAMPLES, config.modes)
    if judge:
        check(judge, any(a.verdict is not None for part in answered.values() for a in part))
    audited = audit(out / AUDIT, answered, asker, config.audit, size, progress)
    protocol = {
        "benchmark": source.name,
        "questions": questions_hash(chosen.questions, images),
        "samples": config.samples,
        "temperature": config.temperature,
        "seed": config.seed,
        "precision": model.precision,
        "batch": size if model.is_batched and config.temperature > 0 else None,
        "limits": asdict(asker.limits),
        "grader": f"judge {judge.name}" if judge else name_of(source.grade),
        **dialect_settings(model.chat, {mode: MODES[mode] for mode in config.modes}),
        "versions": provenance()["versions"],
    }
    results = {
        "benchmark": source.name,
        "title": source.title,
        "model": {"name": model.name, "identity": model.identity},
        "questions": len(chosen.questions),
        "is_complete": chosen.is_complete,
        "left_out": chosen.left_out,
        "protocol": {"hash": hash_of(protocol), **protocol},
        **results_of(source, answered, config.margin),
        "audit": audited,
        "judge": judge
        and {
            **agreement(_compared(source, answered)),
            "failed": judge.failed,
            "failure": judge.failure,
        },
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    write_json(out / RESULTS, results)
    return results


def check_images(
    out: Path, questions: Sequence[Question], images: Mapping[Path, str | None]
) -> None:
    """Note what the images are; refuse to go on if one that was answered about has changed since.

    One that could not be read may be mended: what was asked about it has failed.

    Raises:
        RunError: If the answers on disk are about other images.
    """
    file = out / IMAGES
    hashes = {question.id: images[question.image] for question in questions}
    if file.exists():
        before = json.loads(file.read_text())
        answered = {
            key[1] for key, row in Journal(out / SAMPLES).rows.items() if not is_failed(row)
        }
        changed = [q for q in questions if q.id in answered and before.get(q.id) != hashes[q.id]]
        if changed:
            raise RunError(
                f"a resumed run must keep its images, got another {str(changed[0].image)!r}; "
                "restore it, or begin again in another folder"
            )
    write_json(file, hashes)


@dataclass(frozen=True)
class Asker:
    """Asks a model and grades what it says."""

    model: Model
    limits: Limits
    grader: Examiner
    threads: int
    """That grade."""
    seed: int
    sources: SourceCache = field(default_factory=SourceCache)
    swaps: Mapping[str, Swap] = field(default_factory=dict)
    """What is shown instead of crops, in some modes."""

    def __call__(self, batch: Batch) -> list[Record]:
        """Return the lines of a batch's answers."""
        answered = answer_batch(
            self._roll_out(batch.mode),
            batch.asked,
            batch.prompt,
            self.sources,
            self.limits,
            self.grader,
            self.threads,
            self.model.concurrency,
        )
        return [{"mode": batch.mode, **answered_record(one)} for one in answered]

    def _roll_out(self, mode: str) -> RollOut:
        """Return what makes the answers in a mode."""
        workers = self.model.workers
        if workers is not None:
            return partial(_by_workers, workers, self.seed)
        policy = self.model.policy(self.seed)
        if mode in self.swaps:
            policy = Swapped(policy, self.swaps[mode])
        return partial(rollout, policy)

    def graded(self, row: Record) -> Record:
        """Return a line with its verdict, if it has none though an answer came."""
        if row["grade"] is not None or is_failed(row) or row["prediction"] is None:
            return row
        verdict = self.grader(question_of(row["question"]), row["prediction"])
        return row if verdict is None else row | {"answer": verdict.answer, "grade": verdict.grade}


def _by_workers(
    workers: Workers,
    seed: int,
    requests: Sequence[tuple[Question, Mode]],
    sources: SourceCache,
    limits: Limits,
    samples: Sequence[int],
) -> list[Rollout]:
    """Return rollouts that are made by workers, which open images themselves."""
    return workers.roll_out([[one] for one in requests], limits, seed, samples=samples)


def planned(questions: Sequence[Question], config: EvalConfig, size: int) -> list[Batch]:
    """Return all batches, mode by mode; a question's samples follow one another.

    Raises:
        ConfigError: If evidence is to be shown, and the data knows none.
    """
    batches = []
    for mode in config.modes:
        shown = list(questions)
        if mode == "oracle":
            shown = [replace(q, region=surroundings(q.boxes)) for q in questions if q.boxes]
            if not shown:
                raise ConfigError(
                    f"mode oracle must have evidence to show, got {config.benchmark} without boxes;"
                    " leave the mode out"
                )
        asked = [(question, sample) for question in shown for sample in range(config.samples)]
        batches += in_batches(mode, MODES[mode], asked, size)
    return batches


def in_batches(
    mode: str, prompt: Mode, asked: Sequence[tuple[Question, int]], size: int
) -> list[Batch]:
    """Return what is asked in one mode, in batches."""
    starts = range(0, len(asked), size)
    return [
        Batch(mode, prompt, k, tuple(asked[start : start + size])) for k, start in enumerate(starts)
    ]


def audit(
    file: Path,
    modes: Mapping[str, Sequence[Answered]],
    asker: Asker,
    most: int,
    size: int,
    progress: Progress,
) -> Record | None:
    """Return the evidence audit of `adaptive`, or else `always`; None if none is asked for."""
    mode = next((name for name in ("adaptive", "always") if name in modes), None)
    if not most or mode is None:
        return None
    audited = auditable(modes[mode], most, asker.seed)
    asked = [(a.question, a.sample) for a in audited]
    asker = replace(asker, swaps=swaps(audited, asker.sources))
    batches = [one for crop in CROPS for one in in_batches(crop, MODES[mode], asked, size)]
    answer_all(file, batches, asker, progress)
    again = read_answers(file, CROPS)
    return {"mode": mode, **{crop: changes(audited, again[crop]) for crop in CROPS}}


def answer_all(file: Path, batches: Sequence[Batch], asker: Asker, progress: Progress) -> None:
    """Bring `file` to one line for each answer; those that it lacks are asked for.

    Raises:
        DataError: If the file holds something else.
        PolicyError: If nothing works any more.
    """
    journal = Journal(file)
    done = journal.done(batches)
    late = [row for old in done.values() if (row := asker.graded(old)) is not old]
    journal.add(late)
    done = journal.done(batches)
    in_a_row = 0
    for mode in dict.fromkeys(batch.mode for batch in batches):
        own = [batch for batch in batches if batch.mode == mode]
        score = _Score()
        score.add([done[key] for batch in own for key in batch.keys if key in done])
        with progress(mode, sum(len(batch.asked) for batch in own)) as step:
            step(score.n, score.note)
            for batch in own:
                rest = batch.without(done)
                if not rest.asked:
                    continue
                rows = asker(rest)
                journal.add(rows)
                score.add(rows)
                step(score.n, score.note)
                has_worked = any(row["rollout"]["stop"] != "fault" for row in rows)
                in_a_row = 0 if has_worked else in_a_row + len(rows)
                if in_a_row >= FAILED_IN_A_ROW or (score.has_failed and batch is own[-1]):
                    said = rows[-1]["rollout"]["turns"][-1]["text"]
                    raise PolicyError(
                        f"at least one of {in_a_row} answers must come, got only faults, the last: "
                        f"{said}; see to it and continue with --resume"
                    )
    journal.close(batches)


def check_boxes(questions: Sequence[Question]) -> None:
    """Refuse evidence that lies outside its image, as far as images can be opened.

    Raises:
        DataError: If a box does.
    """
    sources = SourceCache()
    for question in questions:
        if not question.boxes:
            continue
        try:
            width, height = sources.get(question.image).size
        except ImageError:
            continue  # its questions fail, one by one
        whole = Box(0, 0, width, height, Frame.SOURCE)
        if any(box.intersection(whole).area == 0 for box in question.boxes):
            raise DataError(
                f"question {question.id!r}: boxes must lie in the image of {width}x{height} "
                f"pixels, got {[box.coordinates for box in question.boxes]}; they are left, top, "
                "right, bottom"
            )


def name_of(grader: Grader) -> str:
    """Return where a grader is defined: `grading.multiple_choice.multiple_choice`."""
    return f"{grader.__module__.removeprefix('lookless.')}.{grader.__name__}"


class _Score:
    """The running score of one mode."""

    def __init__(self) -> None:
        self.n = self.decided = self.looked = self.unparsed = self.failed = 0
        self.sum = 0.0

    def add(self, rows: Sequence[Record]) -> None:
        """Count answers."""
        for row in rows:
            self.n += 1
            self.looked += any(look["outcome"] == "executed" for look in row["rollout"]["looks"])
            self.failed += row["rollout"]["stop"] == "fault"
            if row["grade"] is not None:
                self.decided += 1
                self.sum += row["grade"]
                self.unparsed += row["answer"] is None

    @property
    def has_failed(self) -> bool:
        """Whether no answer at all has come."""
        return self.failed == self.n

    @property
    def note(self) -> str:
        """Return the score in words."""
        if not self.n:
            return ""
        accuracy = f"{self.sum / self.decided:.3f}" if self.decided else "-"
        looked = f"{self.looked / ran:.2f}" if (ran := self.n - self.failed) else "-"
        parts = [f"acc {accuracy} look {looked}"]
        parts += [f"unparsed {self.unparsed}"] if self.unparsed else []
        parts += [f"failed {self.failed}"] if self.failed else []
        return " ".join(parts)


def _compared(source: Benchmark, answered: Mapping[str, Sequence[Answered]]) -> list[Compared]:
    """Return what rules and judge say of each answer."""
    return [
        Compared(a.question, text, source.grade(a.question, text), _is_right(a))
        for part in answered.values()
        for a in part
        if (text := prediction(a.rollout)) is not None
    ]


def _is_right(one: Answered) -> bool | None:
    return None if one.grade is None else one.grade >= 0.5
