import json
from pathlib import Path
from typing import Any

import pytest

from lookless.report.data import (
    VERDICTS,
    chosen_trajectories,
    columns,
    confusion_rows,
    gather,
    late_groups,
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


def test_the_bins_of_detail_size_are_in_order(run: Path) -> None:
    rows = gather(run)["confusion"]["detail"]
    assert [row["class"] for row in rows] == ["0 to 5 px", "from 30 px"]
    assert [row["n"] for row in rows] == [12, 24]


def test_columns_have_a_gap_where_a_step_lacks_a_metric() -> None:
    rows = [{"step": 1, "b": 0.5}, {"step": 2, "c": 1.0}]
    assert columns(rows) == {"step": [1, 2], "b": [0.5, None], "c": [None, 1.0]}


def test_the_late_groups_are_the_last_with_and_without_need() -> None:
    rows = [{"step": k, "question": {"needs_look": k in (2, 3)}} for k in range(7)]
    assert [group["step"] for group in late_groups(rows)] == [3, 6]


@pytest.mark.parametrize(("count", "expected"), [(0, []), (1, [0]), (5, [4, 3])])
def test_without_one_kind_the_last_groups_take_its_place(count: int, expected: list[int]) -> None:
    rows = [{"step": k, "question": {"needs_look": None}} for k in range(count)]
    assert [group["step"] for group in late_groups(rows)] == expected


def test_the_tables_are_those_of_the_results(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    test, shifted = gather(run)["tables"]
    for table, of in ((test, results), (shifted, results["shifted"])):
        assert {row["policy"]: {**row} for row in table["rows"]} == {
            name: {"policy": name} | row for name, row in of["policies"].items()
        }
        assert (table["n"], table["protocol"]) == (of["n"], of["protocol"])
        assert (table["oracle_look_rate"], table["seed"]) == (of["oracle_look_rate"], 3)


def test_a_complete_run_misses_nothing(run: Path) -> None:
    assert gather(run)["missing"] == []


def test_every_trained_reward_has_curves(run: Path) -> None:
    curves = gather(run)["curves"]
    assert list(curves) == ["sft", "rgrl", "pixel_reasoner"]
    assert curves["rgrl"]["step"] == [1, 2, 3, 4, 5, 6]
    assert len(curves["rgrl"]["look_rate/adaptive"]) == 6
