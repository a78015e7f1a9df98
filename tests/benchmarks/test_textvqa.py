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
)
from lookless.benchmarks.textvqa import BENCHMARK
from lookless.errors import DataError

TEN = ["nokia"] * 3 + ["nokia n8"] * 6 + ["phone"]


def row(number: int, **more: Any) -> dict[str, Any]:
    return {"question_id": number, "question": "what brand is it?", "image_id": "a1",
            "answers": TEN} | more  # fmt: skip


def test_parquet_json_and_tsv_have_ten_references(tmp_path: Path) -> None:
    hub = parquet(tmp_path / "data" / "validation-0.parquet", [row(34602, image=feature())])
    official = tmp_path / "official" / "TextVQA_0.5.1_val.json"
    photo = image_file(official.parent / "train_images" / "a1.jpg")
    official.write_text(json.dumps({"data": [row(34602)]}))
    kit = tsv(tmp_path / "TextVQA_VAL.tsv", [
        {"index": 34602, "question": "what brand is it?", "answer": str(TEN),
         "image": as_text(picture())},
    ])  # fmt: skip
    for path in (hub, official, official.parent, kit):
        (entry,) = loaded(BENCHMARK, path)
        question = entry.question
        assert (question.id, question.references) == ("34602", tuple(TEN))
        assert question.answer == "nokia n8"
        assert question.text.startswith("what brand is it?\n")
    assert loaded(BENCHMARK, official)[0].images == (photo,)


def test_questions_on_one_photograph_are_a_cluster(tmp_path: Path) -> None:
    rows = [row(1, image=feature()), row(2, image=feature()), row(3, image_id="b")]
    file = parquet(tmp_path / "validation-0.parquet", [r | {"image": feature()} for r in rows])
    units = [e.question.unit for e in loaded(BENCHMARK, file)]
    assert units[0] == units[1] != units[2]


def test_score_is_that_of_leaving_one_person_out(tmp_path: Path) -> None:
    rows = [row(k, image=feature()) for k in range(3)]
    entries = loaded(BENCHMARK, parquet(tmp_path / "validation-0.parquet", rows))
    assert values(metrics(BENCHMARK, entries, golds(entries))) == {"accuracy": 1.0}
    # three of ten: 7 sets of nine have 3 of them, 3 sets have 2: (7 + 3 * 2/3) / 10 = 0.9;
    # one of ten: 9 sets have 1, one has none: 0.3; nobody: 0
    found = values(metrics(BENCHMARK, entries, ["Nokia.", "the phone", "samsung"]))
    assert found == {"accuracy": 0.4}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"answers": TEN[:9]}, "row 1: answers or answer must be 10 answers"),
        ({"answers": "none"}, "row 1: answers or answer must be JSON or a Python list"),
        ({"image_id": "c"}, "row 1: image_id must name a file, got .*c.jpg"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    image_file(tmp_path / "train_images" / "a1.jpg")
    file = tmp_path / "TextVQA_0.5.1_val.json"
    file.write_text(json.dumps({"data": [row(1) | change]}))
    with pytest.raises(DataError, match=said):
        loaded(BENCHMARK, file)
