from pathlib import Path
from typing import Any

import pytest

from benchmarks import made
from lookless.benchmarks.tallyqa import BENCHMARK
from lookless.errors import DataError

NUMBERS = [2, 0, 25]


def json_rows() -> list[dict[str, Any]]:
    return [
        {
            "answer": number,
            "data_source": "amt" if k else "imported_vqa",
            "image": f"VG_100K/{k // 2}.png",
            "image_id": k,
            "issimple": k == 0,
            "question": f"How many things of kind {k}?",
            "question_id": 30 + k,
        }
        for k, number in enumerate(NUMBERS)
    ]


def table_rows() -> list[dict[str, Any]]:
    image = made.as_text(made.picture(1))
    return [
        {"index": 30 + k, "question": f"How many things of kind {k}?", "answer": number,
         "category": "complex" if k else "simple", "image": "30" if k == 1 else image}
        for k, number in enumerate(NUMBERS)
    ]  # fmt: skip


def test_tsv_and_json_give_the_same_questions(tmp_path: Path) -> None:
    made.tsv(tmp_path / "tallyqa_data.tsv", table_rows())
    made.listed(tmp_path / "json" / "test.json", json_rows())
    from_tsv = [entry.question for entry in made.loaded(BENCHMARK, tmp_path)]
    entries = made.loaded(BENCHMARK, tmp_path / "json", with_images=False)
    for ours, theirs in zip(from_tsv, [entry.question for entry in entries], strict=True):
        assert (ours.id, ours.text, ours.answer, ours.family) == (
            theirs.id, theirs.text, theirs.answer, theirs.family
        )  # fmt: skip
    assert from_tsv[0].text == (
        "How many things of kind 0?\nAnswer the question using a single number."
    )
    assert [one.family for one in from_tsv] == ["simple", "complex", "complex"]
    assert [one.answer for one in from_tsv] == ["2", "0", "25"]


@pytest.mark.parametrize("with_images", [True, False])
def test_images_are_clusters_whether_repeated_or_referred_to(
    tmp_path: Path, with_images: bool
) -> None:
    made.tsv(tmp_path / "tallyqa_data.tsv", table_rows())
    entries = made.loaded(BENCHMARK, tmp_path, with_images)
    assert len({entry.question.cluster for entry in entries}) == 1
    made.listed(tmp_path / "json" / "test.json", json_rows())
    found = made.loaded(BENCHMARK, tmp_path / "json", with_images=False)
    assert len({entry.question.cluster for entry in found}) == 2


def test_json_finds_its_images(tmp_path: Path) -> None:
    made.listed(tmp_path / "test.json", json_rows())
    with pytest.raises(DataError, match=r"'test.json' row 1: image must name a file, got .*0\.png"):
        made.loaded(BENCHMARK, tmp_path)
    files = [made.image_file(tmp_path / "images" / "VG_100K" / f"{k}.png") for k in range(2)]
    images = [entry.images[0] for entry in made.loaded(BENCHMARK, tmp_path)]
    assert images == [files[0], files[0], files[1]]


def test_gold_answers_score_one_and_mixed_ones_by_family(tmp_path: Path) -> None:
    made.tsv(tmp_path / "tallyqa_data.tsv", table_rows())
    entries = made.loaded(BENCHMARK, tmp_path)
    found = made.metrics(BENCHMARK, entries, made.golds(entries))
    assert set(made.values(found).values()) == {1.0}
    # Right: two of the simple kind 1 of 1; of the complex 25, above 20, is right and "many" not.
    found = made.metrics(BENCHMARK, entries, ["two", "many", "25"])
    assert made.values(found) == {"accuracy": 0.666667, "simple": 1.0, "complex": 0.5}


def test_table_that_does_not_say_what_is_simple_has_one_number(tmp_path: Path) -> None:
    made.tsv(tmp_path / "t.tsv", [made.without(one, "category") for one in table_rows()])
    entries = made.loaded(BENCHMARK, tmp_path)
    assert list(made.metrics(BENCHMARK, entries, ["2", "0", "25"])) == ["accuracy"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "two"}, "'tallyqa_data.tsv' row 1: answer must be a whole number, got 'two'"),
        ({"category": "hard"}, "row 1: category must be true or false, or simple or complex"),
        ({"question": ""}, "row 1: question must be filled in"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, change: dict[str, str], message: str) -> None:
    made.tsv(tmp_path / "tallyqa_data.tsv", [table_rows()[0] | change])
    with pytest.raises(DataError, match=message):
        made.loaded(BENCHMARK, tmp_path)
