"""The comparison of our graders with the public ones, without the public ones."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
GRADERS = ROOT / "bench" / "graders"


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        [sys.executable, script, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copytree(GRADERS, tmp_path / "bench" / "graders")
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "graders.md", tmp_path / "docs")
    return tmp_path


@pytest.fixture
def agreement(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(GRADERS))
    return importlib.import_module("agreement")


@pytest.fixture
def prose(agreement: Any) -> Any:
    return importlib.import_module("prose")


def test_tables_in_the_documentation_are_what_the_graders_read_now() -> None:
    done = run(GRADERS / "compare.py", "--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_changed_judgement_makes_the_tables_stale_until_they_are_written(copied: Path) -> None:
    script, file = (copied / "bench" / "graders" / name for name in ("compare.py", "prose.jsonl"))
    first, *rest = file.read_text().splitlines()
    changed = json.dumps(json.loads(first) | {"right": "D", "why": "no | reason"})
    file.write_text("\n".join([changed, *rest]))
    done = run(script, "--check")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("graders.md must be up to date")
    assert run(script).returncode == 0
    assert "| `A` | D | A ✗ | A ✗ |" in (copied / "docs" / "graders.md").read_text()
    assert run(script, "--check").returncode == 0


def test_an_answer_that_the_public_graders_have_not_read_is_one_line(copied: Path) -> None:
    file = copied / "bench" / "graders" / "prose.jsonl"
    added = {"question": "Which?", "options": ["x", "y"], "answer": "A", "right": "A", "why": "-"}
    file.write_text(f"{file.read_text()}{json.dumps(added)}\n")
    done = run(copied / "bench" / "graders" / "compare.py")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "recorded.jsonl must be of the answers in prose.jsonl" in done.stderr


def test_a_python_without_the_public_graders_is_one_line(copied: Path) -> None:
    for python in (sys.executable, str(copied / "none")):
        done = run(copied / "bench" / "graders" / "compare.py", "--python", python)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1
        assert "make graders" in done.stderr


def test_ours_misreads_nothing_that_was_judged(prose: Any) -> None:
    wrong = [
        (one.answer, one.right, read)
        for one in prose.judged()
        if (read := one.read_by_us()) not in (one.right, None)
    ]
    assert wrong == []


def test_a_judgement_beyond_the_options_is_refused(
    prose: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"question": "Which?", "options": ["x", "y"], "answer": "C", "right": "C", "why": "-"}
    monkeypatch.setattr(prose, "FILE", tmp_path / "prose.jsonl")
    prose.FILE.write_text(json.dumps(row))
    with pytest.raises(prose.DataError, match="line 1: right must be one of A, B or null, got 'C'"):
        prose.judged()
    prose.FILE.write_text(2 * (json.dumps(row | {"right": None}) + "\n"))
    with pytest.raises(prose.DataError, match="each answer must stand there once"):
        prose.judged()


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a | b\nc", "`a \\| b⏎c`"), ("", "(empty)"), ("`x`", "`` `x` ``"), (" B ", "`  B  `")],
)
def test_an_answer_stays_in_its_cell(prose: Any, text: str, shown: str) -> None:
    assert prose.code(text) == shown


def case(answer: str, *references: str) -> dict[str, Any]:
    return {"answer": answer, "references": list(references)}


def test_what_no_deviation_explains_is_a_disagreement(agreement: Any) -> None:
    cases = [case("a", "a"), case(" b ", "b"), case("c", "c")]
    reasons = {" b ": "white space"}
    check = agreement.Check(
        "c", "g", cases, [1.0, 0.5, 0.5], lambda case, *_: reasons.get(case["answer"])
    )
    found = agreement.outcome(check, [1, 0.75, 0.75])
    assert (found.n, found.same, found.deviations) == (3, 1, {"white space": 1})
    assert found.disagreements == [{**cases[2], "ours": 0.5, "theirs": 0.75}]


def test_a_report_is_compared_number_by_number(agreement: Any) -> None:
    ours = [{"overall": 0.5, "fsp": None, "more": 1.0}]
    check = agreement.Check("c", "g", [[]], ours)
    found = agreement.outcome(check, [{"overall": 0.5 + 1e-12, "fsp": 0.0}])
    assert (found.n, found.same) == (2, 1)
    assert found.disagreements == [{"what": "fsp", "ours": None, "theirs": 0.0}]


@pytest.mark.parametrize(
    ("kind", "answer", "reference", "reason"),
    [
        ("anls", "ab", "abc", None),
        ("anls", "naïve 日本", "Naïve", None),
        ("anls", " x", "xy", "white space"),
        ("anls", "ß", "s", "case"),
        ("anls", "", "", "empty answer"),
        ("anls", "x", "$x$", "marked answer"),
        ("relaxed", "1.52", "1.61", None),
        ("relaxed", "5%", "5.1%", None),
        ("relaxed", "yes", "no", None),
        ("relaxed", "1,000", "1000", "thousands"),
        ("relaxed", "5", "$5", "currency"),
        ("relaxed", "5", "5%", "percent"),
        ("relaxed", "0.0", "0", "zero"),
        ("relaxed", "NaN", "nan", "no number"),
        ("relaxed", "1.5295", "1.61", "rounding"),
        ("relaxed", "Yes.", "yes", "same word"),
    ],
)
def test_a_reason_to_differ_is_found_in_the_case_alone(
    agreement: Any, kind: str, answer: str, reference: str, reason: str | None
) -> None:
    assert getattr(agreement, f"_{kind}_reason")(case(answer, reference)) == reason
    assert reason is None or reason in agreement.DEVIATIONS


def test_a_reason_explains_only_its_own_direction(agreement: Any) -> None:
    explained = agreement.explained
    assert explained("thousands", 1.0, 0.0) == "thousands"
    assert explained("thousands", 0.0, 1.0) is None
    assert explained("white space", 0.5, 0.75) == "white space"
    assert explained("white space", 0.75, 0.5) is None
    assert explained("case", 0.75, 0.5) == explained("case", 0.5, 0.75) == "case"
    assert explained(None, 1.0, 0.0) is explained(None, 0.0, 1.0) is None


def test_cases_are_the_same_for_the_same_seed(agreement: Any) -> None:
    first, again = (
        [(c.name, c.grader, c.cases, c.ours) for c in agreement._reports(3)] for _ in range(2)
    )
    assert first == again
