import json
from pathlib import Path
from typing import Any

import pytest

from lookless.episode import Mode, Question
from lookless.errors import DataError
from lookless.evaluation.journal import Batch, Journal, read_answers

BATCHES = [
    Batch(
        "never", Mode.PROHIBITED, k, tuple((Question(name, Path(), "?", "x"), 0) for name in part)
    )
    for k, part in enumerate(("ab", "cd", "e"))
]


def row(name: str, stop: str = "answered", **more: Any) -> dict[str, Any]:
    return {
        "mode": "never",
        "question": {"id": name},
        "sample": 0,
        "rollout": {"stop": stop},
    } | more


def names(file: Path) -> list[str]:
    return [json.loads(line)["question"]["id"] for line in file.read_text().splitlines()]


def test_what_need_not_be_asked_again_is_whole_batches_without_the_failed(tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    Journal(file).add([row("a"), row("b", "fault"), row("c")])
    with file.open("a") as stream:
        stream.write('{"mode": "never", "ques')
    journal = Journal(file)
    assert names(file) == ["a", "b", "c"]  # the cut line is gone, all else is there
    done = journal.done(BATCHES)
    assert [key[1] for key in done] == ["a"]
    assert [q.id for q, _ in BATCHES[0].without(done).asked] == ["b"]
    assert [q.id for q, _ in BATCHES[1].without(done).asked] == ["c", "d"]


def test_the_last_line_of_an_answer_counts_and_the_end_has_one_each_in_order(
    tmp_path: Path,
) -> None:
    file = tmp_path / "samples.jsonl"
    journal = Journal(file)
    journal.add([row(name, "fault") for name in "edcba"])
    journal.add([row(name, grade=1.0) for name in "bca"])
    journal = Journal(file)
    assert {key[1] for key in journal.done(BATCHES)} == {"a", "b", "c"}
    journal.close(BATCHES)
    assert names(file) == list("abcde")
    assert [json.loads(line).get("grade") for line in file.read_text().splitlines()] == [
        1.0, 1.0, 1.0, None, None
    ]  # fmt: skip


@pytest.mark.parametrize("line", ["null", "[1]", '{"mode": "never"}', '{"question": {"id": 1}}'])
def test_a_file_of_something_else_is_refused(tmp_path: Path, line: str) -> None:
    file = tmp_path / "samples.jsonl"
    file.write_text(line + "\n" + line + "\n")
    with pytest.raises(DataError, match="must hold answers of `lookless eval`"):
        Journal(file)
    with pytest.raises(DataError, match="must hold answers of `lookless eval`"):
        read_answers(file, ["never"])
