import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.made import (
    as_text,
    feature,
    golds,
    image_file,
    lines,
    loaded,
    metrics,
    parquet,
    picture,
    tsv,
    values,
    without,
)
from lookless.benchmarks.vstar import BENCHMARK
from lookless.errors import DataError
from lookless.frames import Box, Frame

END = "\nAnswer with the option's letter from the given choices directly."
ASKED = "What is the colour of the (left) kite?"
OPTIONS = ["red (dark)", "blue", "green", "white"]
TEXT = f"{ASKED}\n(A) red (dark)\n(B) blue\n(C) green\n(D) white{END}"


def jsonl_row(name: str, number: int, label: str = "B", text: str = TEXT) -> dict[str, Any]:
    category = name.split("/")[0]
    return {"image": name, "text": text, "category": category, "label": label,
            "question_id": str(number)}  # fmt: skip


def official(folder: Path) -> Path:
    """The folder as the authors distribute it, with parts that are none of the 191."""
    names = ["direct_attributes/sa_1.jpg", "direct_attributes/sa_2.jpg",
             "relative_position/sa_3.jpg"]  # fmt: skip
    for k, name in enumerate([*names, "OCR/sa_4.jpg", "GPT4V-hard/0.JPG"]):
        file = image_file(folder / name, k)
        row = {"target_object": ["kite"], "bbox": [[10, 20, 30, 40]], "question": ASKED,
               "options": [f"The kite is {option}." for option in OPTIONS]}  # fmt: skip
        file.with_suffix(".json").write_text(json.dumps(row))
    two = f"Left or right?\n(A) left\n(B) right{END}"
    rows = [jsonl_row(name, k) for k, name in enumerate(names[:2])]
    lines(folder / "test_questions.jsonl", [*rows, jsonl_row(names[2], 2, "A", two)])
    return folder


def test_the_official_jsonl_has_options_boxes_and_letters(tmp_path: Path) -> None:
    entries = loaded(BENCHMARK, official(tmp_path))
    assert [e.question.id for e in entries] == ["0", "1", "2"]
    first, last = entries[0].question, entries[2].question
    assert first.options == tuple(OPTIONS)
    assert first.text == (
        f"{ASKED}\nA. red (dark)\nB. blue\nC. green\nD. white\nAnswer with the option's letter."
    )
    assert (first.answer, first.family) == ("B", "direct_attributes")
    assert first.boxes == (Box(10, 20, 40, 60, Frame.SOURCE),)
    assert (last.options, last.answer) == (("left", "right"), "A")
    assert entries[0].images == (tmp_path / "direct_attributes/sa_1.jpg",)


def test_without_the_jsonl_options_are_shuffled_the_same_way_each_time(tmp_path: Path) -> None:
    (official(tmp_path) / "test_questions.jsonl").unlink()
    entries = loaded(BENCHMARK, tmp_path)
    assert [e.question.id for e in entries] == [
        "direct_attributes/sa_1", "direct_attributes/sa_2", "relative_position/sa_3"
    ]  # fmt: skip
    for entry in entries:
        question = entry.question
        right = question.options["ABCD".index(question.answer)]
        assert right == "The kite is red (dark)."
    assert loaded(BENCHMARK, tmp_path) == entries


def test_right_letters_of_the_shuffled_form_are_spread(tmp_path: Path) -> None:
    for k in range(40):
        file = image_file(tmp_path / f"direct_attributes/sa_{k}.jpg")
        row = {"bbox": [], "question": "?", "options": OPTIONS}
        file.with_suffix(".json").write_text(json.dumps(row))
    letters = [e.question.answer for e in loaded(BENCHMARK, tmp_path)]
    assert {letters.count(letter) > 3 for letter in "ABCD"} == {True}


def test_other_forms_give_the_same_questions(tmp_path: Path) -> None:
    kit = tsv(tmp_path / "VStarBench.tsv", [
        {"index": 5, "image": as_text(picture()), "question": ASKED,
         **dict(zip("ABCD", OPTIONS, strict=True)), "answer": "B",
         "category": "direct_attributes"},
        {"index": 6, "image": as_text(picture()), "question": "Left or right?", "A": "left",
         "B": "right", "C": "", "D": "", "answer": "A", "category": "relative_position"},
    ])  # fmt: skip
    lab = parquet(tmp_path / "lab.parquet", [
        {"image": feature(), "text": TEXT, "category": "direct_attributes", "label": "B",
         "question_id": "0"},
    ])  # fmt: skip
    other = parquet(tmp_path / "other.parquet", [
        {"image": feature(), "question": ASKED, "choices": OPTIONS, "answer": 1},
    ])  # fmt: skip
    for file, name in ((kit, "5"), (lab, "0"), (other, "0")):
        question = loaded(BENCHMARK, file)[0].question
        assert (question.id, question.options, question.answer) == (name, tuple(OPTIONS), "B")
        assert question.text.startswith(f"{ASKED}\nA. red (dark)\n")
    assert loaded(BENCHMARK, kit)[1].question.options == ("left", "right")


def test_scores_of_gold_and_of_known_answers(tmp_path: Path) -> None:
    entries = loaded(BENCHMARK, official(tmp_path))
    assert set(values(metrics(BENCHMARK, entries, golds(entries))).values()) == {1.0}
    found = values(
        metrics(BENCHMARK, entries, ["B", "Answer: C", "left"])
    )  # 2 of 3, 1 of 2, 1 of 1
    assert found == {"overall": 0.666667, "direct_attributes": 0.5, "relative_position": 1.0}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"label": "E"}, r"row 1: label or answer must be a letter from A to D, got 'E'"),
        ({"text": "Which one?"}, r"row 1: text must be a question with options \(A\), \(B\)"),
        ({"category": "OCR"}, "row 1: category must be one of direct_attributes, relative_pos"),
        ({"image": "direct_attributes/sa_9.jpg"}, "image must name a file, got .*sa_9.jpg"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    official(tmp_path)
    row = jsonl_row("direct_attributes/sa_1.jpg", 0) | changes
    lines(tmp_path / "test_questions.jsonl", [row])
    with pytest.raises(DataError, match=said):
        loaded(BENCHMARK, tmp_path)


def test_a_missing_field_or_folder_is_named(tmp_path: Path) -> None:
    file = lines(tmp_path / "q.jsonl", [without(jsonl_row("direct_attributes/a.jpg", 0), "text")])
    with pytest.raises(DataError, match="text or question must be there, got only image, category"):
        loaded(BENCHMARK, file)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="or folders direct_attributes and relative_position"):
        loaded(BENCHMARK, tmp_path / "empty")


def test_a_damaged_json_beside_an_image_is_named(tmp_path: Path) -> None:
    (official(tmp_path) / "test_questions.jsonl").unlink()
    (tmp_path / "direct_attributes/sa_2.json").write_text('{"question": ')
    with pytest.raises(DataError, match=r"'sa_2.json' must be JSON"):
        loaded(BENCHMARK, tmp_path)
    (tmp_path / "direct_attributes/sa_2.json").write_text('{"question": "?", "options": ["a"]}')
    with pytest.raises(DataError, match=r"'direct_attributes/sa_2.json': options must be at least"):
        loaded(BENCHMARK, tmp_path)
