from pathlib import Path
from typing import Any

import pytest

from benchmarks import made
from lookless.benchmarks.visualprobe import EASY, HARD, MEDIUM
from lookless.errors import DataError


def row(index: int, image: str, solution: str) -> dict[str, Any]:
    return {
        "doc_id": index,
        "images": [f"VisualProbe_Hard/data/{image}"],
        "problem": f"<image>\nWhat is written on door {index}?",
        "solution": solution,
        "data_source": "VisualProbe_Hard",
    }


ROWS = [row(0, "x.jpg", "Harbour 7"), row(1, "x.jpg", "closed"), row(2, "y.jpg", "42")]


@pytest.mark.parametrize("folder", ["VisualProbe_Hard", "renamed"])
def test_images_are_found_whatever_the_folder_is_called(tmp_path: Path, folder: str) -> None:
    made.listed(tmp_path / folder / "val.json", ROWS)
    files = [made.image_file(tmp_path / folder / "data" / name) for name in ("x.jpg", "y.jpg")]
    entries = made.loaded(HARD, tmp_path / folder)
    assert [entry.images[0] for entry in entries] == [files[0], files[0], files[1]]
    first = entries[0].question
    assert first.text == (
        "What is written on door 0?\nAnswer the question using a single word or phrase."
    )
    assert (first.id, first.answer, first.family) == ("0", "Harbour 7", "hard")
    assert first.cluster == entries[1].question.cluster != entries[2].question.cluster


def test_folder_above_will_do(tmp_path: Path) -> None:
    made.listed(tmp_path / "VisualProbe_Hard" / "val.json", ROWS)
    made.image_file(tmp_path / "VisualProbe_Hard" / "data" / "x.jpg")
    made.image_file(tmp_path / "VisualProbe_Hard" / "data" / "y.jpg")
    assert len(made.loaded(HARD, tmp_path)) == 3
    with pytest.raises(DataError, match=r"VisualProbe_Easy/val\.json"):
        made.loaded(EASY, tmp_path)


def test_gold_answers_score_one_and_others_do_not(tmp_path: Path) -> None:
    made.listed(tmp_path / "val.json", ROWS)
    entries = made.loaded(HARD, tmp_path, with_images=False)
    assert made.values(made.metrics(HARD, entries, made.golds(entries))) == {"accuracy": 1.0}
    # Right are the first answer and the third: 2 of 3.
    found = made.metrics(HARD, entries, ["harbour 7", "not closed", "42."])
    assert made.values(found) == {"accuracy": 0.666667}
    assert (found["accuracy"].n, found["accuracy"].clusters) == (3, 2)


def test_several_answers_to_a_question_are_averaged(tmp_path: Path) -> None:
    made.listed(tmp_path / "val.json", ROWS[:2])
    entries = made.loaded(HARD, tmp_path, with_images=False)
    # Avg@2: the first question is right once, the second twice: (1 + 2) / 4.
    found = made.metrics(HARD, entries, ["Harbour 7", "?", "closed", "closed"], samples=2)
    assert made.values(found) == {"accuracy": 0.75}
    assert found["accuracy"].n == 2


def test_levels_differ_in_size_and_home() -> None:
    counts = [dict(level.counts) for level in (EASY, MEDIUM, HARD)]
    assert counts == [{"easy": 141}, {"medium": 268}, {"hard": 106}]
    assert HARD.home == "Mini-o3/VisualProbe_Hard"


def test_missing_image_is_named(tmp_path: Path) -> None:
    made.listed(tmp_path / "val.json", ROWS)
    with pytest.raises(DataError, match=r"row 1: images must name a file, got .*x\.jpg"):
        made.loaded(HARD, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": []}, "row 1: images must be a list of one image, got"),
        ({"images": "x.jpg"}, "row 1: images must be JSON or a Python list"),
        ({"solution": ""}, "row 1: solution must be filled in"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    made.listed(tmp_path / "val.json", [ROWS[0] | change])
    with pytest.raises(DataError, match=message):
        made.loaded(HARD, tmp_path, with_images=False)


def test_truncated_json_is_named(tmp_path: Path) -> None:
    file = made.listed(tmp_path / "val.json", ROWS)
    file.write_text(file.read_text()[:-9])
    with pytest.raises(DataError, match=r"'val.json' must be JSON, got .*; download"):
        made.loaded(HARD, tmp_path)
