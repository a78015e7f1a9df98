"""Answers on which our graders must agree with the public ones, and where they differ on purpose.

All are made from one seed. A difference is allowed only where a rule that is written down in
`DEVIATIONS` applies to the answer or its references, and then only in the direction it says.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from lookless.benchmarks import (
    hrbench,
    mmbench,
    mme_realworld_lite,
    mmstar,
    pope,
    treebench,
    vstar,
)
from lookless.benchmarks.benchmark import Benchmark, Graded, lettered
from lookless.episode import Question
from lookless.grading.anls import anls
from lookless.grading.extraction import final_answer, peel
from lookless.grading.multiple_choice import multiple_choice
from lookless.grading.relaxed import relaxed
from lookless.grading.verdict import Grader
from lookless.grading.vqa_accuracy import vqa_accuracy
from lookless.grading.yes_no import yes_no

LETTERS = "ABCDE"
INSTRUCTION = "Answer with the option's letter."
YES_NO_INSTRUCTION = "Answer the question using a single word or phrase."
TOLERANCE = 1e-9

DEVIATIONS = {
    "white space": "Ours unifies white space before it counts characters or compares words; theirs "
    "divide by the length with it, so that padding raises ANLS.",
    "case": "Ours counts the characters that it compares, in lower case; theirs divide by the "
    "length in upper case, which is longer for ß and the like.",
    "empty answer": "Ours gives nothing for no answer; theirs count it as equal to an empty "
    "reference.",
    "marked answer": "Ours grades what is marked as the answer, and accepts a reference also "
    "without the quotes, dollars or asterisks around all of it.",
    "thousands": "1,000 is 1000 for ours; for theirs it is a word.",
    "currency": "$5 is 5 for ours; for theirs it is a word.",
    "rounding": "A difference of exactly 5 % is within it for ours; theirs divide, and then "
    "rounding decides.",
    "zero": "0.0 is 0 for ours; for theirs a reference of zero is a word.",
    "no number": "nan and inf are words for ours; for theirs they are numbers near none.",
    "percent": "5% is 5 for ours where only one of the two has the sign; for theirs it is 0.05.",
    "same word": "Ours compares words without case, final full stops and the amount of white "
    "space; theirs only without case.",
    "contraction": "Ours drops the apostrophe of a contraction, so that all spellings are equal; "
    "theirs add it, and miss some.",
    "marks": "Ours, like the official TextVQA evaluation in lmms-eval, first drops commas and "
    "question marks, parts 's, and drops a full stop behind a digit; VLMEvalKit does not.",
    "yes ratio": "Ours is the share of answers that are yes, as POPE defines it; lmms-eval's is "
    "the share of questions whose right answer is yes.",
    "no yes": "Without a single yes precision and F1 are undefined for ours, and 0 for theirs.",
}
"""Why ours differs on purpose."""


@dataclass(frozen=True)
class Check:
    """A public grader's cases, and what ours says of them."""

    name: str
    grader: str
    """As `public.py` knows it."""
    cases: list[Any]
    ours: list[Any]
    allowed: Callable[[Any, str, Any, Any], str | None] = lambda case, what, ours, theirs: None
    """Returns the deviation that explains why ours differs, or None if nothing does.

    It gets the case, the metric's name if the answer is a report, our answer, and theirs.
    """


@dataclass
class Outcome:
    """How far a public grader agrees."""

    name: str
    grader: str
    n: int = 0
    same: int = 0
    deviations: dict[str, int] = field(default_factory=dict)
    """How often each of `DEVIATIONS` explains the difference."""
    examples: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The shortest example of each deviation."""
    disagreements: list[dict[str, Any]] = field(default_factory=list)
    """All that nothing explains."""


def outcome(check: Check, answers: Sequence[Any]) -> Outcome:
    """Return how far a public grader's answers agree with ours."""
    result = Outcome(check.name, check.grader)
    for case, ours, theirs in zip(check.cases, check.ours, answers, strict=True):
        is_report = isinstance(theirs, dict)
        for what in theirs if is_report else [""]:
            pair = (ours[what], theirs[what]) if is_report else (ours, theirs)
            result.n += 1
            if _is_same(*pair):
                result.same += 1
                continue
            shown = {"what": what} if is_report else dict(case)
            example = shown | {"ours": pair[0], "theirs": pair[1]}
            if reason := check.allowed(case, what, *pair):
                result.deviations[reason] = result.deviations.get(reason, 0) + 1
                known = result.examples.get(reason, example)
                result.examples[reason] = min(known, example, key=_length)
            else:
                result.disagreements.append(example)
    return result


def _length(example: dict[str, Any]) -> int:
    return len(str(example.get("answer", ""))) + len(str(example.get("references", "")))


def _is_same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float) and isinstance(theirs, int | float):
        return math.isclose(ours, theirs, rel_tol=0, abs_tol=TOLERANCE)
    return bool(ours == theirs)


def checks(seed: int) -> Iterator[Check]:
    """Yield all checks."""
    yield from _letters()
    yield from _yes_no()
    anls_cases = list(_anls_cases(random.Random(f"{seed} anls"), 4000))
    relaxed_cases = list(_relaxed_cases(random.Random(f"{seed} relaxed"), 6000))
    vqa_cases = list(_vqa_cases(random.Random(f"{seed} vqa"), 4000))
    for kit in ("lmms", "vlm"):
        vqa_reason = partial(_vqa_reason, has_marks=kit == "vlm")
        yield from _pairs("ANLS", f"{kit} anls", anls, anls_cases, _anls_reason)
        yield from _pairs(
            "relaxed accuracy", f"{kit} relaxed", relaxed, relaxed_cases, _relaxed_reason
        )
        yield from _pairs("VQA accuracy", f"{kit} vqa", vqa_accuracy, vqa_cases, vqa_reason)
    yield from _reports(seed)


# Letters and yes or no.

WRAPPERS = ("{}", "({})", "{}.", "({}).", "{})", "[{}]", "{}:", "{},", " {} ", "{}\n", "\n{}\n\n")
"""Ways to write a bare letter that every public grader reads."""
STATEMENTS = ("The answer is {}.", "The answer is {}", "Option {}", "({}) {}", "{}. {}", "{}) {}")
"""Ways to say a letter, alone or with its text, that every public grader reads."""
OPTION_LISTS = (
    ("red", "blue", "green", "white", "The image does not feature it"),
    ("rubber", "cotton", "kevlar", "leather", "none of these"),
    ("1", "2", "3", "12", "20"),
    ("north", "south", "east", "west", "up"),
    ("12%", "15%", "21%", "51%", "0%"),
    ("on the left", "on the right", "above it", "below it", "behind it"),
    ("the dog", "the owl", "two horses", "nothing", "some people"),
)
LETTER_GRADERS = (
    *("lmms vstar", "lmms mcq", "lmms hrbench", "lmms mme_realworld"),
    *("vlm can_infer", "vlm regex"),
)
FOUR_LETTERS_ONLY = "lmms vstar"
"""The grader that knows no letter E."""


def asked(question: str, options: Sequence[str], answer: str = "") -> Question:
    """Return a question as its benchmark asks it: of multiple choice, or for yes or no."""
    if not options:
        return Question("", Path(), f"{question}\n{YES_NO_INSTRUCTION}", answer)
    text = lettered(question, options, INSTRUCTION)
    return Question("", Path(), text, answer, options=tuple(options))


def by_letter(options: Sequence[str]) -> dict[str, str]:
    """Return options by their letters."""
    return dict(zip(LETTERS, options, strict=False))


def _letters() -> Iterator[Check]:
    for count in (4, 5):
        cases, ours = [], []
        for texts, k in product(OPTION_LISTS, range(count)):
            options = texts[:count]
            for form in (*WRAPPERS, *STATEMENTS):
                answer = form.format(LETTERS[k], options[k])
                cases.append({"answer": answer, "options": by_letter(options)})
                ours.append(multiple_choice(asked("Which?", options), answer).answer)
        for grader in LETTER_GRADERS:
            if count == 4 or grader != FOUR_LETTERS_ONLY:
                yield Check(f"letters A-{LETTERS[count - 1]}", grader, cases, ours)


def _yes_no() -> Iterator[Check]:
    words = ("yes", "no", "Yes", "No", "YES", "NO")
    forms = ("{}", " {} ", "{}\n"), ("{}.", "{}!", "({})", "{}, it is.", "The answer is {}.")
    for grader, wrappers in (("lmms pope", forms[0]), ("vlm yes_no", forms[0] + forms[1])):
        answers = [form.format(word) for form in wrappers for word in words]
        ours = [yes_no(asked("Is there a dog in the image?", ()), one).answer for one in answers]
        yield Check("yes or no", grader, [{"answer": one} for one in answers], ours)


# Pairs of an answer and its references.


STRICTER = frozenset(("white space", "empty answer"))
EITHER_WAY = frozenset(("case", "marked answer", "marks"))
"""All other deviations between pairs only make right what theirs find wrong."""


def _pairs(
    name: str,
    grader: str,
    grade: Grader,
    cases: list[dict[str, Any]],
    reason_of: Callable[[dict[str, Any]], str | None],
) -> Iterator[Check]:
    """Yield the checks of cases without a reason to differ, and of those with one."""

    def allowed(case: Any, what: str, ours: float, theirs: float) -> str | None:
        return explained(reason_of(case), ours, theirs)

    for part, is_clean in (("clean", True), ("the rest", False)):
        chosen = [case for case in cases if (reason_of(case) is None) == is_clean]
        ours = []
        for case in chosen:
            references = tuple(case["references"])
            question = Question("", Path(), "What?", references[0], references=references)
            ours.append(grade(question, case["answer"]).grade)
        yield Check(f"{name}, {part}", grader, chosen, ours, allowed)


def explained(reason: str | None, ours: float, theirs: float) -> str | None:
    """Return a case's reason to differ if ours differs in the direction that it explains."""
    is_fitting = reason in EITHER_WAY or (ours < theirs) == (reason in STRICTER)
    return reason if is_fitting else None


PHRASES = (
    "42%", "$1,200", "New York", "Facebook", "3.5 million", "United States of America", "2010-2015",
    "Jean-Luc Picard", "the Nobel prize", "not mentioned", "7", "no", "A", "12 Mar 1998", "50 km/h",
    "Straße", "İstanbul", "naïve café", "Москва", "東京都", "서울특별시", "🙂 smile", "e = mc²",
    "q&a", "it's", "\"quoted\"", "(see page 4)", "www.example.org/a_b", "1/2", "C₂H₆O", "ﬁne print",
)  # fmt: skip
ALPHABET = "abcdefghijklmnopqrstuvwxyzABCXYZ0123456789  .,-%$/()'\"*_éñüøçğΩжы日本語한국🙂’“–€"  # noqa: RUF001


def _text(rng: random.Random) -> str:
    if rng.random() < 0.6:
        return rng.choice(PHRASES)
    return "".join(rng.choice(ALPHABET) for _ in range(rng.randint(1, 24)))


def _edited(rng: random.Random, text: str, edits: int) -> str:
    characters = list(text)
    for _ in range(edits):
        place = rng.randint(0, len(characters))
        match rng.randrange(4):
            case 0:
                characters.insert(place, rng.choice(ALPHABET))
            case 1:
                characters[place : place + 1] = []
            case 2:
                characters[place : place + 1] = rng.choice(ALPHABET)
            case _:
                characters[place:] = [c.swapcase() for c in characters[place:]]
    return "".join(characters)


def _one_spaced(text: str) -> str:
    return " ".join(text.split())


def _anls_cases(rng: random.Random, count: int) -> Iterator[dict[str, Any]]:
    """Yield answers that are some edits from one of their references; one in ten is padded."""
    for _ in range(count):
        first = _text(rng)
        references = [_one_spaced(first)]
        for _ in range(rng.choice((0, 0, 1, 3))):
            references.append(_one_spaced(_edited(rng, first, rng.randint(0, 4)) or "-"))
        edits = rng.choice((0, 1, 2, 3, len(first) // 2, len(first)))
        answer = _one_spaced(_edited(rng, rng.choice(references), edits))
        if rng.random() < 0.1:
            answer = rng.choice((" {}", "{} ", "{}\n\n", "  {}   ", "\t{}")).format(answer)
        yield {"answer": answer, "references": references}
    yield from ({"answer": "", "references": [one]} for one in ("", "7"))


def _is_marked(case: Any) -> bool:
    answer = case["answer"].strip()
    return peel(final_answer(answer)) != answer or any(
        peel(one) != one.strip() for one in case["references"]
    )


def _anls_reason(case: dict[str, Any]) -> str | None:
    texts = [case["answer"], *case["references"]]
    if not case["answer"].strip():
        return "empty answer"
    if any(len(one.upper()) != len(one.lower()) for one in texts):
        return "case"
    if any(one != _one_spaced(one) for one in texts):
        return "white space"
    return "marked answer" if _is_marked(case) else None


WORDS = (
    "Yes",
    "no",
    "blue",
    "Dark blue",
    "United States",
    "N/A",
    "Q1 2010",
    "5 years",
    "nan",
    "inf",
)


def _number(rng: random.Random) -> float:
    return rng.choice(
        (
            float(rng.randint(0, 20)),
            float(rng.randint(-50, 2500)),
            round(rng.uniform(0, 3), rng.randint(1, 3)),
            round(rng.uniform(0, 1e6), 2),
        )
    )


def _written(rng: random.Random, number: float) -> str:
    plain = f"{number:.10g}"
    forms = (plain,) * 8 + (
        f"{plain}%",
        f"{plain}%",
        f"{number:,.2f}",
        f"${plain}",
        f"€ {plain}",
        f"{plain}.",
        f" {plain} ",
        f"{number:.3e}",
        f"{number:.4f}",
        f"{plain} people",
    )
    return rng.choice(forms)


def _relaxed_cases(rng: random.Random, count: int) -> Iterator[dict[str, Any]]:
    """Yield numbers near the 5 % and exactly there, in many forms, and words."""
    for _ in range(count):
        if rng.random() < 0.2:
            reference = rng.choice(WORDS)
            changed = rng.choice((str.lower, str.upper, str.strip, "{}.".format, " {}".format))
            answer = changed(rng.choice((reference, reference, rng.choice(WORDS))))
        else:
            number = _number(rng)
            factor = rng.choice((1, 1.05, 0.95, rng.uniform(0.9, 1.1), rng.uniform(-1, 3), 100))
            reference = _written(rng, number).strip()
            answer = _written(rng, round(number * factor, 8))
        yield {"answer": answer, "references": [reference]}


def _relaxed_reason(case: dict[str, Any]) -> str | None:
    answer, (reference,) = case["answer"], case["references"]
    both = answer + reference
    if reference.casefold() in ("nan", "inf"):
        return "no number"
    if answer.strip().endswith("%") != reference.endswith("%"):
        return "percent"
    if "," in both:
        return "thousands"
    if "$" in both or "€" in both:
        return "currency"
    try:
        if float(reference.rstrip("%")) == 0:
            return "zero"
    except ValueError:
        pass
    if answer.strip() != answer or answer.endswith(".") or reference.endswith("."):
        return "same word"
    try:
        change = abs(float(answer.rstrip("%")) / float(reference.rstrip("%")) - 1)
    except ValueError:
        return None
    is_edge = math.isclose(change, 0.05, rel_tol=0, abs_tol=TOLERANCE)
    return "rounding" if is_edge else None


VQA_WORDS = (
    "stop", "two", "2", "none", "0", "a stop sign", "the dog", "don't walk", "dont walk", "it's",
    "bob's burgers", "12.5", "7 up", "coca-cola", "coca cola", "1,000", "route 66", "yes/no", "ten",
    "mr. smith", "what?", "rock & roll", "couldn't've", "couldntve", "e-mail@site.com",
    "st. john's", "5.", "no.7", "hello, world", "(left)", "an apple", "\"open\"", "a", "shes",
    "she's", "y'all",
)  # fmt: skip


MARKS = (",", "?", "'s", *(f"{digit}." for digit in range(10)))


def _varied(rng: random.Random, text: str, has_marks: bool) -> str:
    forms: list[Callable[[str], str]] = [
        *((str,) * 6),
        *(str.upper, str.title, "the {}".format, "{}!".format, " {} ".format),
        *("{}\n".format, "({})".format),
    ]
    if has_marks:
        forms += ["{},".format, "{}?".format, "{}.".format]
    return rng.choice(forms)(text)


def _vqa_cases(rng: random.Random, count: int) -> Iterator[dict[str, Any]]:
    """Yield answers with those of ten people, sometimes fewer; a third has marks."""
    unmarked = [word for word in VQA_WORDS if not any(mark in word for mark in MARKS)]
    for _ in range(count):
        has_marks = rng.random() < 1 / 3
        words = VQA_WORDS if has_marks else unmarked
        said = [rng.choice(words) for _ in range(rng.randint(1, 4))]
        people = rng.choice((10, 10, 10, rng.randint(2, 9)))
        references = [_varied(rng, rng.choice(said), has_marks) for _ in range(people)]
        answer = _varied(rng, rng.choice((*said, rng.choice(words))), has_marks)
        yield {"answer": answer, "references": references}


def _vqa_reason(case: dict[str, Any], has_marks: bool) -> str | None:
    texts = [one.lower().strip() for one in (case["answer"], *case["references"])]
    if has_marks and any(mark in text for text in texts for mark in MARKS):
        return "marks"
    words = {word.strip("()!.") for text in texts for word in text.split()}
    is_contraction = any(
        one != other and one.replace("'", "") == other.replace("'", "")
        for one in words
        for other in words
    )
    if is_contraction:
        return "contraction"
    return "marked answer" if final_answer(case["answer"]) != case["answer"].strip() else None


# Reports: the numbers over whole benchmarks.

DATA_SETS = 12
"""Made data sets for each report."""
QUESTIONS = 48
COLOURS = ("red", "blue", "green", "white")


def _reports(seed: int) -> Iterator[Check]:
    for name, graders, bench, make in (
        ("V* Bench", ("lmms vstar", "vlm vstar"), vstar.BENCHMARK, _vstar_rows),
        ("HR-Bench", ("lmms hrbench", "vlm hrbench"), hrbench.BENCHMARK_4K, _hrbench_rows),
        ("MMStar", ("lmms mmstar", "vlm mmstar"), mmstar.BENCHMARK, _mmstar_rows),
        ("MME-RealWorld-Lite", ("lmms mme_realworld",), mme_realworld_lite.BENCHMARK, _mme_rows),
        ("TreeBench", ("vlm treebench",), treebench.BENCHMARK, _treebench_rows),
        ("MMBench", ("vlm mmbench",), mmbench.BENCHMARK, _mmbench_rows),
        ("POPE", ("lmms pope", "vlm pope"), pope.BENCHMARK, _pope_rows),
    ):
        rng = random.Random(f"{seed} {name}")
        cases = [make(rng) for _ in range(DATA_SETS)]
        ours = [_report(bench, rows) for rows in cases]
        for grader in graders:
            yield Check(f"{name}, report", f"{grader} report", cases, ours, _report_deviation)


def _report(bench: Benchmark, rows: list[dict[str, Any]]) -> dict[str, float | None]:
    graded = []
    for row in rows:
        question = Question(
            id=row["id"],
            image=Path(),
            text=asked("Which?", row["options"]).text,
            answer=row["right"],
            family=row["family"],
            kind=row["kind"],
            options=tuple(row["options"]),
            cluster=row["cluster"],
        )
        graded.append(Graded(question, bench.grade(question, row["answer"])))
    return {metric.name: metric.value for metric in bench.score(graded)}


def _report_deviation(case: Any, what: str, ours: Any, theirs: Any) -> str | None:
    if what == "yes_ratio":
        return "yes ratio"
    if ours is None and theirs == 0 and what.endswith(("precision", "f1_score")):
        return "no yes"
    return None


def _row(
    rng: random.Random,
    number: int,
    right: str,
    options: Sequence[str],
    family: str,
    kind: str = "",
    cluster: str = "",
) -> dict[str, Any]:
    """Return a question that is answered right in two of three cases, by a bare letter."""
    said = right if rng.random() < 2 / 3 else rng.choice(LETTERS[: len(options)])
    answer = rng.choice(WRAPPERS).format(said)
    row = {"id": str(number), "answer": answer, "right": right, "options": list(options)}
    return row | {"family": family, "kind": kind, "cluster": cluster}


def _plain_rows(
    rng: random.Random, kinds: Sequence[tuple[str, str]], options: Sequence[str]
) -> list[dict[str, Any]]:
    return [
        _row(rng, n, rng.choice(LETTERS[: len(options)]), options, *rng.choice(kinds))
        for n in range(QUESTIONS)
    ]


def _vstar_rows(rng: random.Random) -> list[dict[str, Any]]:
    return _plain_rows(rng, [(name, "") for name in vstar.CATEGORIES], COLOURS)


def _mmstar_rows(rng: random.Random) -> list[dict[str, Any]]:
    axes = [(name, f"{name}, {k}") for name in mmstar.CATEGORIES for k in range(3)]
    return _plain_rows(rng, axes, COLOURS)


def _mme_rows(rng: random.Random) -> list[dict[str, Any]]:
    kinds = [
        (f"{task}/{subtask}", kind)
        for task in ("Perception", "Reasoning")
        for subtask in ("Remote Sensing", "Monitoring", "Diagram and Table")
        for kind in ("color", "Attribute/count", "attribute/place")
    ]
    return _plain_rows(rng, kinds, OPTION_LISTS[0])


def _treebench_rows(rng: random.Random) -> list[dict[str, Any]]:
    return _plain_rows(rng, [(name, "") for name in treebench.BENCHMARK.counts], COLOURS)


def _rolled(first: int, by: int) -> tuple[str, list[str]]:
    """Return the letter of the option `first` after rolling the options, and the options."""
    options = [*COLOURS[by:], *COLOURS[:by]]
    return LETTERS[options.index(COLOURS[first])], options


def _hrbench_rows(rng: random.Random) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for question in range(QUESTIONS // hrbench.CYCLES):
        family, first = rng.choice(("single", "cross")), rng.randrange(4)
        for cycle in range(hrbench.CYCLES):
            right, options = _rolled(first, cycle)
            rows.append(_row(rng, len(rows), right, options, family, str(cycle), f"{question}"))
    return rows


def _mmbench_rows(rng: random.Random) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for question in range(1, QUESTIONS // 4 + 1):
        family, first = rng.choice(("logic", "relations")), rng.randrange(4)
        for roll in range(4):
            right, options = _rolled(first, roll)
            number = question + roll * mmbench.ROLL
            rows.append(_row(rng, number, right, options, family, cluster=str(question)))
    return rows


def _pope_rows(rng: random.Random) -> list[dict[str, Any]]:
    """Return questions whose answers are bare words; one data set in six has only no."""
    words = ("no", "No") if rng.random() < 1 / 6 else ("yes", "no", "Yes", "No", " yes ", "no\n")
    rows: list[dict[str, Any]] = []
    for n in range(QUESTIONS):
        row = {"id": str(n), "answer": rng.choice(words), "right": rng.choice(("yes", "no"))}
        family = rng.choice(pope.SPLITS)
        rows.append(row | {"options": [], "family": family, "kind": "", "cluster": str(n % 9)})
    return rows
