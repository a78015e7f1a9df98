import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from data.layouts import converted, picture, silent, write_json, write_lines
from lookless.data.validate import kinds_of, validate
from lookless.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for k in range(12):
        picture(tmp_path / f"in/{k}.jpg", k)
    found = [{"image": f"{k}.jpg", "question": "Which?", "answer": str(k)} for k in range(12)]
    file = write_lines(tmp_path / "in/q.jsonl", found)
    converted("vqa", file, tmp_path / "out", validation=0.4)
    return tmp_path / "out"


def edit(file: Path, change: Callable[[dict[str, Any]], None], line: int = 0) -> None:
    lines = file.read_text().splitlines()
    row = json.loads(lines[line])
    change(row)
    lines[line] = json.dumps(row)
    file.write_text("\n".join(lines) + "\n")


def test_what_convert_wrote_is_right(folder: Path) -> None:
    found = validate(folder, silent)
    assert (found.records, found.images, found.count) == (12, 12, 0)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("answer", [], "answer"),
        ("answer", "text", "answer"),
        ("boxes", [[5, 5, 4, 9]], "boxes must be left, top, right, bottom"),
        ("boxes", [[500, 0, 600, 9]], "boxes must be left, top, right, bottom"),
        ("boxes", [[0, 0, float("nan"), 9]], "boxes"),
        ("image", "../secret.jpg", "image must be a file beside or below"),
        ("image", "images/none.jpg", "must be an existing file"),
        ("sha256", "0" * 64, "image must have the hash"),
        ("width", 7, "width and height must be those of the image"),
        ("extra", 1, "extra is no setting"),
        ("id", "", "id"),
        ("options", ["a", "b"], "answer must be one of the options"),
    ],
)
def test_a_wrong_field_is_named_with_its_row(
    name: str, value: Any, said: str, folder: Path
) -> None:
    edit(folder / "questions.jsonl", lambda row: row.update({name: value}), line=2)
    found = validate(folder, silent)
    assert found.count == 1
    assert found.complaints[0].where == "'questions.jsonl' row 3"
    assert said in found.complaints[0].what


def test_an_id_twice_and_an_image_on_both_sides_are_found(folder: Path) -> None:
    lines = (folder / "questions.jsonl").read_text().splitlines()
    held = folder / "validation.jsonl"
    held.write_text(held.read_text() + lines[0] + "\n")
    said = [one.what for one in validate(folder, silent).complaints]
    assert any("id must be distinct" in text for text in said)
    assert any("image must be for training or for validation" in text for text in said)


def test_a_damaged_image_is_found_where_pixels_are_decoded(folder: Path) -> None:
    row = json.loads((folder / "questions.jsonl").read_text().splitlines()[0])
    file = folder / row["image"]
    file.write_bytes(file.read_bytes()[:-200])
    said = validate(folder, silent).complaints[0].what
    assert "readable and undamaged" in said
    assert "hash" in validate(folder, silent, decode=False).complaints[0].what


def test_demonstrations_are_read_too(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    talk = [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "GO"}]
    found = [{"id": str(k), "image": "a.jpg", "conversations": talk} for k in range(2)]
    converted("sharegpt", write_json(tmp_path / "q.json", found), tmp_path / "out")
    assert validate(tmp_path / "out", silent).demonstrations == 2
    file = tmp_path / "out/demonstrations.jsonl"
    edit(file, lambda row: row.update(mode="sideways"))
    edit(file, lambda row: row.update(image="gone.jpg"), line=1)
    said = [one.what for one in validate(tmp_path / "out", silent).complaints]
    assert len(said) == 2
    assert "mode" in said[0]
    assert "existing file" in said[1]


def test_complaints_are_bounded_but_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lookless.data.validate.MOST", 2)
    Image.new("RGB", (9, 9)).save(folder / "other.png")
    file = folder / "questions.jsonl"
    for line in range(len(file.read_text().splitlines())):
        edit(file, lambda row: row.update(image="other.png"), line)
    found = validate(folder, silent)
    assert len(found.complaints) == 2
    assert found.count == len(file.read_text().splitlines())
    assert kinds_of(found.complaints).most_common(1)[0][1] == 2


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lookless convert"):
        validate(tmp_path, silent)
