import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from doctor.conftest import MakeRecipe, messages, only_fault, rows_of, write_rows
from lookless.demonstrations import read_demonstrations
from lookless.doctor.demonstrations import Examined, check_held_out, examine_demonstrations
from lookless.doctor.finding import Level
from lookless.doctor.model import Subject
from lookless.errors import DataError

Look = Callable[..., Examined]


@pytest.fixture
def file(data: Path) -> Path:
    return data / "demonstrations.jsonl"


@pytest.fixture
def examined(file: Path, recipe: MakeRecipe, subject: Subject) -> Look:
    def look(*, has_model: bool = True, processes: int = 1, **sft: Any) -> Examined:
        known = subject if has_model else None
        return examine_demonstrations("demonstrations", file, known, recipe(sft=sft), processes)

    return look


def with_look(file: Path, box: list[float], frame: str, count: int = 1) -> None:
    """Let the first demonstrations look at a box."""
    rows = rows_of(file)
    for row in rows[:count]:
        row["mode"] = "forced"
        look = {"box": box, "frame": frame}
        row["turns"] = [{"say": "", "look": look}, {"say": "\\boxed{A}"}]
    write_rows(file, rows)


def test_healthy_file(examined: Look) -> None:
    found = examined()
    [one] = found.findings
    assert one.level is Level.OK
    assert one.message.startswith("6 demonstrations; ")
    assert found.load is not None
    assert found.load.longest > 90
    assert 0 < found.load.learned < 1
    assert 0 < found.load.seen < 1


def test_row_that_does_not_fit(file: Path, examined: Look) -> None:
    rows = rows_of(file)
    del rows[2]["question"]
    write_rows(file, rows)
    with pytest.raises(DataError, match=r"line 3: question: Field required"):
        examined()


def test_ids_that_occur_twice(file: Path, examined: Look) -> None:
    rows = rows_of(file)
    rows[1]["id"] = rows[0]["id"]
    write_rows(file, rows)
    with pytest.raises(DataError, match=r"line 2: id must be of one line only"):
        examined()


def test_image_that_is_missing(file: Path, examined: Look) -> None:
    (file.parent / rows_of(file)[0]["image"]).unlink()
    with pytest.raises(DataError, match=r"line 1: image must be a file"):
        examined()


def test_image_that_is_damaged(file: Path, examined: Look) -> None:
    image = file.parent / rows_of(file)[0]["image"]
    image.write_bytes(b"no image")
    for has_model in (True, False):
        line = only_fault(examined(has_model=has_model).findings)
        assert line.startswith(f"image must be one of PNG, JPEG, WEBP, BMP, GIF, TIFF, got '{image}"
                               "' with other or damaged content")  # fmt: skip


def test_look_outside_the_image(file: Path, examined: Look) -> None:
    with_look(file, [2000, 2000, 2100, 2100], "source")
    found = examined().findings
    assert only_fault(found).startswith(
        f"demonstration {rows_of(file)[0]['id']!r}: looks must be such as can be carried out, got "
        "outside for [2000.0, 2000.0, 2100.0, 2100.0] of image 0; correct the box or its frame"
    )
    [said] = messages(found, Level.WARNING)
    assert "box must lie within its image of 1024x1024 in frame source" in said


def test_boxes_of_0_to_1_that_say_they_are_pixels(file: Path, examined: Look) -> None:
    with_look(file, [0.2, 0.2, 0.6, 0.6], "source", count=2)
    found = examined().findings
    assert "got too_small for [0.2, 0.2, 0.6, 0.6]" in only_fault(found)
    assert "(and 1 more like it)" in only_fault(found)
    assert messages(found, Level.WARNING) == [
        "boxes in frame source must be as large as their images, got none above 0.6 in 2; say "
        "frame unit if that is what they are in"
    ]


def test_thousandths_that_say_they_are_pixels(file: Path, examined: Look) -> None:
    """Nothing fails: every box is on its image, and beside what was meant."""
    Image.new("RGB", (4000, 3000), "navy").save(file.parent / "large.png")
    rows = [
        {
            "id": str(k),
            "image": "large.png",
            "question": "What?",
            "turns": [
                {"say": "", "look": {"box": [10 * k, 200, 700, 900], "frame": "source"}},
                {"say": "\\boxed{A}"},
            ],
        }
        for k in range(8)
    ]
    write_rows(file, rows)
    found = examined().findings
    assert messages(found, Level.FAULT) == []
    assert messages(found, Level.WARNING) == [
        "boxes in frame source must be as large as their images, got none above 900 in 8; say "
        "frame permille if that is what they are in"
    ]


def test_context_that_is_too_small(examined: Look, file: Path) -> None:
    line = only_fault(examined(max_context=90).findings)
    assert line.startswith("sft.max_context must hold the longest demonstration, got 90 for the ")
    assert line.endswith("; raise it, or lower pixels.max_pixels")


def test_fewer_than_processes(examined: Look) -> None:
    assert only_fault(examined(processes=8).findings) == (
        "demonstrations must be one for each of 8 processes, got 6; add some, or start fewer"
    )


def test_long_files_are_sampled(file: Path, examined: Look) -> None:
    row = json.dumps(rows_of(file)[0])
    rows = [json.loads(row) | {"id": str(k)} for k in range(2100)]
    write_rows(file, rows)
    found = examined(has_model=False)
    [one] = found.findings
    assert one.message.startswith("2100 demonstrations, of which 2000 were looked at; ")
    assert len(found.demonstrations) == 2100


def test_held_out_demonstrations_that_are_learned_from(file: Path) -> None:
    shown = read_demonstrations(file)
    assert check_held_out(shown[:3], shown[3:]) == []
    [one] = check_held_out(shown[:3], shown[2:])
    assert one.level is Level.WARNING
    assert f"got 1 ids in both, such as {shown[2].id!r}" in one.message
