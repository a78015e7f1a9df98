from pathlib import Path
from typing import Any

import pytest

from benchmarks import made
from lookless.benchmarks.stored import Embedded
from lookless.benchmarks.zoombench import BENCHMARK
from lookless.errors import DataError
from lookless.frames import Box, Frame

PICK = "What does the tag say?\nA. open\nB. shut tight\nC. Any."


def row(index: int, query: str, response: str, kind: str) -> dict[str, Any]:
    return {
        "id": index,
        "image": made.feature(index),
        "crop_image": made.feature(200),
        "query": f"<image>{query}",
        "response": response,
        "question_type": kind,
        "bbox": [1, 2, 5, 4],
    }


ROWS = [
    row(0, PICK, "B", "mcq"),
    row(1, PICK, "C. Any.", "mcq"),
    row(2, "How many bolts are there?", "13", "blank"),
]


def later(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The columns as later revisions call them."""
    names = {"query": "prompt", "response": "answer"}
    return [{names.get(name, name): value for name, value in one.items()} for one in rows]


@pytest.mark.parametrize("rename", [list, later])
def test_both_generations_of_columns_are_read(tmp_path: Path, rename: Any) -> None:
    made.parquet(tmp_path / "data" / "test-00000-of-00001.parquet", rename(ROWS))
    entries = made.loaded(BENCHMARK, tmp_path)
    first, second, third = (entry.question for entry in entries)
    assert first.text == f"{PICK}\nAnswer with the option's letter."
    assert first.options == second.options == ("open", "shut tight", "Any.")
    assert (first.answer, second.answer, third.answer) == ("B", "C", "13")
    assert (first.family, third.family) == ("mcq", "blank")
    assert third.text == (
        "How many bolts are there?\nAnswer the question using a single word or phrase."
    )
    assert (third.options, third.choices) == ((), 0)
    assert first.boxes == (Box(1, 2, 5, 4, Frame.SOURCE),)


def test_crop_is_never_shown(tmp_path: Path) -> None:
    made.parquet(tmp_path / "data" / "test-0.parquet", ROWS)
    images = [entry.images for entry in made.loaded(BENCHMARK, tmp_path)]
    assert [[one.data for one in some if isinstance(one, Embedded)] for some in images] == [
        [made.picture(0)], [made.picture(1)], [made.picture(2)]
    ]  # fmt: skip


def test_gold_answers_score_one_and_mixed_ones_by_type(tmp_path: Path) -> None:
    made.parquet(tmp_path / "data" / "test-0.parquet", ROWS)
    entries = made.loaded(BENCHMARK, tmp_path, with_images=False)
    assert set(made.values(made.metrics(BENCHMARK, entries, made.golds(entries))).values()) == {1.0}
    # Of the options 1 of 2, open 0 of 1: 3 is not 13. In all 1 of 3.
    found = made.metrics(BENCHMARK, entries, ["Option B", "A", "3"])
    assert made.values(found) == {"accuracy": 0.333333, "mcq": 0.5, "blank": 0.0}


def test_question_without_listed_options_takes_bare_letters(tmp_path: Path) -> None:
    made.parquet(tmp_path / "test-0.parquet", [row(0, "Which quarter of the sheet?", "D", "mcq")])
    asked = made.loaded(BENCHMARK, tmp_path)[0].question
    assert (asked.options, asked.answer) == (("A", "B", "C", "D"), "D")


def test_box_may_be_missing_or_written_as_text(tmp_path: Path) -> None:
    for value, boxes in [(None, ()), ("[1, 2, 5, 4]", (Box(1, 2, 5, 4, Frame.SOURCE),))]:
        made.parquet(tmp_path / "test-0.parquet", [ROWS[0] | {"bbox": value}])
        assert made.loaded(BENCHMARK, tmp_path)[0].question.boxes == boxes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"response": "D"}, r"row 1: response or answer must be a letter from A to C, got 'D'"),
        ({"question_type": "essay"}, "row 1: question_type must be mcq or blank, got 'essay'"),
        ({"bbox": [1, 2, 5]}, "row 1: bbox must be boxes of four numbers"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    made.parquet(tmp_path / "test-0.parquet", [ROWS[0] | change])
    with pytest.raises(DataError, match=message):
        made.loaded(BENCHMARK, tmp_path)


def test_missing_column_and_damaged_file_are_named(tmp_path: Path) -> None:
    file = made.parquet(tmp_path / "test-0.parquet", [made.without(ROWS[0], "response")])
    with pytest.raises(DataError, match=r"'test-0.parquet' row 1: response or answer must"):
        made.loaded(BENCHMARK, tmp_path)
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"test-0.parquet' must be a readable parquet table"):
        made.loaded(BENCHMARK, tmp_path)
