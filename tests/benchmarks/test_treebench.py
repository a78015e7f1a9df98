from pathlib import Path
from typing import Any

import pytest

from benchmarks import made
from lookless.benchmarks.treebench import BENCHMARK
from lookless.errors import DataError
from lookless.frames import Box, Frame


def row(index: int, category: str, answer: str) -> dict[str, Any]:
    return {
        "index": index,
        "image": made.as_text(made.picture(index)),
        "question": f"What is thing {index} made of?",
        "multi-choice options": "A. wood B. tin",
        "A": "wood",
        "B": "tin",
        "C": "wool",
        "D": "clay",
        "E": "wax" if index else "",
        "F": "",
        "answer": answer,
        "category": category,
        "l2-category": category.split("/")[1],
        "target_instances": "[[1, 2, 5, 6], [0, 0, 2.5, 3]]",
    }


ROWS = [
    row(0, "Perception/OCR", "D"),
    row(1, "Perception/OCR", "E"),
    row(2, "Reasoning/Ordering", "A"),
]


def test_tsv_becomes_questions_with_evidence(tmp_path: Path) -> None:
    made.tsv(tmp_path / "TreeBench.tsv", ROWS)
    first, second, _ = [entry.question for entry in made.loaded(BENCHMARK, tmp_path)]
    assert first.text == (
        "What is thing 0 made of?\nA. wood\nB. tin\nC. wool\nD. clay\n"
        "Answer with the option's letter."
    )
    assert (first.id, first.answer, first.family, first.kind) == ("0", "D", "Perception/OCR", "OCR")
    assert first.boxes == (Box(1, 2, 5, 6, Frame.SOURCE), Box(0, 0, 2.5, 3, Frame.SOURCE))
    assert (first.choices, second.choices, second.answer) == (4, 5, "E")


def test_gold_answers_score_one(tmp_path: Path) -> None:
    made.tsv(tmp_path / "TreeBench.tsv", ROWS)
    entries = made.loaded(BENCHMARK, tmp_path)
    assert set(made.values(made.metrics(BENCHMARK, entries, made.golds(entries))).values()) == {1.0}


def test_accuracy_is_over_all_and_by_category(tmp_path: Path) -> None:
    made.tsv(tmp_path / "TreeBench.tsv", ROWS)
    entries = made.loaded(BENCHMARK, tmp_path)
    # "Because it shines." holds no letter of an option, so 1 of 2 in OCR and 2 of 3 in all.
    found = made.metrics(BENCHMARK, entries, ["D", "Because it shines.", "The answer is (A)."])
    assert made.values(found) == {
        "accuracy": 0.666667,
        "Perception/OCR": 0.5,
        "Reasoning/Ordering": 1.0,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "G"}, r"'TreeBench.tsv' row 1: answer must be a letter from A to D, got 'G'"),
        ({"target_instances": "[[1, 2, 5]]"}, "row 1: target_instances must be boxes of four"),
        ({"target_instances": "none"}, "row 1: target_instances must be JSON or a Python list"),
        ({"target_instances": "[['1', 2, 3, 4]]"}, "row 1: target_instances must be boxes of four"),
        ({"B": ""}, "row 1: B must be an option"),
        ({"category": ""}, "row 1: category must be filled in"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, change: dict[str, str], message: str) -> None:
    made.tsv(tmp_path / "TreeBench.tsv", [ROWS[0] | change])
    with pytest.raises(DataError, match=message):
        made.loaded(BENCHMARK, tmp_path)


def test_missing_column_is_named(tmp_path: Path) -> None:
    made.tsv(tmp_path / "TreeBench.tsv", [made.without(ROWS[0], "target_instances")])
    with pytest.raises(DataError, match="row 1: target_instances must be there, got only index"):
        made.loaded(BENCHMARK, tmp_path)


def test_boxes_may_be_none_at_all(tmp_path: Path) -> None:
    made.tsv(tmp_path / "TreeBench.tsv", [ROWS[0] | {"target_instances": "[]"}])
    assert made.loaded(BENCHMARK, tmp_path)[0].question.boxes == ()


def test_counts_add_up_to_the_papers_405() -> None:
    assert sum(BENCHMARK.counts.values()) == 405
