"""Compare our graders with the public ones, and write the tables of docs/graders.md.

    python bench/graders/compare.py --python .venv-graders/bin/python     (or: make graders)
    python bench/graders/compare.py

With `--python`, that of an environment with requirements.txt, all public graders are asked,
agreement is counted, and what they said is kept in recorded.jsonl. Without it that record is taken,
and only ours read the answers in prose again. `--check` writes nothing. Exit code 1: ours differs
where it must not, or, with `--check`, the tables or the record are stale.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agreement import DEVIATIONS, Outcome, checks, outcome
from prose import OURS, Judged, Readings, code, judged, tables

from lookless.cli import mistakes_in_one_line
from lookless.errors import DataError

HERE = Path(__file__).parent
RECORD = HERE / "recorded.jsonl"
PAGE = HERE.parents[1] / "docs" / "graders.md"
BEGIN, END = "<!-- begin: written by bench/graders/compare.py -->", "<!-- end -->"
SEED = 0
SHOWN = 20
"""So many disagreements of a check are printed."""


@dataclass(frozen=True)
class Record:
    """What the public graders said."""

    versions: dict[str, str]
    outcomes: list[Outcome]
    readings: Sequence[tuple[Judged, Readings]]
    """Of the answers in prose, in their order."""

    def as_text(self) -> str:
        """Return it as lines of JSON."""
        lines: list[dict[str, Any]] = [{"versions": self.versions}, *map(asdict, self.outcomes)]
        for one, read in self.readings:
            lines.append({"question": one.question, "answer": one.answer, "read": read})
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def recorded(answers: Sequence[Judged]) -> Record:
    """Return the record as it was kept.

    Raises:
        DataError: If it is of other answers.
    """
    lines = [json.loads(line) for line in RECORD.read_text(encoding="utf-8").splitlines()]
    outcomes = [Outcome(**line) for line in lines if "grader" in line]
    rows = [line for line in lines if "read" in line]
    if [(r["question"], r["answer"]) for r in rows] != [(a.question, a.answer) for a in answers]:
        raise DataError(
            f"{RECORD.name} must be of the answers in prose.jsonl, got a record of others; ask the "
            "public graders again (make graders)"
        )
    readings = [(one, row["read"]) for one, row in zip(answers, rows, strict=True)]
    return Record(lines[0]["versions"], outcomes, readings)


def compare(python: Path, answers: Sequence[Judged]) -> Record:
    """Return what the public graders say now."""
    wanted = list(checks(SEED))
    names = list(dict.fromkeys(name for one in answers for name in one.graders))
    requests = [{"grader": check.grader, "cases": check.cases} for check in wanted]
    for name in names:
        cases = [one.case for one in answers if name in one.graders]
        requests.append({"grader": name, "cases": cases})
    versions, replies = ask(python, requests)
    outcomes = [outcome(check, reply) for check, reply in zip(wanted, replies, strict=False)]
    read = dict(zip(names, map(iter, replies[len(wanted) :]), strict=True))
    readings = [
        (one, {name: one.chosen(next(read[name])) for name in one.graders}) for one in answers
    ]
    return Record(versions, outcomes, readings)


def ask(python: Path, requests: Sequence[dict[str, Any]]) -> tuple[dict[str, str], list[list[Any]]]:
    """Return the versions of the public kits, and the answers to each request.

    Raises:
        DataError: If their environment does not work.
    """
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    with tempfile.TemporaryDirectory() as home:
        try:
            done = subprocess.run(
                [python, HERE / "public.py"],
                input="".join(json.dumps(request) + "\n" for request in requests),
                capture_output=True,
                text=True,
                encoding="utf-8",
                env=kept | {"HOME": home, "HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1"},
            )
        except OSError as error:
            raise DataError(
                f"--python must be a Python with the public graders, got '{python}' ({error}); "
                "make graders sets one up"
            ) from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise DataError(
            f"--python must be able to run the public graders, got {reason!r}; install "
            "bench/graders/requirements.txt there (make graders does)"
        )
    first, *replies = map(json.loads, done.stdout.splitlines())
    return first["versions"], [reply["answers"] for reply in replies]


def written(record: Record) -> str:
    """Return the part of docs/graders.md that is not written by hand."""
    versions = " and ".join(f"{kit} {version}" for kit, version in record.versions.items())
    readings = [(one, {OURS: one.read_by_us(), **read}) for one, read in record.readings]
    parts = [
        BEGIN,
        "## Agreement",
        f"With {versions}; the answers are made from seed {SEED}.",
        _agreement(record.outcomes),
        "### Deliberate deviations",
        _deviations(record.outcomes),
        "## Answers in prose",
        tables(readings),
        END,
    ]
    return "\n\n".join(parts)


def _agreement(outcomes: Sequence[Outcome]) -> str:
    lines = [
        "| what | public grader | compared | same | deliberate | disagreements |",
        "|" + " --- |" * 6,
    ]
    for one in outcomes:
        cells = (one.n, one.same, sum(one.deviations.values()), len(one.disagreements))
        lines.append(f"| {one.name} | {one.grader} | " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _deviations(outcomes: Sequence[Outcome]) -> str:
    lines = [
        "| deviation | why | how often | example: answer | reference | ours | theirs |",
        "|" + " --- |" * 7,
    ]
    for name, why in DEVIATIONS.items():
        found = [one for one in outcomes if name in one.deviations]
        if found:
            often = ", ".join(f"{one.grader} {one.deviations[name]}" for one in found)
            example = found[0].examples[name]
            said = code(example["answer"]) if "answer" in example else example["what"]
            references = ", ".join(map(code, dict.fromkeys(example.get("references", ()))))
            values = " | ".join(_value(example[side]) for side in ("ours", "theirs"))
            lines.append(f"| {name} | {why} | {often} | {said} | {references} | {values} |")
    return "\n".join(lines)


def _value(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", type=Path, help="of the public graders' environment")
    parser.add_argument("--check", action="store_true", help="write nothing: is all up to date?")
    args = parser.parse_args()
    answers = judged()
    record = compare(args.python, answers) if args.python else recorded(answers)
    page = PAGE.read_text(encoding="utf-8")
    head, _, rest = page.partition(BEGIN)
    fresh = {
        PAGE: head + written(record) + rest.partition(END)[2],
        RECORD: record.as_text(),
    }
    stale = [
        path.name
        for path, text in fresh.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if not args.check:
        for path, text in fresh.items():
            path.write_text(text, encoding="utf-8")
    is_wrong = False
    for one in record.outcomes if args.python else ():
        is_wrong |= bool(one.disagreements)
        print(
            f"{one.name}, {one.grader}: {one.same} of {one.n} the same, "
            f"{sum(one.deviations.values())} deliberate, {len(one.disagreements)} not"
        )
        for example in one.disagreements[:SHOWN]:
            print(f"    {json.dumps(example, ensure_ascii=False)}")
    if args.check and stale:
        print(f"{' and '.join(stale)} must be up to date; run the same without --check")
    return int(is_wrong or bool(args.check and stale))


if __name__ == "__main__":
    with mistakes_in_one_line():
        sys.exit(main())
