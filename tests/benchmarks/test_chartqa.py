from pathlib import Path
from typing import Any

import pytest

from benchmarks.made import (
    as_text,
    feature,
    golds,
    image_file,
    listed,
    loaded,
    metrics,
    parquet,
    picture,
    tsv,
    values,
)
from lookless.benchmarks.chartqa import BENCHMARK
from lookless.errors import DataError


def official(folder: Path) -> Path:
    """The authors' folder: two questions of each half, over three charts."""
    human = [("1.png", "How many?", "14"), ("2.png", "Is it more?", "Yes")]
    made = [("1.png", "Share in 2010?", "5.5"), ("3.png", "Who leads?", "China")]
    for name, rows in (("human", human), ("augmented", made)):
        listed(folder / "test" / f"test_{name}.json", [
            {"imgname": image, "query": asked, "label": label} for image, asked, label in rows
        ])  # fmt: skip
    for k in (1, 2, 3):
        image_file(folder / "test" / "png" / f"{k}.png", k)
    return folder


def test_the_authors_folder_has_both_halves(tmp_path: Path) -> None:
    entries = loaded(BENCHMARK, official(tmp_path))
    asked = {e.question.id: e.question for e in entries}
    assert list(asked) == ["augmented/0", "augmented/1", "human/0", "human/1"]
    question = asked["human/1"]
    assert question.text == "Is it more?\nAnswer the question with a single word."
    assert (question.answer, question.family, question.unit) == ("Yes", "human", "2.png")
    assert asked["augmented/0"].unit == asked["human/0"].unit == "1.png"
    assert entries[0].images == (tmp_path / "test/png/1.png",)


def test_parquet_and_tsv_say_the_half_in_a_column(tmp_path: Path) -> None:
    hub = parquet(tmp_path / "data" / "test-0.parquet", [
        {"type": "human_test", "question": "How many?", "answer": "14", "image": feature()},
        {"type": "augmented_test", "question": "Who?", "answer": "China", "image": feature()},
    ])  # fmt: skip
    kit = tsv(tmp_path / "kit" / "ChartQA_TEST.tsv", [
        {"index": 0, "question": "How many?", "answer": "['14']", "split": "test_human",
         "image": as_text(picture())},
        {"index": 1, "question": "Who?", "answer": "['China']", "split": "test_augmented",
         "image": as_text(picture())},
    ])  # fmt: skip
    for file, ids in ((hub, ["human/0", "augmented/0"]), (kit, ["0", "1"])):
        questions = [e.question for e in loaded(BENCHMARK, file)]
        assert [(q.id, q.answer, q.family) for q in questions] == [
            (ids[0], "14", "human"), (ids[1], "China", "augmented")
        ]  # fmt: skip
        assert questions[0].unit == questions[1].unit


def test_ids_differ_over_several_parts_of_the_parquet(tmp_path: Path) -> None:
    for part in range(2):
        row = {"type": "human_test", "question": "?", "answer": "1", "image": feature()}
        parquet(tmp_path / "data" / f"test-0000{part}-of-00002.parquet", [row])
    ids = [entry.question.id for entry in loaded(BENCHMARK, tmp_path)]
    assert ids == ["human/0", "human/1"]


@pytest.mark.parametrize("answer", ["[Yes, No]", "[3, 4]"])
def test_an_answer_in_brackets_is_one_answer(tmp_path: Path, answer: str) -> None:
    row = {"type": "human_test", "question": "?", "answer": answer, "image": feature()}
    question = loaded(BENCHMARK, parquet(tmp_path / "test.parquet", [row]))[0].question
    assert (question.answer, question.references) == (answer, ())


def test_scores_of_gold_and_of_known_answers(tmp_path: Path) -> None:
    entries = loaded(BENCHMARK, official(tmp_path))
    assert set(values(metrics(BENCHMARK, entries, golds(entries))).values()) == {1.0}
    # 5.7 is within 5 % of 5.5, and japan is not China; 15 is not within 5 % of 14, and yes is Yes
    found = values(metrics(BENCHMARK, entries, ["5.7", "japan", "15", "yes"]))
    assert found == {
        "relaxed_overall": 0.5, "relaxed_human_split": 0.5, "relaxed_augmented_split": 0.5
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"imgname": "9.png"}, "row 1: imgname must name a file, got .*9.png"),
        ({"label": None}, "row 1: label or answer must be filled in"),
        ({"query": None}, "row 1: query or question must be filled in"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    official(tmp_path)
    row = {"imgname": "1.png", "query": "?", "label": "1"} | change
    listed(tmp_path / "test" / "test_human.json", [row])
    with pytest.raises(DataError, match=said):
        loaded(BENCHMARK, tmp_path)


def test_a_table_of_no_known_half_is_refused(tmp_path: Path) -> None:
    file = parquet(tmp_path / "val.parquet", [{"question": "?", "answer": "1", "image": feature()}])
    with pytest.raises(DataError, match="type or split must be human or augmented, got 'val'"):
        loaded(BENCHMARK, file)
