import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.made import (
    as_text,
    feature,
    golds,
    image_file,
    lines,
    listed,
    loaded,
    metrics,
    parquet,
    picture,
    tsv,
    values,
)
from lookless.benchmarks.own import BENCHMARK
from lookless.benchmarks.stored import Embedded
from lookless.errors import DataError
from lookless.frames import Box, Frame


def row(**more: Any) -> dict[str, Any]:
    return {"image": "pictures/1.png", "question": "Which?", "answer": "red"} | more


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    image_file(tmp_path / "pictures" / "1.png")
    return tmp_path


def test_three_fields_are_enough(folder: Path) -> None:
    file = lines(folder / "questions.jsonl", [row(), row(answer=["red", "crimson"])])
    for path in (file, folder):
        first, second = loaded(BENCHMARK, path)
        assert first.images == (folder / "pictures/1.png",)
        assert (first.question.id, first.question.answer) == ("1", "red")
        assert first.question.text == "Which?\nAnswer with a single word or phrase."
        assert second.question.references == ("red", "crimson")
        assert first.question.unit == second.question.unit == "pictures/1.png"


def test_several_answers_may_be_written_as_text(folder: Path) -> None:
    said = ["['red', 'it''s red']", '["red", "rot"]', "[3, 4]", "7"]
    rows = [row(answer=answer) for answer in said]
    questions = [entry.question for entry in loaded(BENCHMARK, tsv(folder / "t.tsv", rows))]
    assert [q.references for q in questions] == [("red", "its red"), ("red", "rot"), ("[3, 4]",),
                                                 ("7",)]  # fmt: skip


@pytest.mark.parametrize("answer", ["B", "b", "(B)", "blue", " Blue. "])
def test_with_options_the_answer_is_their_letter_or_text(folder: Path, answer: str) -> None:
    file = lines(folder / "q.jsonl", [row(options=["red", "blue"], answer=answer)])
    question = loaded(BENCHMARK, file)[0].question
    assert (question.answer, question.options) == ("B", ("red", "blue"))
    assert question.text == "Which?\nA. red\nB. blue\nAnswer with the option's letter."
    assert BENCHMARK.grade(question, "The answer is B.").grade == 1.0


def test_all_kinds_of_tables_are_read(folder: Path) -> None:
    full = row(id="x", category="colour", options='["red", "blue"]', boxes="[1, 2, 3, 4]")
    tsv(folder / "t.tsv", [full])
    (folder / "c.csv").write_text(
        "id,image,question,answer,A,B,category,boxes\n"
        'x,pictures/1.png,Which?,red,red,blue,colour,"[[1, 2, 3, 4]]"\n'
    )
    listed(folder / "j.json", [full | {"options": ["red", "blue"], "boxes": [[1, 2, 3, 4]]}])
    parquet(folder / "p.parquet", [full | {"options": ["red", "blue"], "image": feature()}])
    for name in ("t.tsv", "c.csv", "j.json", "p.parquet"):
        (entry,) = loaded(BENCHMARK, folder / name)
        question = entry.question
        assert (question.id, question.answer, question.family) == ("x", "A", "colour")
        assert question.boxes == (Box(1, 2, 3, 4, Frame.SOURCE),)


def test_images_with_a_json_beside_each_are_questions(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg"):
        image_file(tmp_path / name)
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"question": name, "answer": "1"}))
    entries = loaded(BENCHMARK, tmp_path)
    assert [(e.question.id, e.images) for e in entries] == [
        ("a", (tmp_path / "a.jpg",)), ("b", (tmp_path / "b.png",))
    ]  # fmt: skip
    for alone in ("c.json", "c.png"):
        (tmp_path / alone).write_text("{}")
        with pytest.raises(DataError, match=f"beside it, got '{alone}' alone"):
            loaded(BENCHMARK, tmp_path)
        (tmp_path / alone).unlink()


@pytest.mark.parametrize("box", [[10, 10, 5, 20], [10, 10, 30, 10]])
def test_boxes_have_an_inside(folder: Path, box: list[int]) -> None:
    file = lines(folder / "q.jsonl", [row(boxes=box)])
    with pytest.raises(DataError, match=r"row 1: boxes must be .*left < right.*not x, y, width"):
        loaded(BENCHMARK, file)


def test_a_small_image_may_be_inside_the_table(tmp_path: Path) -> None:
    dot = io.BytesIO()
    Image.new("RGB", (2, 2)).save(dot, "PNG")
    text = base64.b64encode(dot.getvalue()).decode()
    assert len(text) < 200
    [entry] = loaded(BENCHMARK, lines(tmp_path / "q.jsonl", [row(image=text)]))
    assert isinstance(entry.images[0], Embedded)


def test_an_image_may_be_inside_the_table(tmp_path: Path) -> None:
    inside = [row(image=as_text(picture(k % 2)) + " " * 2000, id=str(k)) for k in range(3)]
    inside = [r | {"image": as_text(picture(int(r["id"]) % 2)).ljust(2000, "=")} for r in inside]
    entries = loaded(BENCHMARK, lines(tmp_path / "q.jsonl", inside))
    units = [e.question.unit for e in entries]
    assert units[0] == units[2] != units[1]


def test_scores_are_by_category_where_there_are_any(folder: Path) -> None:
    file = lines(folder / "q.jsonl", [row(category="a"), row(category="b", answer="K7")])
    entries = loaded(BENCHMARK, file)
    assert set(values(metrics(BENCHMARK, entries, golds(entries))).values()) == {1.0}
    found = values(metrics(BENCHMARK, entries, [r"\boxed{Red}", "no idea"]))
    assert found == {"accuracy": 0.5, "a": 1.0, "b": 0.0}
    plain = loaded(BENCHMARK, lines(folder / "r.jsonl", [row()]))
    assert values(metrics(BENCHMARK, plain, ["red"])) == {"accuracy": 1.0}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image": "pictures/2.png"}, "row 1: image must name a file, got .*2.png"),
        ({"question": ""}, "row 1: question must be filled in"),
        ({"answer": None}, "row 1: answer must be filled in, .*benchmarks.own lists the fields"),
        ({"answer": []}, "row 1: answer must be an answer"),
        ({"options": ["red"]}, "row 1: options must be two to 26 options"),
        ({"options": ["a", "b"], "answer": "C"}, "row 1: answer must be a letter from A to B"),
        ({"boxes": [1, 2, 3]}, "row 1: boxes must be boxes of four numbers"),
    ],
)
def test_a_wrong_row_is_named(folder: Path, change: dict[str, Any], said: str) -> None:
    file = lines(folder / "q.jsonl", [row(**change)])
    with pytest.raises(DataError, match=said):
        loaded(BENCHMARK, file)


def test_a_folder_with_two_tables_or_none_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"must hold one table .* got none in"):
        loaded(BENCHMARK, folder)
    lines(folder / "a.jsonl", [row()])
    lines(folder / "b.jsonl", [row()])
    with pytest.raises(DataError, match=r"got a.jsonl, b.jsonl in .*name the table itself"):
        loaded(BENCHMARK, folder)


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "a\0b.png"])
def test_a_name_that_no_file_can_have_is_one_line(folder: Path, name: str) -> None:
    file = lines(folder / "q.jsonl", [row(image=name)])
    with pytest.raises(DataError, match="row 1: image must name a file"):
        loaded(BENCHMARK, file)
