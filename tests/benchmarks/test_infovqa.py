import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.made import (
    as_text,
    feature,
    golds,
    image_file,
    loaded,
    metrics,
    parquet,
    picture,
    tsv,
    values,
    without,
)
from lookless.benchmarks.benchmark import Benchmark
from lookless.benchmarks.docvqa import BENCHMARK as DOCVQA
from lookless.benchmarks.infovqa import BENCHMARK
from lookless.benchmarks.questions import Selection, read_questions, with_images
from lookless.errors import DataError


def row(number: int, answers: list[str] | None, url: str = "http://x/1.jpg") -> dict[str, Any]:
    return {"questionId": str(number), "question": "How many  users? ", "answers": answers,
            "answer_type": ["Image-Span"], "image": feature(number), "image_url": url,
            "data_split": "val"}  # fmt: skip


ROWS = [
    row(65718, ["42%", "42 percent"]),
    row(65719, ["Facebook"]),
    row(65720, ["7"], "http://x/2.jpg"),
]


def official(folder: Path) -> Path:
    return parquet(folder / "InfographicVQA" / "validation-00000-of-00001.parquet", ROWS)


def test_the_parquet_has_several_references_and_clusters_by_image(tmp_path: Path) -> None:
    official(tmp_path)
    for wanted in (True, False):
        questions = [e.question for e in loaded(BENCHMARK, tmp_path, wanted)]
        assert questions[0].id == "65718"
        assert questions[0].references == ("42%", "42 percent")
        assert questions[0].text == (
            "How many  users?\nAnswer the question using a single word or phrase."
        )
        assert questions[0].unit == questions[1].unit != questions[2].unit


def test_the_tsv_has_python_lists_and_rows_that_refer_to_images(tmp_path: Path) -> None:
    rows = [
        {"index": 1, "question": "How many?", "answer": "['42%', '42 percent']",
         "image": as_text(picture(1))},
        {"index": 2, "question": "Which\nof them?", "answer": "[7]", "image": "1"},
        {"index": 3, "question": "Who?", "answer": '["it\'s me"]', "image": as_text(picture(2))},
    ]  # fmt: skip
    file = tsv(tmp_path / "InfoVQA_VAL.tsv", rows)
    chosen = read_questions(BENCHMARK, file, Selection(), is_partial=True)
    asked = with_images(BENCHMARK, file, chosen, tmp_path / "cache").questions
    assert [q.references for q in asked] == [("42%", "42 percent"), ("7",), ("it's me",)]
    assert asked[0].image == asked[1].image != asked[2].image
    assert asked[0].unit == asked[1].unit != asked[2].unit


def test_a_row_that_refers_forward_is_of_the_same_image(tmp_path: Path) -> None:
    images = [
        "3",
        as_text(picture(1)),
        as_text(picture(2)),
        as_text(picture(1)),
        as_text(picture(2)),
    ]
    rows = [
        {"index": k + 1, "question": "?", "answer": "['a']", "image": image}
        for k, image in enumerate(images)
    ]
    units = [e.question.unit for e in loaded(BENCHMARK, tsv(tmp_path / "InfoVQA_VAL.tsv", rows))]
    assert units[0] == units[2] == units[4]
    assert units[1] == units[3] != units[0]


def test_the_challenge_json_names_its_images(tmp_path: Path) -> None:
    data = [{"questionId": 5, "question": "Who?", "image_local_name": "a.jpeg", "answers": ["I"]}]
    file = tmp_path / "infographicsVQA_val_v1.0_withQT.json"
    file.write_text(json.dumps({"dataset_name": "x", "data": data}))
    image = image_file(tmp_path / "images" / "a.jpeg")
    (entry,) = loaded(BENCHMARK, tmp_path)
    assert entry.images == (image,)
    assert (entry.question.id, entry.question.unit) == ("5", "a.jpeg")
    image.unlink()
    with pytest.raises(DataError, match="row 1: image_local_name must name a file"):
        loaded(BENCHMARK, tmp_path)


def test_scores_of_gold_and_of_known_answers(tmp_path: Path) -> None:
    official(tmp_path)
    entries = loaded(BENCHMARK, tmp_path)
    assert set(values(metrics(BENCHMARK, entries, golds(entries))).values()) == {1.0}
    # "42 %" is one edit of four characters from "42%": 0.75; the second is right; the third is far.
    found = values(metrics(BENCHMARK, entries, ["42 %", "<answer>facebook</answer>", "100"]))
    assert found == {"anls": 0.583333, "exact_match": 0.333333}


def test_the_test_split_is_refused_by_name(tmp_path: Path) -> None:
    file = parquet(tmp_path / "validation-0.parquet", [ROWS[0], row(1, None)])
    with pytest.raises(DataError, match=r"row 2: answers must be there, got none.*test split"):
        loaded(BENCHMARK, file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"answer": "[open('x')]"}, "row 1: answers or answer must be JSON or a Python list"),
        ({"answer": "[]"}, "row 1: answers or answer must be at least one answer"),
        ({"question": ""}, "row 1: question must be filled in"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, change: dict[str, str], said: str) -> None:
    good = {"index": 1, "question": "?", "answer": "['a']", "image": as_text(picture())}
    with pytest.raises(DataError, match=said):
        loaded(BENCHMARK, tsv(tmp_path / "InfoVQA_VAL.tsv", [good | change]))


@pytest.mark.parametrize("benchmark", [BENCHMARK, DOCVQA])
def test_a_missing_column_is_named(tmp_path: Path, benchmark: Benchmark) -> None:
    rows = [without(ROWS[0], "questionId")]
    with pytest.raises(DataError, match="index or questionId or question_id must be there"):
        loaded(benchmark, parquet(tmp_path / "validation-0.parquet", rows))
