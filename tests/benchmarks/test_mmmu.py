from pathlib import Path
from typing import Any

import pytest

from benchmarks import made
from lookless.benchmarks.mmmu import BENCHMARK
from lookless.benchmarks.stored import Embedded
from lookless.errors import DataError


def row(
    id_: str, question: str, options: list[str], answer: str, images: int = 1
) -> dict[str, Any]:
    return {
        "id": id_,
        "question": question,
        "options": str(options),
        "explanation": "",
        **{f"image_{k}": made.feature(k) if k <= images else None for k in range(1, 8)},
        "answer": answer,
        "question_type": "multiple-choice" if options else "open",
        "subfield": "x",
    }


ROWS = [
    row("validation_Music_1", "<image 1> Which key?", ["C", "It's G, or D"], "B"),
    row("validation_Math_2", "Compare <image 2> to <image 1>.", ["<image 3>", "<image 2>"], "A", 3),
    row("validation_Math_3", "What is x in <image 1>?", [], "['24/7', '3.429']"),
    row("validation_Energy_and_Power_4", "What is drawn?", [], "a pump", 2),
]


def hub(folder: Path) -> None:
    for one in ROWS:
        subject = one["id"].split("_", 1)[1].rsplit("_", 1)[0]
        file = folder / subject / "validation-00000-of-00001.parquet"
        made.parquet(file, [r for r in ROWS if subject in r["id"]])


def test_layouts_of_both_hubs_give_the_same_questions(tmp_path: Path) -> None:
    hub(tmp_path / "MMMU")
    made.parquet(tmp_path / "MMMU" / "Music" / "test-00000-of-00001.parquet", ROWS)
    made.parquet(tmp_path / "lmms" / "data" / "validation-00000-of-00001.parquet", ROWS)
    by_subject = [entry.question for entry in made.loaded(BENCHMARK, tmp_path / "MMMU")]
    at_once = [entry.question for entry in made.loaded(BENCHMARK, tmp_path / "lmms")]
    assert len(at_once) == 4
    assert set(by_subject) == set(at_once)


def test_options_are_read_from_text_and_families_from_ids(tmp_path: Path) -> None:
    hub(tmp_path)
    asked = {entry.question.id: entry.question for entry in made.loaded(BENCHMARK, tmp_path)}
    music = asked["validation_Music_1"]
    assert music.text == (
        "<image 1> Which key?\nA. C\nB. It's G, or D\nAnswer with the option's letter."
    )
    assert (music.family, music.kind, music.answer) == ("Art and Design", "Music", "B")
    power = asked["validation_Energy_and_Power_4"]
    assert (power.family, power.kind) == ("Tech and Engineering", "Energy_and_Power")
    assert power.text == "What is drawn?\nAnswer the question using a single word or phrase."
    math = asked["validation_Math_3"]
    assert (math.answer, math.references) == ("24/7", ("24/7", "3.429"))


@pytest.mark.parametrize("with_images", [True, False])
def test_images_come_in_the_order_in_which_they_are_named(
    tmp_path: Path, with_images: bool
) -> None:
    made.parquet(tmp_path / "validation-0.parquet", ROWS)
    entries = made.loaded(BENCHMARK, tmp_path, with_images)
    assert entries[1].question.text == (
        "Compare <image 1> to <image 2>.\nA. <image 3>\nB. <image 1>\n"
        "Answer with the option's letter."
    )
    if with_images:
        shown = [[i.data for i in e.images if isinstance(i, Embedded)] for e in entries]
        assert shown[1] == [made.picture(2), made.picture(1), made.picture(3)]
        assert shown[3] == [made.picture(1), made.picture(2)]  # named nowhere: all there are


def test_gold_answers_score_one(tmp_path: Path) -> None:
    made.parquet(tmp_path / "validation-0.parquet", ROWS)
    entries = made.loaded(BENCHMARK, tmp_path, with_images=False)
    assert set(made.values(made.metrics(BENCHMARK, entries, made.golds(entries))).values()) == {1.0}
    assert BENCHMARK.grade(entries[2].question, "3.429").grade == 1


def test_accuracy_is_over_all_questions_and_by_discipline(tmp_path: Path) -> None:
    made.parquet(tmp_path / "validation-0.parquet", ROWS)
    entries = made.loaded(BENCHMARK, tmp_path, with_images=False)
    # Right are the first and the third; the last merely contains its reference, and the second
    # cannot be read, for which no letter is drawn: 2 of 4, Science 1 of 2.
    texts = ["(B)", "hard to say", "24/7", "not a pump but a fan"]
    found = made.metrics(BENCHMARK, entries, texts)
    assert made.values(found) == {
        "accuracy": 0.5,
        "Art and Design": 1.0,
        "Science": 0.5,
        "Tech and Engineering": 0.0,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "?"}, r"'validation-0.parquet' row 1: answer must be a letter from A to B"),
        ({"options": "C or G"}, "row 1: options must be JSON or a Python list"),
        ({"options": "['C']"}, "row 1: options must be at least two options"),
        ({"question_type": "essay"}, "row 1: question_type must be multiple-choice or open"),
        ({"question": "<image 2>?"}, "row 1: image_2 must be filled in"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, change: dict[str, str], message: str) -> None:
    made.parquet(tmp_path / "validation-0.parquet", [ROWS[0] | change])
    with pytest.raises(DataError, match=message):
        made.loaded(BENCHMARK, tmp_path)


def test_missing_column_and_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data must hold \*/validation-\*\.parquet or"):
        made.loaded(BENCHMARK, tmp_path)
    made.parquet(tmp_path / "validation-0.parquet", [made.without(ROWS[0], "question_type")])
    with pytest.raises(DataError, match="row 1: question_type must be there, got only id"):
        made.loaded(BENCHMARK, tmp_path)


def test_counts_add_up_to_900() -> None:
    assert sum(BENCHMARK.counts.values()) == 900
    assert BENCHMARK.counts["Tech and Engineering"] == 210
