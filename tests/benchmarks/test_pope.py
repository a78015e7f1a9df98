from pathlib import Path
from typing import Any

import pytest

from benchmarks import made
from lookless.benchmarks.pope import BENCHMARK
from lookless.benchmarks.stored import Embedded
from lookless.errors import DataError


def json_row(number: int, label: str, image: int = 7) -> dict[str, Any]:
    return {
        "question_id": number,
        "image": f"COCO_val2014_{image:012}.jpg",
        "text": f"Is there a thing {number} in the image?",
        "label": label,
    }


def table_row(number: int, label: str, split: str, image: int = 7) -> dict[str, Any]:
    return {
        "id": str(number),
        "question_id": str(number),
        "question": f"Is there a thing {number} in the image?",
        "answer": label,
        "image_source": f"COCO_val2014_{image:012}",
        "image": made.feature(number),
        "category": split,
    }


def official(folder: Path) -> None:
    """The authors' files: one object a line, though they end in .json."""
    for split in ("random", "popular", "adversarial"):
        made.lines(folder / f"coco_pope_{split}.json", [json_row(1, "yes"), json_row(2, "no", 8)])
    for image in (7, 8):
        made.image_file(folder / "val2014" / f"COCO_val2014_{image:012}.jpg")


def test_official_files_become_questions_of_three_splits(tmp_path: Path) -> None:
    official(tmp_path)
    entries = made.loaded(BENCHMARK, tmp_path)
    assert [entry.question.id for entry in entries] == [
        "adversarial/1", "adversarial/2", "popular/1", "popular/2", "random/1", "random/2"
    ]  # fmt: skip
    first = entries[0].question
    assert first.text == (
        "Is there a thing 1 in the image?\nAnswer the question using a single word or phrase."
    )
    assert (first.answer, first.family, first.choices) == ("yes", "adversarial", 2)
    assert entries[0].images == (tmp_path / "val2014" / "COCO_val2014_000000000007.jpg",)


def test_parquet_has_the_same_ids_and_clusters(tmp_path: Path) -> None:
    official(tmp_path / "official")
    rows = [
        table_row(number, label, split, image)
        for split in ("adversarial", "popular", "random")
        for number, label, image in [(1, "yes", 7), (2, "no", 8)]
    ]
    made.parquet(tmp_path / "hub" / "data" / "test-00000-of-00001.parquet", rows)
    entries = made.loaded(BENCHMARK, tmp_path / "hub")
    assert isinstance(entries[0].images[0], Embedded)
    assert [entry.question for entry in entries] == [
        entry.question for entry in made.loaded(BENCHMARK, tmp_path / "official")
    ]


def test_one_image_is_one_cluster_over_all_splits(tmp_path: Path) -> None:
    official(tmp_path)
    entries = made.loaded(BENCHMARK, tmp_path)
    found = made.metrics(BENCHMARK, entries, made.golds(entries))
    assert (found["accuracy"].n, found["accuracy"].clusters) == (6, 2)


def test_gold_answers_score_one_and_half_are_yes(tmp_path: Path) -> None:
    official(tmp_path)
    entries = made.loaded(BENCHMARK, tmp_path)
    found = made.values(made.metrics(BENCHMARK, entries, made.golds(entries)))
    assert len(found) == 20
    assert {value for name, value in found.items() if "yes_ratio" not in name} == {1.0}
    assert {value for name, value in found.items() if "yes_ratio" in name} == {0.5}


def test_neither_yes_nor_no_is_wrong_and_a_missed_object(tmp_path: Path) -> None:
    labels = ["yes", "yes", "yes", "no", "no"]
    rows = [json_row(k, label) for k, label in enumerate(labels)]
    made.lines(tmp_path / "coco_pope_random.json", rows)
    entries = made.loaded(BENCHMARK, tmp_path, with_images=False)
    texts = ["Yes.", "no", "I cannot tell.", "yes", "I cannot tell."]
    # tp 1, fp 1, fn 2 (one said no, one nothing), right 1 of 5 as the last is wrong as well.
    # precision 1/2, recall 1/3, F1 = 2*1 / (2*1 + 1 + 2) = 0.4, yes 2 of 5.
    found = made.values(made.metrics(BENCHMARK, entries, texts))
    assert {name: found[name] for name in list(found)[:5]} == {
        "accuracy": 0.2,
        "precision": 0.5,
        "recall": 0.333333,
        "f1_score": 0.4,
        "yes_ratio": 0.4,
    }
    assert found["random/f1_score"] == 0.4


def test_precision_without_a_yes_is_undefined_and_f1_is_zero(tmp_path: Path) -> None:
    made.lines(tmp_path / "coco_pope_random.json", [json_row(1, "yes"), json_row(2, "no")])
    entries = made.loaded(BENCHMARK, tmp_path, with_images=False)
    found = made.values(made.metrics(BENCHMARK, entries, ["no", "no"]))
    assert (found["precision"], found["recall"], found["f1_score"]) == (None, 0.0, 0.0)


def test_nothing_graded_gives_no_values() -> None:
    assert {metric.value for metric in BENCHMARK.score([])} == {None}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "maybe"}, r"'coco_pope_random.json' row 1: label or answer must be yes or no"),
        ({"text": ""}, "row 1: text or question must be filled in"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, change: dict[str, str], message: str) -> None:
    made.lines(tmp_path / "coco_pope_random.json", [json_row(1, "yes") | change, json_row(2, "no")])
    with pytest.raises(DataError, match=message):
        made.loaded(BENCHMARK, tmp_path, with_images=False)


def test_unknown_split_and_missing_image_are_named(tmp_path: Path) -> None:
    made.lines(tmp_path / "a" / "coco_pope_seem.json", [json_row(1, "yes"), json_row(2, "no")])
    with pytest.raises(DataError, match="must say one of random, popular, adversarial, got 'coco"):
        made.loaded(BENCHMARK, tmp_path / "a")
    made.parquet(tmp_path / "b" / "data" / "test-0.parquet", [table_row(1, "yes", "easy")])
    with pytest.raises(DataError, match=r"category must be one of random, .* got 'easy'"):
        made.loaded(BENCHMARK, tmp_path / "b")
    made.lines(tmp_path / "coco_pope_random.json", [json_row(1, "yes"), json_row(2, "no")])
    with pytest.raises(DataError, match=r"row 1: image must name a file, got .*000007\.jpg"):
        made.loaded(BENCHMARK, tmp_path)


def test_line_that_is_cut_off_is_named(tmp_path: Path) -> None:
    file = made.lines(tmp_path / "coco_pope_random.json", [json_row(1, "yes"), json_row(2, "no")])
    file.write_text(file.read_text()[:-12])
    with pytest.raises(DataError, match=r"'coco_pope_random.json' line 2 must be JSON"):
        made.loaded(BENCHMARK, tmp_path, with_images=False)
