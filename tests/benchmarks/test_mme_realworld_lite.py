from pathlib import Path
from typing import Any

import pytest

from benchmarks import made
from lookless.benchmarks.mme_realworld_lite import BENCHMARK
from lookless.benchmarks.stored import Embedded
from lookless.errors import DataError

OCR = "Perception/OCR with Complex Context"
SENSING = "Perception/Remote Sensing"
DRIVING = "Reasoning/Autonomous_Driving"


def options(first: str) -> list[str]:
    rest = ["blue", "green", "white", "The image does not feature it."]
    return [f"({letter}) {text}" for letter, text in zip("ABCDE", [first, *rest], strict=True)]


def table_row(index: int, family: str, answer: str, shade: int = 0) -> dict[str, Any]:
    return {
        "index": index,
        "question": f"What colour is sign {index}?",
        "multi-choice options": str(options("red")),
        "answer": answer,
        "category": family,
        "l2-category": "sign/Colour attribute",
        "image": made.as_text(made.picture(shade)),
    }


def json_row(index: int, family: str, answer: str) -> dict[str, Any]:
    task, subtask = family.split("/")
    return {
        "Question_id": f"q/{index}",
        "Image": f"{index}.png",
        "Text": f"What colour is sign {index}?",
        "Question Type": "Multiple Choice",
        "Answer choices": options("red"),
        "Ground truth": answer,
        "Category": "sign/Colour attribute",
        "Subtask": subtask,
        "Task": task,
    }


ASKED = [(0, OCR, "A"), (1, OCR, "B"), (2, SENSING, "E"), (3, DRIVING, "C")]


def test_tsv_becomes_lettered_questions(tmp_path: Path) -> None:
    table = made.tsv(tmp_path / "mme_realworld_lite.tsv", [table_row(*one) for one in ASKED])
    entry = made.loaded(BENCHMARK, tmp_path)[2]
    asked = entry.question
    assert asked.id == "2"
    assert asked.text == (
        "What colour is sign 2?\nA. red\nB. blue\nC. green\nD. white\n"
        "E. The image does not feature it.\nAnswer with the option's letter."
    )
    assert (asked.answer, asked.family, asked.kind) == ("E", SENSING, "sign/attribute")
    assert (asked.choices, asked.options[0]) == (5, "red")
    assert entry.images == (Embedded(made.as_text(made.picture()), f"{table.name!r} row 3: bytes"),)


def test_parquet_holds_images_as_base64_in_bytes(tmp_path: Path) -> None:
    rows = []
    for one in ASKED:
        row = table_row(*one)
        row |= {"bytes": row.pop("image"), "multi-choice options": options("red")}
        rows.append(row)
    made.parquet(tmp_path / "data" / "train-00000-of-00001.parquet", rows)
    entries = made.loaded(BENCHMARK, tmp_path)
    assert [entry.question.answer for entry in entries] == ["A", "B", "E", "C"]
    assert isinstance(entries[0].images[0], Embedded)


def test_json_names_its_images_and_family(tmp_path: Path) -> None:
    made.listed(tmp_path / "MME-RealWorld-Lite.json", [json_row(*one) for one in ASKED])
    files = [made.image_file(tmp_path / "imgs" / f"{k}.png") for k in range(4)]
    entries = made.loaded(BENCHMARK, tmp_path)
    assert [entry.images for entry in entries] == [(file,) for file in files]
    assert entries[0].question.id == "q/0"
    assert entries[3].question.family == DRIVING
    assert entries[3].question.cluster == "3.png"


@pytest.mark.parametrize("with_images", [True, False])
def test_questions_about_one_image_are_one_cluster(tmp_path: Path, with_images: bool) -> None:
    rows = [table_row(0, OCR, "A", 1), table_row(1, OCR, "A", 2), table_row(2, OCR, "A", 1)]
    made.tsv(tmp_path / "mme_realworld_lite.tsv", rows)
    entries = made.loaded(BENCHMARK, tmp_path, with_images)
    first, second, third = (entry.question.cluster for entry in entries)
    assert first == third != second


def test_gold_answers_score_one(tmp_path: Path) -> None:
    made.tsv(tmp_path / "mme_realworld_lite.tsv", [table_row(*one) for one in ASKED])
    entries = made.loaded(BENCHMARK, tmp_path)
    assert set(made.values(made.metrics(BENCHMARK, entries, made.golds(entries))).values()) == {1.0}


def test_average_weighs_answers_and_average_c_subtasks(tmp_path: Path) -> None:
    made.tsv(tmp_path / "mme_realworld_lite.tsv", [table_row(*one) for one in ASKED])
    entries = made.loaded(BENCHMARK, tmp_path)
    found = made.metrics(BENCHMARK, entries, ["A", "C", "(E)", ""])
    # Right: OCR 1 of 2, Sensing 1 of 1, Driving 0 of 1, whose empty answer is not read as A.
    # All: 2/4, over subtasks (1/2 + 1 + 0)/3 = 1/2. Perception: 2/3, over subtasks (1/2 + 1)/2.
    assert made.values(found) == {
        "average": 0.5,
        "average_c": 0.5,
        "Perception": 0.666667,
        "Perception/average_c": 0.75,
        OCR: 0.5,
        SENSING: 1.0,
        "Reasoning": 0.0,
        "Reasoning/average_c": 0.0,
        DRIVING: 0.0,
    }
    assert next(iter(found)) == "average"
    assert (found["average"].n, found["average"].clusters) == (4, 1)


def test_wrong_files_are_named(tmp_path: Path) -> None:
    name = tmp_path / "mme_realworld_lite.tsv"
    base = table_row(*ASKED[0])
    for row, message in [
        (made.without(base, "l2-category"), "row 1: Category or l2-category must be there"),
        (base | {"answer": "F"}, "row 1: Ground truth or answer must be a letter from A to E"),
        (base | {"multi-choice options": "['(A) red']"}, "must be five options from"),
    ]:
        made.tsv(name, [row])
        with pytest.raises(DataError, match=message):
            made.loaded(BENCHMARK, tmp_path)


def test_missing_image_file_is_named(tmp_path: Path) -> None:
    made.listed(tmp_path / "MME-RealWorld-Lite.json", [json_row(*ASKED[0])])
    with pytest.raises(DataError, match=r"row 1: Image must name a file, got .*0\.png"):
        made.loaded(BENCHMARK, tmp_path)
    assert len(made.loaded(BENCHMARK, tmp_path, with_images=False)) == 1


def test_truncated_json_is_named(tmp_path: Path) -> None:
    file = made.listed(tmp_path / "MME-RealWorld-Lite.json", [json_row(*ASKED[0])])
    file.write_text(file.read_text()[:-20])
    with pytest.raises(DataError, match=r"'MME-RealWorld-Lite.json' must be JSON"):
        made.loaded(BENCHMARK, tmp_path)
