import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.asked import lines, world
from lookless.benchmarks.lookworld import BENCHMARK
from lookless.errors import DataError
from lookless.evaluation.score import score_predictions
from lookless.grading.verdict import UNPARSED, Verdict


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world(tmp_path_factory.mktemp("world"), 6)


def gold(data: Path) -> list[dict[str, object]]:
    return [
        {"id": row["id"], "prediction": rf"<think>B?</think> \boxed{{{row['answer']}}}"}
        for row in lines(data / "questions.jsonl")
    ]


def written(folder: Path, rows: list[dict[str, object]]) -> Path:
    file = folder / "predictions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_gold_predictions_score_one(tmp_path: Path, data: Path) -> None:
    result = score_predictions(BENCHMARK, data, written(tmp_path, gold(data))).result
    assert (result["n"], result["missing"], result["unparsed"]) == (6, 0, 0)
    headline = result["metrics"][0]
    assert (headline["name"], headline["value"], headline["n"]) == ("accuracy", 1.0, 6)
    assert headline["low"] < 1.0 == headline["high"]


def test_unparsed_predictions_are_wrong_and_counted(tmp_path: Path, data: Path) -> None:
    rows = gold(data)
    rows[0]["prediction"], rows[1]["prediction"] = None, "I cannot tell."
    rows[2]["prediction"] = r"\boxed{surely not}"
    result = score_predictions(BENCHMARK, data, written(tmp_path, rows)).result
    assert result["unparsed"] == 2
    assert result["metrics"][0]["value"] == 0.5


def test_the_order_of_lines_does_not_matter(tmp_path: Path, data: Path) -> None:
    rows = gold(data)
    rows[0]["prediction"] = "no"
    first = score_predictions(BENCHMARK, data, written(tmp_path, rows)).result
    again = score_predictions(BENCHMARK, data, written(tmp_path, rows[::-1])).result
    values = [{m["name"]: m["value"] for m in r["metrics"]} for r in (first, again)]
    assert values[0] == values[1]


def test_repeated_ids_are_samples(tmp_path: Path, data: Path) -> None:
    rows = gold(data)
    other = [row | {"prediction": "no"} for row in rows]
    result = score_predictions(BENCHMARK, data, written(tmp_path, rows + other)).result
    assert (result["n"], result["predictions"]) == (6, 12)
    assert (result["metrics"][0]["value"], result["metrics"][0]["n"]) == (0.5, 6)
    with pytest.raises(DataError, match=rf"line 1: .* got 1 for '{rows[0]['id']}' and 2"):
        score_predictions(BENCHMARK, data, written(tmp_path, rows + other[1:]))
    with pytest.raises(DataError, match=rf"line 7: .* got 2 for '{rows[3]['id']}' and 1"):
        score_predictions(BENCHMARK, data, written(tmp_path, [*rows, other[3]]))


def test_missing_predictions_are_refused_unless_a_part_is_meant(tmp_path: Path, data: Path) -> None:
    file = written(tmp_path, gold(data)[:4])
    with pytest.raises(DataError, match=r"cover all 6 questions, got none for 2.*--partial"):
        score_predictions(BENCHMARK, data, file)
    result = score_predictions(BENCHMARK, data, file, is_partial=True).result
    assert (result["n"], result["missing"], result["is_complete"]) == (4, 2, None)
    assert result["metrics"][0]["value"] == 1.0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", r"'predictions.jsonl' line 2 must be a JSON object"),
        ("[1]", 'line 2 must be like {"id": ..., "prediction": ...}, got list'),
        ('{"id": "x", "answer": "B"}', "got id, answer"),
        ('{"id": 1.5, "prediction": "B"}', "line 2: id must be a text or a whole number, got 1.5"),
        ('{"id": "x", "prediction": 3}', "line 2: prediction must be a text or null, got 3"),
        ('{"id": "x", "prediction": "B"}', "line 2: id must be of the benchmark, got 'x'"),
        ("[" * 100_000, "line 2 must be a JSON object"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, data: Path, line: str, said: str) -> None:
    file = tmp_path / "predictions.jsonl"
    file.write_text(json.dumps(gold(data)[0]) + "\n" + line + "\n")
    with pytest.raises(DataError) as caught:
        score_predictions(BENCHMARK, data, file, is_partial=True)
    assert said.replace("\\", "") in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"\n\n", b"\xff\xfe\x00"])
def test_a_file_without_predictions_is_refused(
    tmp_path: Path, data: Path, content: bytes | None
) -> None:
    file = tmp_path / "p.jsonl"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match=r"predictions must be (a JSONL file|at least one)"):
        score_predictions(BENCHMARK, data, file)


@given(said=st.lists(st.text(max_size=60), min_size=6, max_size=6))
@settings(max_examples=25, deadline=None)
def test_any_text_is_data(
    tmp_path_factory: pytest.TempPathFactory, data: Path, said: list[str]
) -> None:
    rows = [row | {"prediction": text} for row, text in zip(gold(data), said, strict=True)]
    file = written(tmp_path_factory.mktemp("any"), rows)
    result = score_predictions(BENCHMARK, data, file).result
    assert 0 <= result["metrics"][0]["value"] <= 1


def test_an_examiner_decides_and_its_undecided_ones_count_for_nothing(
    tmp_path: Path, data: Path
) -> None:
    rows = gold(data)

    def examiner(question: object, text: str) -> Verdict | None:
        return None if "B?" not in text else UNPARSED if text == "" else Verdict("x", 0.0)

    rows[0]["prediction"] = "something else"
    found = score_predictions(BENCHMARK, data, written(tmp_path, rows), examiner=examiner)
    assert (found.result["undecided"], found.result["metrics"][0]["value"]) == (1, 0.0)
    assert [row.is_right for row in found.compared] == [None] + [False] * 5
    assert [row.rule.grade for row in found.compared] == [0.0] + [1.0] * 5
