from pathlib import Path
from typing import Any

import pytest

from benchmarks.made import (
    as_text,
    feature,
    golds,
    loaded,
    metrics,
    parquet,
    picture,
    tsv,
    values,
    without,
)
from lookless.benchmarks.mmstar import BENCHMARK, inline_options
from lookless.errors import DataError

INLINE = "Which is it?\nOptions: A: a red, small bag, B: blue, C: 3.5, D: none of them"
OPTIONS = ("a red, small bag", "blue", "3.5", "none of them")


def row(index: int, answer: str, category: str, axis: str, **more: Any) -> dict[str, Any]:
    return {"index": index, "question": INLINE, "answer": answer, "category": category,
            "l2_category": axis} | more  # fmt: skip


ROWS = [
    row(0, "A", "math", "geometry"),
    row(1, "B", "math", "geometry"),
    row(2, "C", "math", "geometry"),
    row(3, "D", "math", "statistical"),
    row(4, "A", "logical reasoning", "diagram"),
]


def official(folder: Path) -> Path:
    meta = {"source": "x", "split": "val", "image_path": "images/0.jpg"}
    rows = [one | {"image": feature(), "meta_info": meta} for one in ROWS]
    return parquet(folder / "mmstar.parquet", rows)


def test_the_parquet_is_asked_as_it_stands(tmp_path: Path) -> None:
    entries = loaded(BENCHMARK, official(tmp_path))
    question = entries[1].question
    assert question.text == f"{INLINE}\nAnswer with the option's letter."
    assert (question.options, question.answer, question.choices) == (OPTIONS, "B", 4)
    assert (question.family, question.kind) == ("math", "geometry")


def test_tsvs_have_the_options_in_columns_or_inside(tmp_path: Path) -> None:
    columns = dict(zip("ABCD", OPTIONS, strict=True))
    image = {"image": as_text(picture())}
    apart = [without(one, "l2_category") | columns | image | {"l2-category": one["l2_category"]}
             | {"question": "Which is it?"} for one in ROWS]  # fmt: skip
    for name, rows in (("apart", apart), ("inside", [one | image for one in ROWS])):
        found = loaded(BENCHMARK, tsv(tmp_path / name / "MMStar.tsv", rows))
        assert [e.question.options for e in found] == [OPTIONS] * 5
        assert [e.question.kind for e in found] == [one["l2_category"] for one in ROWS]


def test_micro_and_macro_averages_differ(tmp_path: Path) -> None:
    entries = loaded(BENCHMARK, official(tmp_path))
    assert set(values(metrics(BENCHMARK, entries, golds(entries))).values()) == {1.0}
    # geometry 3 of 3, statistical 0 of 1, diagram 0 of 1
    found = values(metrics(BENCHMARK, entries, ["A", "B", "C", "A", "B"]))
    assert found == {
        "average": 0.6, "math": 0.75, "logical reasoning": 0.0, "macro_18": 0.333333,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "options"),
    [
        ("Q?\nOptions: A: Yes, B: No", ("Yes", "No")),
        ("Q?\nOptions: A: 1, 2, B: 3, C: 4", ("1, 2", "3", "4")),
        ("Q?\nOptions: A: red\nB: blue\nC: green\nD: white", ("red", "blue", "green", "white")),
        ("Options: of both?\nOptions: A: x, B: y, C: z, D: w", ("x", "y", "z", "w")),
        ("Hint: one of A, B.\nQuestion: Q?\nChoices:\n(A) 10\n(B) 15", ("10", "15")),
        (
            "Q?\nOptions: A: see (B) or D: there, B: A: B, C: 3:4",
            ("see (B) or D: there", "A: B", "3:4"),
        ),
        ("Choose (A) or (B).", ("A", "B", "C", "D")),
        ("Options: none", ("A", "B", "C", "D")),
    ],
)
def test_options_inside_a_question(asked: str, options: tuple[str, ...]) -> None:
    assert inline_options(asked) == options


def test_options_without_the_right_one_are_misread_and_known_by_letter(tmp_path: Path) -> None:
    image = {"image": as_text(picture()), "question": "Q?\nOptions: A: red, B: blue, C. green"}
    file = tsv(tmp_path / "MMStar.tsv", [ROWS[0] | image, ROWS[2] | image])
    first, second = (entry.question for entry in loaded(BENCHMARK, file))
    assert (first.options, first.choices) == (("red", "blue, C. green"), 2)
    assert (second.options, second.answer) == (("A", "B", "C", "D"), "C")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"answer": "E"}, "row 1: answer must be a letter from A to D"),
        ({"category": "sports"}, "row 1: category must be one of coarse perception"),
        ({"l2_category": ""}, "row 1: l2_category or l2-category must be filled in"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, change: dict[str, str], said: str) -> None:
    rows = [ROWS[0] | {"image": as_text(picture())} | change]
    with pytest.raises(DataError, match=said):
        loaded(BENCHMARK, tsv(tmp_path / "MMStar.tsv", rows))
