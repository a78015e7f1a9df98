from pathlib import Path
from typing import Any

import pytest

from lookless.report.data import (
    VERDICTS,
    Records,
    chosen_trajectories,
    confusion_rows,
    finite,
)

Record = dict[str, Any]


def answered(
    right: float | None, used: bool, need: bool | None, name: str = "q", size: float = 3.0
) -> Record:
    look = {"outcome": "executed" if used else "outside"}
    question = {"id": name, "needs_look": need, "family": "reading", "detail_px": size}
    return {
        "question": question,
        "rollout": {"looks": [look], "stop": "answered"},
        "grade": right,
    }


@pytest.mark.parametrize(
    ("one", "verdict"),
    [
        (answered(0.0, False, True), "Wrong: a look was needed and not taken"),
        (answered(0.0, True, True), "Wrong although it looked"),
        (answered(0.0, True, False), "Wrong after a look that was not needed"),
        (answered(0.0, False, False), "Wrong although the overview was enough"),
        (answered(1.0, True, False), "Right, with a look that was not needed"),
        (answered(1.0, False, True), "Right without the look that it needed"),
        (answered(1.0, True, True), "Right with the look that it needed"),
        (answered(1.0, False, False), "Right from the overview"),
        (answered(0.0, True, None), "Wrong although it looked"),
        (answered(0.0, False, None), "Wrong without a look"),
        (answered(1.0, True, None), "Right after a look"),
        (answered(1.0, False, None), "Right from the overview"),
    ],
)
def test_each_answer_has_its_verdict(one: Record, verdict: str) -> None:
    (chosen,) = chosen_trajectories([one])
    assert chosen["verdict"] == verdict


def test_the_worst_come_first_and_some_right_ones_are_left_in() -> None:
    rows = [answered(float(k % 4 > 0), k % 3 == 0, k % 2 == 0, f"q{k}") for k in range(200)]
    chosen = chosen_trajectories(rows, 12)
    order = [title for title, _, _ in VERDICTS]
    places = [order.index(one["verdict"]) for one in chosen]
    assert len(chosen) == 12
    assert places == sorted(places)
    assert set(places) == {order.index(v["verdict"]) for v in chosen_trajectories(rows, 200)}
    assert len({one["question"]["id"] for one in chosen}) == 12


def test_few_answers_are_all_shown_and_undecidable_ones_are_not() -> None:
    rows = [answered(1.0, True, True), answered(None, True, True), answered(0.0, True, True)]
    assert [one["grade"] for one in chosen_trajectories(rows)] == [0.0, 1.0]


def test_the_confusion_counts_by_hand() -> None:
    rows = [
        answered(1.0, True, True),
        answered(0.0, False, True),
        answered(1.0, True, False),
        answered(1.0, False, False),
        answered(1.0, False, False),
        answered(None, False, False),
        answered(1.0, True, None),
    ]
    (row,) = confusion_rows(rows, lambda question: question["family"])
    assert row == {
        "class": "reading",
        "n": 6,
        "needed_looked": 1,
        "needed_not_looked": 1,
        "not_needed_looked": 1,
        "not_needed_not_looked": 3,
        "accuracy": 0.8,
    }


def test_what_cannot_be_read_is_noted_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "half.json").write_text('{"n": 3')
    (tmp_path / "list.json").write_text("[]")
    records = Records(tmp_path)
    assert [records.json(name) for name in ("half.json", "list.json", "none.json")] == [None] * 3
    assert records.jsonl("none.jsonl") == []
    assert records.missing == {
        "half.json (not JSON)", "list.json (not a JSON object)", "none.json", "none.jsonl",
    }  # fmt: skip


def test_numbers_that_json_does_not_know_become_none_at_any_depth() -> None:
    twin = {"a": [1.5, float("nan"), {"b": float("-inf")}], "c": "nan"}
    assert finite(twin) == {"a": [1.5, None, {"b": None}], "c": "nan"}
