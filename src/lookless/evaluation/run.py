"""An evaluation from settings to results, in a folder that survives being killed.

The folder holds config.json, samples.jsonl with a line for each answer as it came, and in the end
results.json, which is computed from those lines alone, so that an interrupted evaluation ends like
any other. Answers are given in batches whose make-up and seeds depend on the settings only. A batch
that was cut off is answered again as a whole; answers that failed are asked for again.
"""

import json
import resource
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lookless.benchmarks.benchmark import Benchmark
from lookless.benchmarks.questions import read_questions, with_images
from lookless.benchmarks.registry import benchmark
from lookless.episode import Mode, Question
from lookless.errors import ConfigError, PolicyError
from lookless.evaluation.answered import Answered, prediction
from lookless.evaluation.audit import CROPS, Swap, Swapped, auditable, changes, swaps
from lookless.evaluation.config import MODES, EvalConfig
from lookless.evaluation.evaluate import answer_batch
from lookless.evaluation.judging import agreement, open_judge
from lookless.evaluation.model import Model, Server, open_model
from lookless.evaluation.protocol import dialect_settings, hash_of, protocol_hash
from lookless.evaluation.records import Record, answered_of, answered_record
from lookless.evaluation.results import results_of
from lookless.frames import surroundings
from lookless.grading.judge import Compared, judged
from lookless.grading.verdict import Examiner
from lookless.images import SourceCache
from lookless.rollout import Limits
from lookless.runs import Progress, keep_rows, open_run, plain, provenance, read_jsonl, write_json

SAMPLES, RESULTS, AUDIT, JUDGE = "samples.jsonl", "results.json", "audit.jsonl", "judge.jsonl"
FAILED_IN_A_ROW = 32
"""So many failed answers without a good one among them end an evaluation."""

Key = tuple[str, str, int]
"""Names an answer: mode, question, and which of several answers."""


@dataclass(frozen=True)
class Keys:
    """What servers want to be sent; kept out of every record."""

    server: str | None = None
    judge: str | None = None


@dataclass(frozen=True)
class Batch:
    """Answers that are asked for together."""

    mode: str
    """As results call it."""
    prompt: Mode
    number: int
    asked: tuple[tuple[Question, int], ...]
    """Questions, and which of several answers to each."""

    def key(self, question: Question, sample: int) -> Key:
        """Return the name of one of its answers."""
        return self.mode, question.id, sample

    def without(self, done: Mapping[Key, Record]) -> "Batch":
        """Return what of the batch is still to be asked."""
        return replace(self, asked=tuple(a for a in self.asked if self.key(*a) not in done))


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
    if config.samples > 1 and config.temperature == 0:
        raise ConfigError(
            f"temperature must be above 0 for several samples, got 0 and {config.samples} samples; "
            "without chance they are all the same"
        )
    data = config.data.resolve()
    chosen = read_questions(source, data, config.selection, is_partial=config.partial)
    server = Server(config.server_model, config.server_frame, config.concurrency, keys.server)
    model = open_model(config.model, config.temperature, server)
    limits = config.limits(model.limits)
    settings = {**config.model_dump(mode="json"), "model_identity": model.identity}
    open_run(out, settings, resume=resume)
    with progress("images", len(chosen.questions)) as step:
        chosen = with_images(source, data, chosen, cache, lambda done: step(done, ""))
    if not chosen.questions:
        raise ConfigError(f"questions must be about one image each, got {chosen.left_out}; "
                          "choose others")  # fmt: skip
    judge = config.judge and open_judge(config.judge, config.judge_model, out / JUDGE, keys.judge)
    grader = judged(source.grade, judge) if judge else source.grade
    threads = config.concurrency if judge else 1
    asker = Asker(model, limits, grader, threads, config.seed, config.batch or model.batch)
    answer_all(out / SAMPLES, planned(chosen.questions, config, asker), asker, progress)
    answered = read_answers(out / SAMPLES, config.modes)
    audited = audit(out / AUDIT, answered, asker, config.audit, progress)
    protocol = {
        "benchmark": source.name,
        "questions": protocol_hash(chosen.questions, {}),
        "samples": config.samples,
        "temperature": config.temperature,
        "seed": config.seed,
        "limits": asdict(limits),
        "grader": f"judge {judge.name}" if judge else source.grade.__name__,
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
        "judge": agreement(_compared(source, answered)) if judge else None,
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    write_json(out / RESULTS, results)
    return results


@dataclass(frozen=True)
class Asker:
    """Asks a model and grades what it says."""

    model: Model
    limits: Limits
    grader: Examiner
    threads: int
    """That grade."""
    seed: int
    size: int
    """Of batches."""
    sources: SourceCache = field(default_factory=SourceCache)
    swaps: Mapping[str, Swap] = field(default_factory=dict)
    """What is shown instead of crops, in some modes."""

    def batches(
        self, mode: str, prompt: Mode, asked: Sequence[tuple[Question, int]]
    ) -> list[Batch]:
        """Return what is asked in one mode, in batches."""
        starts = range(0, len(asked), self.size)
        return [
            Batch(mode, prompt, k, tuple(asked[start : start + self.size]))
            for k, start in enumerate(starts)
        ]

    def __call__(self, batch: Batch) -> list[Record]:
        """Return the lines of a batch's answers."""
        own_seed = zlib.crc32(f"{self.seed} {batch.mode} {batch.number}".encode()) >> 1
        policy = self.model.policy(own_seed)
        if batch.mode in self.swaps:
            policy = Swapped(policy, self.swaps[batch.mode])
        answered = answer_batch(
            policy,
            batch.asked,
            batch.prompt,
            self.sources,
            self.limits,
            self.grader,
            self.threads,
        )
        return [{"mode": batch.mode, **answered_record(one)} for one in answered]


def planned(questions: Sequence[Question], config: EvalConfig, asker: Asker) -> list[Batch]:
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
        batches += asker.batches(mode, MODES[mode], asked)
    return batches


def audit(
    file: Path, modes: Mapping[str, Sequence[Answered]], asker: Asker, most: int, progress: Progress
) -> Record | None:
    """Return the evidence audit of `adaptive`, or else `always`; None if none is asked for."""
    mode = next((name for name in ("adaptive", "always") if name in modes), None)
    if not most or mode is None:
        return None
    audited = auditable(modes[mode], most, asker.seed)
    asked = [(a.question, a.sample) for a in audited]
    asker = replace(asker, swaps=swaps(audited, asker.sources))
    batches = [batch for crop in CROPS for batch in asker.batches(crop, MODES[mode], asked)]
    answer_all(file, batches, asker, progress)
    again = read_answers(file, CROPS)
    return {"mode": mode, **{crop: changes(audited, again[crop]) for crop in CROPS}}


def answer_all(file: Path, batches: Sequence[Batch], asker: Asker, progress: Progress) -> None:
    """Append to `file` a line for each answer that it lacks.

    Raises:
        PolicyError: If nothing works any more.
    """
    done = _kept(file, batches)
    in_a_row = 0
    for mode in dict.fromkeys(batch.mode for batch in batches):
        own = [batch for batch in batches if batch.mode == mode]
        score = _Score()
        score.add([done[key] for batch in own for key in _keys(batch) if key in done])
        with progress(mode, sum(len(batch.asked) for batch in own)) as step:
            step(score.n, score.note)
            for batch in own:
                rest = batch.without(done)
                if not rest.asked:
                    continue
                rows = asker(rest)
                with file.open("a") as stream:
                    stream.write("".join(json.dumps(row, default=plain) + "\n" for row in rows))
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


def read_answers(file: Path, modes: Sequence[str]) -> dict[str, list[Answered]]:
    """Return the answers of each mode from a run's records, in the order of its first mode."""
    rows = read_jsonl(file) if file.exists() else []
    found: dict[str, list[Answered]] = {mode: [] for mode in modes}
    for row in rows:
        found[row["mode"]].append(answered_of(row))
    order = {a.question.id: k for k, a in enumerate(found[modes[0]])}
    return {
        mode: sorted(part, key=lambda a: (order.get(a.question.id, 0), a.sample))
        for mode, part in found.items()
    }


def _kept(file: Path, batches: Sequence[Batch]) -> dict[Key, Record]:
    """Return the lines that stay; those of cut batches and of failed answers are taken out."""
    if not file.exists():
        return {}
    rows = {_key_of(row): row for row in read_jsonl(file)}
    whole = {key for b in batches if all(k in rows for k in _keys(b)) for key in _keys(b)}

    def stays(row: Mapping[str, Any]) -> bool:
        return _key_of(row) in whole and row["rollout"]["stop"] != "fault"

    keep_rows(file, stays)
    return {key: row for key, row in rows.items() if stays(row)}


def _key_of(row: Mapping[str, Any]) -> Key:
    return row["mode"], row["question"]["id"], row["sample"]


def _keys(batch: Batch) -> list[Key]:
    return [batch.key(*asked) for asked in batch.asked]


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
        parts = [f"acc {accuracy} look {self.looked / self.n:.2f}"]
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
