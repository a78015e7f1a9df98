from pathlib import Path
from typing import Any

import pytest

from benchmarks import made
from lookless.benchmarks.mmbench import BENCHMARK, BENCHMARK_V11
from lookless.benchmarks.stored import Embedded, Reference
from lookless.errors import DataError

TEXTS = ["a pond", "a road", "a roof"]


def copies(index: int, family: str, options: int = 3, hint: str = "") -> list[dict[str, Any]]:
    """A question and its copies; what is right comes first in the unrolled one."""
    rows = []
    for roll in range(options):
        texts = TEXTS[roll:options] + TEXTS[:roll]
        rows.append({
            "index": index + roll * 1_000_000,
            "question": f"What is in picture {index}?",
            "hint": hint,
            **{letter: (texts + [""] * 4)[k] for k, letter in enumerate("ABCD")},
            "answer": "ABCD"[texts.index("a pond")],
            "category": f"{family}_fine",
            "l2-category": family,
            "image": str(index) if roll else made.as_text(made.picture(index)),
        })  # fmt: skip
    return rows


ROWS = copies(5, "coarse", hint="Look at the sky.") + copies(6, "coarse", 2) + copies(7, "logic", 2)


def test_copies_share_a_cluster_and_an_image(tmp_path: Path) -> None:
    made.tsv(tmp_path / "MMBench_DEV_EN.tsv", ROWS)
    entries = made.loaded(BENCHMARK, tmp_path)
    assert [entry.question.id for entry in entries][:3] == ["5", "1000005", "2000005"]
    assert [entry.question.cluster for entry in entries] == ["5"] * 3 + ["6"] * 2 + ["7"] * 2
    assert isinstance(entries[0].images[0], Embedded)
    assert entries[1].images[0] == Reference("5", "'MMBench_DEV_EN.tsv' row 2: image")
    second = entries[1].question
    assert second.text == (
        "Look at the sky.\nWhat is in picture 5?\nA. a road\nB. a roof\nC. a pond\n"
        "Answer with the option's letter."
    )
    assert (second.answer, second.family, second.kind) == ("C", "coarse", "coarse_fine")
    assert entries[3].question.text.startswith("What is in picture 6?\nA. a pond\nB. a road\nA")


def test_hub_parquet_writes_nothing_as_nan(tmp_path: Path) -> None:
    rows = []
    for one in ROWS:
        values = {name: "nan" if value == "" else value for name, value in one.items()}
        values |= {"image": made.feature(1), "L2-category": values.pop("l2-category")}
        rows.append(values)
    made.parquet(tmp_path / "data" / "dev-00000-of-00001.parquet", rows)
    made.tsv(tmp_path / "MMBench.tsv", ROWS)
    assert [entry.question for entry in made.loaded(BENCHMARK, tmp_path)] == [
        entry.question for entry in made.loaded(BENCHMARK, tmp_path / "MMBench.tsv")
    ]


def test_gold_answers_score_one(tmp_path: Path) -> None:
    made.tsv(tmp_path / "MMBench_DEV_EN.tsv", ROWS)
    entries = made.loaded(BENCHMARK, tmp_path, with_images=False)
    assert set(made.values(made.metrics(BENCHMARK, entries, made.golds(entries))).values()) == {1.0}


def test_always_a_is_right_unrolled_and_wrong_in_circles(tmp_path: Path) -> None:
    made.tsv(tmp_path / "MMBench_DEV_EN.tsv", ROWS)
    entries = made.loaded(BENCHMARK, tmp_path, with_images=False)
    found = made.metrics(BENCHMARK, entries, ["A"] * len(entries))
    assert made.values(found) == {
        "circular_accuracy": 0.0,
        "vanilla_accuracy": 1.0,
        "coarse": 0.0,
        "logic": 0.0,
    }


def test_one_wrong_copy_spoils_its_question_alone(tmp_path: Path) -> None:
    made.tsv(tmp_path / "MMBench_DEV_EN.tsv", ROWS)
    entries = made.loaded(BENCHMARK, tmp_path, with_images=False)
    texts = made.golds(entries)
    texts[2] = "A"
    # Question 5 fails in its third copy: 2 of 3 in circles, 1 of 2 of coarse; unrolled 3 of 3.
    found = made.metrics(BENCHMARK, entries, texts)
    assert made.values(found) == {
        "circular_accuracy": 0.666667,
        "vanilla_accuracy": 1.0,
        "coarse": 0.5,
        "logic": 1.0,
    }
    assert (found["circular_accuracy"].n, found["circular_accuracy"].clusters) == (3, 3)


def test_a_question_that_lacks_a_copy_is_no_circle(tmp_path: Path) -> None:
    made.tsv(tmp_path / "MMBench_DEV_EN.tsv", ROWS)
    entries = made.loaded(BENCHMARK, tmp_path, with_images=False)
    there = [entry for k, entry in enumerate(entries) if k != 2]
    found = made.metrics(BENCHMARK, there, made.golds(there))
    assert (found["circular_accuracy"].value, found["circular_accuracy"].n) == (1.0, 2)


def test_copies_of_different_samples_are_not_mixed(tmp_path: Path) -> None:
    made.tsv(tmp_path / "MMBench_DEV_EN.tsv", copies(6, "coarse", 2))
    entries = made.loaded(BENCHMARK, tmp_path, with_images=False)
    # The first samples are A and B, right; the second B and B, of which one is wrong: 1 of 2.
    found = made.metrics(BENCHMARK, entries, ["A", "B", "B", "B"], samples=2)
    assert found["circular_accuracy"].value == 0.5
    assert found["circular_accuracy"].n == 1


def test_version_1_1_takes_its_own_table_and_group_column(tmp_path: Path) -> None:
    rows = [one | {"g_index": 99, "index": 100 + k} for k, one in enumerate(copies(1, "logic", 2))]
    made.tsv(tmp_path / "MMBench_DEV_EN.tsv", ROWS)
    made.tsv(tmp_path / "MMBench_DEV_EN_V11.tsv", rows)
    entries = made.loaded(BENCHMARK_V11, tmp_path, with_images=False)
    assert [(e.question.id, e.question.cluster) for e in entries] == [("100", "99"), ("101", "99")]
    assert len(made.loaded(BENCHMARK, tmp_path, with_images=False)) == len(ROWS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "D"}, "'MMBench_DEV_EN.tsv' row 1: answer must be a letter from A to C"),
        ({"index": "x5"}, "row 1: index must be a whole number, got 'x5'"),
        ({"B": ""}, "row 1: B must be an option"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, change: dict[str, str], message: str) -> None:
    made.tsv(tmp_path / "MMBench_DEV_EN.tsv", [ROWS[0] | change])
    with pytest.raises(DataError, match=message):
        made.loaded(BENCHMARK, tmp_path)


def test_test_split_without_answers_is_named(tmp_path: Path) -> None:
    made.tsv(tmp_path / "MMBench_DEV_EN.tsv", [made.without(ROWS[0], "answer")])
    with pytest.raises(DataError, match="row 1: answer must be there, got only index"):
        made.loaded(BENCHMARK, tmp_path)
