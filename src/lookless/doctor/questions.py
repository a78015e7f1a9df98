"""Whether RL can ask its questions as they are."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from lookless.benchmarks.benchmark import Benchmark
from lookless.benchmarks.registry import benchmark
from lookless.doctor.finding import (
    Finding,
    Level,
    evenly,
    fault,
    looked_at,
    ok,
    warning,
    with_others,
)  # fmt: skip
from lookless.doctor.model import Subject
from lookless.doctor.pictures import Pictures
from lookless.doctor.plan import Load
from lookless.episode import Mode, Question
from lookless.errors import ImageError
from lookless.frames import View
from lookless.images import SourceCache
from lookless.recipe import Recipe
from lookless.rollout import Limits
from lookless.train import read_all

OFTEN = 10
"""Times that each question may be asked before it is said."""
SHORT = 32
"""Tokens of a refusal, about."""


@dataclass(frozen=True)
class Asked:
    """A question as the model is asked it."""

    question: Question
    prompt: int
    """Tokens of its longest prompt."""
    look: int
    """Tokens that a look adds, its crop shown as large as the whole image."""
    view: int
    """Visual tokens of the overview."""


@dataclass(frozen=True)
class Examined:
    """A file of questions, and what was found in it."""

    findings: list[Finding]
    questions: list[Question]
    load: Load | None
    """What a step brings with it; None if they could not be asked."""


def examine_questions(
    check: str, data: Path, subject: Subject | None, recipe: Recipe, processes: int, cache: Path
) -> Examined:
    """Return what is to be said of a file of questions.

    Args:
        check: What it is called.
        data: File or folder.
        subject: The model that is to be asked; None looks at rows, images and answers only.
        recipe: The settings.
        processes: That train.
        cache: Folder for images that come inside tables.

    Raises:
        DataError: If it cannot be read, a row does not fit, or an image is missing.
    """
    source = benchmark(recipe.data.reader)
    questions = read_all(source, data, cache)
    some = evenly(questions)
    pictures = Pictures([question.image for question in some])
    found = [fault(check, with_others(pictures.faults))] if pictures.faults else []
    good = [question for question in some if question.image in pictures.sizes]
    found += _ungradable(check, source, good)
    load, longest = None, ""
    if subject is not None:
        asked, faults = _asked(subject, recipe, good)
        if faults:
            found.append(fault(check, with_others(faults)))
        found += _lengths(check, asked, recipe)
        if asked:
            load = _load(asked, len(questions) / len(some), pictures, recipe, processes)
            longest = f"; the longest prompt has {max(one.prompt for one in asked)} tokens"
    if not any(one.level is Level.FAULT for one in found):
        found.append(ok(check, looked_at(len(questions), "questions") + longest))
    return Examined(found, questions, load)


def check_repeats(count: int, recipe: Recipe) -> list[Finding]:
    """Return whether few questions are asked again and again."""
    asked = recipe.rl.queries * recipe.rl.steps
    if asked <= OFTEN * count:
        return []
    return [
        warning(
            "questions",
            f"questions must be about as many as rl.queries times rl.steps, {asked}, or each is "
            f"asked {asked / count:.0f} times, got {count}; add questions, or lower rl.steps",
        )
    ]


def check_overlap(questions: Sequence[Question], validation: Sequence[Question]) -> list[Finding]:
    """Return what is in both training and validation."""
    found = []
    ids = {q.id for q in questions} & {q.id for q in validation}
    if ids:
        found.append(
            warning(
                "validation",
                f"validation must not be asked in training, got {len(ids)} ids in both, such as "
                f"{min(ids)!r}; take them out of one, or give each file ids of its own",
            )
        )
    images = _both({q.image for q in questions}, {q.image for q in validation})
    if images:
        found.append(
            warning(
                "validation",
                f"validation must have images of its own, got {len(images)} that training shows "
                f"too, such as {str(min(images))!r}; take their questions out of one",
            )
        )
    return found


def _both(ours: set[Path], theirs: set[Path]) -> set[Path]:
    """Return those of `theirs` that `ours` holds too, under whatever name."""
    by_size: dict[int, set[Path]] = defaultdict(set)
    for file in ours:
        by_size[file.stat().st_size].add(file.resolve())
    found = set()
    for file in theirs:
        alike = by_size.get(file.stat().st_size, set())
        if file.resolve() in alike or (alike and _digest(file) in set(map(_digest, alike))):
            found.add(file)
    return found


def _digest(file: Path) -> bytes:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").digest()


def _ungradable(check: str, source: Benchmark, questions: Sequence[Question]) -> Iterator[Finding]:
    """Yield questions whose own answer earns nothing."""
    wrong = [
        f"question {q.id!r}: its own answer must be graded right, got {q.answer!r}, which is "
        "graded wrong; correct the row"
        for q in questions
        if source.grade(q, f"\\boxed{{{q.answer}}}").grade == 0
    ]
    if wrong:
        yield warning(check, with_others(wrong))


def _asked(
    subject: Subject, recipe: Recipe, questions: Sequence[Question]
) -> tuple[list[Asked], list[str]]:
    """Return questions with their tokens, and why others cannot be asked."""
    chat, sources = subject.chat, SourceCache()
    asked, faults = [], []
    for question in questions:
        source = sources.get(question.image)
        try:
            view: View = (
                source.full_view(chat.budget)
                if question.region is None
                else source.view(question.region, chat.budget)
            )
        except ImageError as error:
            faults.append(f"question {question.id!r}: {error}")
            continue
        prompts = (chat.prompt(view, question.text, mode) for mode in set(recipe.rl.modes))
        longest = max(len(prefix) + len(rest) for prefix, rest in prompts)
        look = len(chat.observation(view))
        asked.append(Asked(question, longest, look, chat.visual_tokens(view)))
    return asked, faults


def _lengths(check: str, asked: Sequence[Asked], recipe: Recipe) -> Iterator[Finding]:
    rl = recipe.rl
    advice = "raise it, or lower pixels.max_pixels or rl.max_turn_tokens"
    long = [one for one in asked if one.prompt + rl.max_turn_tokens > rl.max_context]
    if long:
        worst = max(long, key=lambda one: one.prompt)
        yield fault(
            check,
            f"rl.max_context must hold each prompt and rl.max_turn_tokens, got {rl.max_context} "
            f"for {worst.prompt} + {rl.max_turn_tokens} of question {worst.question.id!r}, and "
            f"{len(long)} too long in all; {advice}",
        )
        return
    may_look = any(mode in (Mode.FORCED, Mode.ADAPTIVE) for mode in rl.modes)
    narrow = [one for one in asked if one.prompt + one.look + rl.max_turn_tokens > rl.max_context]
    if may_look and narrow:
        worst = max(narrow, key=lambda one: one.prompt + one.look)
        yield fault(
            check,
            f"rl.max_context must hold a look, got {rl.max_context} for {worst.prompt} + "
            f"{worst.look} + {rl.max_turn_tokens} of question {worst.question.id!r}, and "
            f"{len(narrow)} that cannot look in all; {advice}",
        )


def _load(
    asked: Sequence[Asked], scale: float, pictures: Pictures, recipe: Recipe, processes: int
) -> Load:
    """Return the load of RL if every turn is as long as it may be."""
    rl = recipe.rl
    prompt, look = max(one.prompt for one in asked), max(one.look for one in asked)
    refusals = Limits().max_refusals
    turns = rl.max_looks + refusals + 1
    longest = prompt + rl.max_looks * look + refusals * SHORT + turns * rl.max_turn_tokens
    usual = median(one.prompt for one in asked) + rl.max_turn_tokens
    return Load(
        rows=-(-rl.queries // processes) * len(rl.modes),
        longest=min(longest, rl.max_context),
        learned=rl.max_turn_tokens / usual,
        seen=median(one.view for one in asked) / usual,
        pictures=round(len(asked) * scale * (1 + len(rl.modes))),
        view=max(one.view for one in asked),
        decoded=pictures.decoded * scale,
        largest=pictures.largest,
    )
