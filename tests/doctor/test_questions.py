import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from doctor.conftest import MakeRecipe, messages, only_fault, rows_of, write_rows
from lookless.doctor.finding import Level
from lookless.doctor.model import Subject
from lookless.doctor.questions import Examined, check_overlap, check_repeats, examine_questions
from lookless.errors import DataError

Look = Callable[..., Examined]


@pytest.fixture
def file(data: Path) -> Path:
    return data / "questions.jsonl"


@pytest.fixture
def examined(data: Path, recipe: MakeRecipe, subject: Subject, tmp_path: Path) -> Look:
    def look(reader: str = "lookworld", at: Path = data, **rl: Any) -> Examined:
        made = recipe(rl=rl, data={"reader": reader})
        return examine_questions("questions", at, subject, made, 1, tmp_path / "cache")

    return look


def test_healthy_file(examined: Look) -> None:
    found = examined()
    [one] = found.findings
    assert one.level is Level.OK
    assert one.message.startswith("6 questions; the longest prompt has ")
    assert found.load is not None
    assert found.load.rows == 4 * 16
    assert found.load.longest < 2048  # no rollout can get longer


def test_ids_that_occur_twice(file: Path, examined: Look) -> None:
    rows = rows_of(file)
    rows[1]["id"] = rows[0]["id"]
    write_rows(file, rows)
    with pytest.raises(DataError, match=r"ids in .* must be distinct"):
        examined()


def test_row_that_does_not_fit(file: Path, examined: Look) -> None:
    rows = rows_of(file)
    rows[3]["boxes"] = "none"
    write_rows(file, rows)
    with pytest.raises(DataError, match=r"'questions.jsonl' row 4: boxes must be"):
        examined()


def test_image_that_is_missing(file: Path, examined: Look) -> None:
    (file.parent / rows_of(file)[0]["image"]).unlink()
    with pytest.raises(DataError, match="image"):
        examined()


def test_image_that_is_damaged(file: Path, examined: Look) -> None:
    (file.parent / rows_of(file)[0]["image"]).write_bytes(b"")
    assert "image must not be empty" in only_fault(examined().findings)


def test_image_that_is_too_elongated(file: Path, examined: Look) -> None:
    rows = rows_of(file)
    Image.new("RGB", (3000, 10)).save(file.parent / "images" / "line.png")
    rows[0]["image"] = "images/line.png"
    write_rows(file, rows)
    assert only_fault(examined().findings) == (
        f"question {rows[0]['id']!r}: an image or region must have an aspect ratio of at most 200, "
        "got 3000x10 pixels; use a less elongated one"
    )


def test_context_that_holds_no_prompt(examined: Look) -> None:
    line = only_fault(examined(max_context=140).findings)
    assert line.startswith("rl.max_context must hold each prompt and rl.max_turn_tokens, got 140 ")
    assert line.endswith(
        "; raise it, or lower pixels.max_pixels or rl.max_turn_tokens"
    )  # fmt: skip


def test_context_that_holds_no_look(examined: Look) -> None:
    line = only_fault(examined(max_context=170).findings)
    assert line.startswith("rl.max_context must hold a look, got 170 for ")
    assert "that cannot look in all" in line


def test_answer_that_its_own_grader_refuses(tmp_path: Path, examined: Look) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    row = {"image": "a.png", "question": "What?", "id": "q", "answer": "..."}
    write_rows(tmp_path / "own.jsonl", [row])
    [said] = messages(examined("own", tmp_path / "own.jsonl").findings, Level.WARNING)
    assert said == (
        "question 'q': its own answer must be graded right, got '...', which is graded wrong; "
        "correct the row"
    )


def test_questions_that_are_asked_again_and_again(recipe: MakeRecipe) -> None:
    made = recipe(rl={"steps": 100, "queries": 24})
    assert check_repeats(240, made) == []
    [one] = check_repeats(100, made)
    assert one.level is Level.WARNING
    assert "or each is asked 24 times, got 100" in one.message


def test_validation_that_is_trained_on(
    examined: Look, data: Path, tmp_path: Path, recipe: MakeRecipe
) -> None:
    """Copies of images under other names count, too."""
    questions = examined().questions
    assert check_overlap(questions[:1], []) == []
    copy = Path(shutil.copytree(data, tmp_path / "copy"))
    rows = [row | {"id": f"v{k}"} for k, row in enumerate(rows_of(copy / "questions.jsonl"))]
    write_rows(copy / "questions.jsonl", rows)
    validation = examined(at=copy).questions
    [one] = check_overlap(questions, validation)
    images = {q.image for q in questions}
    assert f"got {len(images)} that training shows too" in one.message
    for image in copy.glob("images/*"):
        image.write_bytes(image.read_bytes() + b"\0")
    assert check_overlap(questions, validation) == []
