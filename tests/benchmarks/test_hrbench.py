from pathlib import Path
from typing import Any

import pytest

from benchmarks.made import as_text, golds, loaded, metrics, parquet, picture, tsv, values, without
from lookless.benchmarks.benchmark import Benchmark
from lookless.benchmarks.hrbench import BENCHMARK_4K, BENCHMARK_8K
from lookless.errors import DataError

OPTIONS = ["red", "blue", "green", "white"]


def rows(questions: int = 2) -> list[dict[str, Any]]:
    """Questions of which each has four rows with rotated options; blue is right."""
    found: list[dict[str, Any]] = []
    for q in range(questions):
        for cycle in range(4):
            options = OPTIONS[cycle:] + OPTIONS[:cycle]
            found.append({
                "index": len(found), "question": "What colour is the bag?",
                "answer": "ABCD"[options.index("blue")], "category": ["single", "cross"][q % 2],
                **dict(zip("ABCD", options, strict=True)), "cycle_category": str(cycle),
                "image": as_text(picture(q)),
            })  # fmt: skip
    return found


@pytest.mark.parametrize(
    ("benchmark", "name"),
    [
        (BENCHMARK_4K, "hr_bench_4k.tsv"),
        (BENCHMARK_8K, "hr_bench_8k.tsv"),
        (BENCHMARK_4K, "hr_bench_4k.parquet"),
        (BENCHMARK_8K, "hrbench_version_split/hrbench_8k-00000-of-00001.parquet"),
    ],
)
def test_four_orders_of_a_question_are_one_cluster(
    tmp_path: Path, benchmark: Benchmark, name: str
) -> None:
    write = tsv if name.endswith("tsv") else parquet
    write(tmp_path / name, rows())
    for with_images in (True, False):
        entries = loaded(benchmark, tmp_path, with_images)
        clusters = [e.question.cluster for e in entries]
        assert len(set(clusters[:4])) == len(set(clusters[4:])) == 1
        assert clusters[0] != clusters[4]
    first = entries[1].question
    assert first.options == ("blue", "green", "white", "red")
    assert (first.id, first.answer, first.family, first.kind) == ("1", "A", "single", "1")


def test_scores_of_gold_and_of_known_answers(tmp_path: Path) -> None:
    entries = loaded(BENCHMARK_4K, tsv(tmp_path / "hr_bench_4k.tsv", rows()))
    assert set(values(metrics(BENCHMARK_4K, entries, golds(entries))).values()) == {1.0}
    texts = golds(entries)
    texts[0] = "red"  # one order of the first question is wrong: 7 of 8, 3 of 4, 1 of 2 questions
    found = metrics(BENCHMARK_4K, entries, texts)
    assert values(found) == {"overall": 0.875, "fsp": 0.75, "fcp": 1.0, "all_four_correct": 0.5}
    assert (found["overall"].n, found["overall"].clusters) == (8, 2)
    assert (found["all_four_correct"].n, found["all_four_correct"].clusters) == (2, 2)


def test_all_four_correct_is_of_each_sample_and_of_whole_questions(tmp_path: Path) -> None:
    entries = loaded(BENCHMARK_4K, tsv(tmp_path / "hr_bench_4k.tsv", rows()))
    texts = [text for gold in golds(entries) for text in (gold, "none of them")]
    found = metrics(BENCHMARK_4K, entries, texts, samples=2)
    assert found["all_four_correct"].value == 0.5
    part = metrics(BENCHMARK_4K, entries[:6], golds(entries)[:6])
    assert (part["all_four_correct"].value, part["all_four_correct"].n) == (1.0, 1)


def test_the_interval_is_as_wide_as_that_of_the_questions(tmp_path: Path) -> None:
    entries = loaded(BENCHMARK_4K, tsv(tmp_path / "hr_bench_4k.tsv", rows(20)))
    texts = [gold if k < 40 else "none" for k, gold in enumerate(golds(entries))]
    found = metrics(BENCHMARK_4K, entries, texts)["overall"]
    assert found.value == 0.5
    assert found.high - found.low > 0.35  # 20 questions; 80 independent ones would give 0.22


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"category": "double"}, "row 1: category must be one of single, cross, got 'double'"),
        ({"answer": "E"}, "row 1: answer must be a letter from A to D, got 'E'"),
        ({"B": ""}, "row 1: B must be an option"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, change: dict[str, str], said: str) -> None:
    file = tsv(tmp_path / "hr_bench_4k.tsv", [rows()[0] | change])
    with pytest.raises(DataError, match=said):
        loaded(BENCHMARK_4K, file)


def test_a_missing_column_or_the_other_size_is_named(tmp_path: Path) -> None:
    file = tsv(tmp_path / "hr_bench_4k.tsv", [without(rows()[0], "cycle_category")])
    with pytest.raises(DataError, match=r"'hr_bench_4k.tsv' row 1: cycle_category must be there"):
        loaded(BENCHMARK_4K, file)
    with pytest.raises(DataError, match=r"data must hold hr_bench_8k.parquet or"):
        loaded(BENCHMARK_8K, tmp_path)
