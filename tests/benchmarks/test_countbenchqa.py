from pathlib import Path
from typing import Any

import pytest

from benchmarks import made
from lookless.benchmarks.countbenchqa import BENCHMARK
from lookless.errors import DataError

ROWS: list[dict[str, Any]] = [
    {
        "image": made.feature(k),
        "text": f"A photo of {word} kites",
        "question": f"How many kites? {k}",
        "number": number,
    }
    for k, (word, number) in enumerate([("three", 3), ("ten", 10)])
]


def test_caption_is_never_shown(tmp_path: Path) -> None:
    made.parquet(tmp_path / "data" / "test-00000-of-00001.parquet", ROWS)
    entries = made.loaded(BENCHMARK, tmp_path)
    asked = [entry.question for entry in entries]
    assert asked[0].text == "How many kites? 0\nAnswer the question using a single number."
    assert "photo" not in repr(asked)
    assert [(one.id, one.answer) for one in asked] == [("0", "3"), ("1", "10")]


def test_tsv_has_ids_of_its_own(tmp_path: Path) -> None:
    row = {"index": 77, "image": made.as_text(made.picture()), "question": "How many?", "answer": 4}
    made.tsv(tmp_path / "countbench_data.tsv", [row])
    asked = made.loaded(BENCHMARK, tmp_path)[0].question
    assert (asked.id, asked.answer) == ("77", "4")


def test_gold_scores_one_and_thirteen_is_not_three(tmp_path: Path) -> None:
    made.parquet(tmp_path / "data" / "test-0.parquet", ROWS)
    entries = made.loaded(BENCHMARK, tmp_path, with_images=False)
    found = made.metrics(BENCHMARK, entries, made.golds(entries))
    assert made.values(found) == {"accuracy": 1.0}
    # 13 contains 3 but is not it; "ten" is 10: 1 of 2.
    found = made.metrics(BENCHMARK, entries, ["13", "ten"])
    assert made.values(found) == {"accuracy": 0.5}


def test_wrong_files_are_named(tmp_path: Path) -> None:
    for row, message in [
        (made.without(ROWS[0], "number"), "row 1: number or answer must be there, got only image"),
        (ROWS[0] | {"number": "few"}, "row 1: number or answer must be a whole number, got 'few'"),
        (ROWS[0] | {"question": None}, "row 1: question must be filled in"),
    ]:
        made.parquet(tmp_path / "data" / "test-0.parquet", [row])
        with pytest.raises(DataError, match=message):
            made.loaded(BENCHMARK, tmp_path)
