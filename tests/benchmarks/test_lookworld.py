import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import made
from lookless.benchmarks.lookworld import BENCHMARK
from lookless.errors import DataError
from lookless.lookworld.dataset import Split, export, questions

ROW: dict[str, Any] = {
    "id": "test-0-0-0",
    "image": "images/test-0-0-64.jpg",
    "question": "What is on the red sign?",
    "answer": "K7",
    "family": "detail",
    "kind": "code",
    "needs_look": True,
    "detail_px": 1.5,
    "boxes": [[1.0, 2.0, 3.0, 4.0]],
    "choices": 90,
}


def test_what_the_package_exports_is_read_back(tmp_path: Path) -> None:
    exported = export(tmp_path, list(questions(Split.TEST, 6)), size_px=1024)
    entries = made.loaded(BENCHMARK, tmp_path)
    assert [entry.images for entry in entries] == [(one.image,) for one in exported]
    for entry, one in zip(entries, exported, strict=True):
        ours = entry.question
        assert ours == replace(one, image=Path())


def test_boxed_gold_scores_one(tmp_path: Path) -> None:
    made.lines(tmp_path / "questions.jsonl", [ROW])
    entries = made.loaded(BENCHMARK, tmp_path, with_images=False)
    found = made.metrics(BENCHMARK, entries, [r"It says \boxed{K7}."])
    assert made.values(found) == {"accuracy": 1.0, "detail": 1.0}


def test_without_a_box_a_right_answer_is_unparsed(tmp_path: Path) -> None:
    rows = [ROW, ROW | {"id": "1"}, ROW | {"id": "2", "family": "overview"}]
    made.lines(tmp_path / "questions.jsonl", rows)
    entries = made.loaded(BENCHMARK, tmp_path, with_images=False)
    # No box; right; wrong: 1 of 3, detail 1 of 2.
    texts = ["K7", r"\boxed{k7}", r"\boxed{K8}"]
    found = made.metrics(BENCHMARK, entries, texts)
    assert made.values(found) == {"accuracy": 0.333333, "detail": 0.5, "overview": 0.0}
    assert (found["accuracy"].n, found["accuracy"].clusters) == (3, 1)
    assert not BENCHMARK.grade(entries[0].question, "K7").is_parsed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"needs_look": "yes"}, "'questions.jsonl' row 1: needs_look must be true, false or null"),
        (
            {"detail_px": "1.5"},
            "row 1: detail_px must be a number from 0 to 1000000, or null, got '1.5'",
        ),
        ({"boxes": [[1, 2, 3]]}, "row 1: boxes must be boxes of four numbers"),
        ({"boxes": [[1, 2, 3, 10**400]]}, "row 1: boxes must be boxes of four numbers"),
        ({"detail_px": -1}, "detail_px must be a number from 0 to 1000000, or null, got -1"),
        ({"detail_px": 10**400}, "detail_px must be a number from 0 to 1000000, or null"),
        ({"image": "../secret.png"}, "image must be a file below the benchmark's folder"),
        ({"image": "/etc/passwd"}, "image must be a file below the benchmark's folder"),
        ({"choices": 1.5}, "row 1: choices must be a whole number, got '1.5'"),
        ({"answer": None}, "row 1: answer must be filled in"),
    ],
)
def test_wrong_rows_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    made.lines(tmp_path / "questions.jsonl", [ROW | change])
    with pytest.raises(DataError, match=message):
        made.loaded(BENCHMARK, tmp_path, with_images=False)


def test_missing_image_and_cut_line_are_named(tmp_path: Path) -> None:
    file = made.lines(tmp_path / "questions.jsonl", [ROW, ROW])
    with pytest.raises(DataError, match=r"row 1: image must name a file, got .*64\.jpg"):
        made.loaded(BENCHMARK, tmp_path)
    file.write_text(json.dumps(ROW) + "\n" + json.dumps(ROW)[:-4])
    with pytest.raises(DataError, match=r"'questions.jsonl' line 2 must be JSON"):
        made.loaded(BENCHMARK, tmp_path, with_images=False)
