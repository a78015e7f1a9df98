from dataclasses import replace
from pathlib import Path

import pytest

from lookless.episode import Look, LookOutcome, Mode, Question, Rollout, StopReason
from lookless.evaluation.answered import Answered
from lookless.evaluation.summary import summary
from lookless.grading.verdict import UNPARSED, Verdict

DIRECT = Rollout(
    "q", Mode.ADAPTIVE, (1, 2), (False, True), (0.0, 0.0), (), (), (), "K7", StopReason.ANSWERED,
    visual_tokens=25, generated_tokens=1, seconds=0.5, latency=2.0,
)  # fmt: skip
LOOKED = replace(
    DIRECT,
    looks=(Look(LookOutcome.EXECUTED),) * 2,
    generated_tokens=3,
    visual_tokens=75,
    latency=4.0,
)
REFUSED = replace(DIRECT, looks=(Look(LookOutcome.REFUSED),))
FAULT = replace(DIRECT, stop=StopReason.FAULT, answer=None)


def answered(needs_look: bool | None, r: Rollout, grade: float | None, kind: str = "") -> Answered:
    question = Question("q", Path("i.png"), "?", "K7", kind=kind, needs_look=needs_look)
    verdict = None if grade is None else Verdict("K7", grade)
    return Answered(question, r, verdict)


def test_summary_of_known_answers() -> None:
    row = summary(
        [
            answered(True, LOOKED, 1.0),
            answered(True, DIRECT, 0.0),
            answered(False, LOOKED, 1.0),
            answered(False, REFUSED, 1.0),
        ]
    )
    assert row["accuracy"] == 0.75
    assert row["look_rate"] == 0.5
    assert row["attempted_look_rate"] == 0.75
    assert row["looks_per_sample"] == 1.0
    assert row["visual_tokens_per_sample"] == 50
    assert row["generated_tokens_per_sample"] == 2.0
    assert row["seconds_per_sample"] == 0.5
    assert row["latency_s"] == {"median": 3.0, "p90": 4.0}
    assert (row["n"], row["samples"], row["undecided"], row["failed"]) == (1, 4, 0, 0)
    assert row["stops"] == {"answered": 4}
    necessity = row["necessity"]
    assert [necessity[name] for name in ("precision", "recall", "f1")] == [0.5] * 3
    assert (necessity["mcc"], necessity["base_rate"], necessity["n"]) == (0.0, 0.5, 4)


def test_unparsed_answers_are_wrong_and_counted() -> None:
    question = Question("q", Path("i.png"), "?", "K7")
    row = summary([Answered(question, DIRECT, UNPARSED), answered(None, DIRECT, 1.0)])
    assert (row["accuracy"], row["unparsed"], row["undecided"]) == (0.5, 1, 0)


def test_undecided_answers_are_counted_and_left_out_of_the_accuracy() -> None:
    row = summary([answered(True, DIRECT, 1.0), answered(True, DIRECT, None)])
    assert row["accuracy"] == 1.0
    assert row["accuracy_ci"] == [pytest.approx(1 / (1 + 1.96**2), abs=1e-4), 1.0]  # n = 1
    assert (row["undecided"], row["graded"]) == (1, 1)


def test_faults_count_for_nothing() -> None:
    with_fault = summary([answered(True, LOOKED, 1.0), answered(True, FAULT, None)])
    assert (with_fault["failed"], with_fault["undecided"], with_fault["graded"]) == (1, 0, 1)
    for name in ("accuracy", "look_rate", "looks_per_sample", "visual_tokens_per_sample"):
        assert with_fault[name] == summary([answered(True, LOOKED, 1.0)])[name]
    assert with_fault["necessity"]["recall"] == 1.0


def test_necessity_is_unknown_without_ground_truth() -> None:
    assert summary([answered(None, DIRECT, 1.0), answered(True, DIRECT, 1.0)])["necessity"] is None


def test_summary_of_nothing_is_empty() -> None:
    row = summary([])
    assert (row["accuracy"], row["undecided"], row["necessity"]) == (None, 0, None)
    assert (row["look_rate"], row["latency_s"]) == (None, None)


def test_interval_is_by_image() -> None:
    some = [answered(True, DIRECT, float(k % 2)) for k in range(20)]
    assert summary(some)["accuracy_ci"] == pytest.approx([0.1033, 0.8967], abs=1e-4)  # as of n = 1
    apart = [replace(a, question=replace(a.question, cluster=str(k))) for k, a in enumerate(some)]
    assert summary(apart)["accuracy_ci"] == pytest.approx([0.2993, 0.7007], abs=1e-4)  # n = 20
