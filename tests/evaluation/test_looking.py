from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookless.episode import Look, LookOutcome, Mode, Question, Rollout, StopReason
from lookless.evaluation.answered import Answered
from lookless.evaluation.looking import (
    TERMS,
    above_mixture,
    coverage,
    covered,
    decision,
    gain_and_harm,
    iou,
    selective_gain,
    split_half,
    zooming_gap,
)
from lookless.frames import Box, Frame, View
from lookless.grading.verdict import Verdict
from lookless.necessity import strict

WHOLE = View(Box(0, 0, 100, 100, Frame.SOURCE), 32, 32)
BLANK = Rollout(
    "q", Mode.ADAPTIVE, (), (), (), (WHOLE,), (), (), "x", StopReason.ANSWERED, visual_tokens=1
)


def box(left: float, top: float, right: float, bottom: float) -> Box:
    return Box(left, top, right, bottom, Frame.SOURCE)


def one(name: str, grade: float | None, looked: bool = False, sample: int = 0) -> Answered:
    looks = (Look(LookOutcome.EXECUTED, 0, None, 1),) if looked else ()
    verdict = None if grade is None else Verdict("x", grade)
    return Answered(Question(name, Path(), "?", "x"), replace(BLANK, looks=looks), verdict, sample)


def many(grades: Sequence[float | None], looked: str = "") -> list[Answered]:
    """Answers to questions 0, 1, ...; `looked` has a y for each that looked."""
    flags = [c == "y" for c in looked.ljust(len(grades), "n")]
    return [one(str(k), g, f) for k, (g, f) in enumerate(zip(grades, flags, strict=True))]


def test_gain_and_harm_of_known_answers() -> None:
    #                   gain by a look, gain without, harm by a look, harm without, same, same
    before = many([0, 0, 1, 1, 1, 0])
    after = many([1, 1, 0, 0, 1, 0], "ynynyy")
    found = gain_and_harm(before, after)
    assert found is not None
    assert [found[name]["value"] for name in TERMS] == [pytest.approx(1 / 6)] * 4
    assert found["difference"] == pytest.approx(0)
    gain = found["call_gain"]
    assert (gain["mass"], gain["policy"], gain["quality"]) == (0.5, pytest.approx(2 / 3), 0.5)
    harm = found["schema_harm"]
    assert (harm["mass"], harm["policy"], harm["quality"]) == (0.5, pytest.approx(1 / 3), 1.0)


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.3, 0.7, 1.0]), st.sampled_from([0.0, 0.4, 1.0]),
                  st.booleans()),
        min_size=1, max_size=40,
    )
)  # fmt: skip
def test_the_four_terms_add_up_to_the_difference(rows: list[tuple[float, float, bool]]) -> None:
    before = [one(str(k), a) for k, (a, _, _) in enumerate(rows)]
    after = [one(str(k), b, looked) for k, (_, b, looked) in enumerate(rows)]
    found = gain_and_harm(before, after)
    assert found is not None
    values = [found[name]["value"] for name in TERMS]
    assert all(value >= 0 for value in values)
    gain = values[0] + values[1] - values[2] - values[3]
    assert gain == pytest.approx(found["difference"], abs=1e-12)
    assert found["residual"] == pytest.approx(0, abs=1e-12)
    for name in TERMS:
        low, high = found[name]["ci"]
        assert low - 1e-9 <= found[name]["value"] <= high + 1e-9


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_a_term_is_mass_times_policy_times_quality(rows: list[tuple[bool, bool, bool]]) -> None:
    before = [one(str(k), float(a)) for k, (a, _, _) in enumerate(rows)]
    after = [one(str(k), float(b), looked) for k, (_, b, looked) in enumerate(rows)]
    found = gain_and_harm(before, after)
    assert found is not None
    for name in TERMS:
        parts = [found[name][key] for key in ("mass", "policy", "quality")]
        product = 0.0 if None in parts else parts[0] * parts[1] * parts[2]
        assert product == pytest.approx(found[name]["value"])


def test_undecided_answers_leave_with_their_partners() -> None:
    found = gain_and_harm(many([0, None, 1]), many([1, 1, None], "yyy"))
    assert found is not None
    assert (found["n"], found["difference"]) == (1, 1.0)
    assert gain_and_harm([], many([1])) is None


def test_decision_is_scored_against_need_from_other_rollouts() -> None:
    never, always = many([0, 1, 0, 1]), many([1, 1, 1, 1], "yyyy")
    adaptive = many([1, 1, 0, 1], "yynn")  # needed and looked, not needed and looked, missed, right
    found = decision(adaptive, always, never, strict)
    assert (found["precision"], found["recall"], found["mcc"]) == (0.5, 0.5, 0.0)
    assert (found["base_rate"], found["n"], found["abstained"]) == (0.5, 4, 0)
    flipped = decision(many([0, 0, 0, 0], "yynn"), always, never, strict)
    assert flipped == found  # the grades of the scored rollouts say nothing of the need


def test_split_half_compares_need_by_even_and_odd_samples() -> None:
    always = [one(q, 1.0, True, s) for q in "ab" for s in (0, 1)]
    never = [one("a", 0.0, sample=0), one("a", 0.0, sample=1)]
    never += [one("b", 0.0, sample=0), one("b", 1.0, sample=1)]
    assert split_half(always, never, strict) == 0.5
    assert split_half(always[:1], never[:1], strict) is None


def test_selective_gain_keeps_harder_questions_apart() -> None:
    found = selective_gain(many([0, 0, 1, 1]), many([1, 0, 1, 1], "yynn"))
    assert found["looked"] == {"n": 2, "without": 0.0, "with": 0.5}
    assert found["not_looked"] == {"n": 2, "without": 1.0, "with": 1.0}


def test_zooming_gap_is_the_crop_minus_the_whole() -> None:
    found = zooming_gap(many([1, 1, 1, 0]), many([0, 1, 0, 0]))
    assert (found["full"], found["crop"], found["value"]) == (0.25, 0.75, 0.5)
    low, high = found["ci"]
    assert low <= 0.5 <= high


def test_above_mixture_is_zero_for_looking_at_random_and_one_for_knowing() -> None:
    never, always = many([0, 0, 1, 1]), many([1, 1, 0, 0], "yyyy")
    knowing = above_mixture({"never": never, "always": always, "adaptive": many([1] * 4, "yynn")})
    guessing = above_mixture(
        {"never": never, "always": always, "adaptive": many([1, 0, 1, 0], "ynny")}
    )
    assert knowing is not None
    assert guessing is not None
    assert (knowing["value"], guessing["value"]) == (0.5, 0.0)
    assert above_mixture({"never": never, "always": always}) is None
    assert above_mixture({"never": never, "always": never, "adaptive": never}) is None


def test_coverage_tells_what_crops_held() -> None:
    question = Question("q", Path(), "?", "x", boxes=(box(10, 10, 20, 20),))

    def looked(region: Box, grade: float) -> Answered:
        views = (WHOLE, View(region, 32, 32))
        looks = (Look(LookOutcome.EXECUTED, 0, None, 1),)
        return Answered(question, replace(BLANK, views=views, looks=looks), Verdict("x", grade))

    found = coverage([looked(box(0, 0, 20, 20), 0.0), looked(box(50, 50, 60, 60), 0.0)])
    assert found == {
        "n": 2, "coverage": 0.5, "iou": 0.125, "found": 0.5,
        "wrong_and_missed": 1, "wrong_and_seen": 1,
    }  # fmt: skip
    assert coverage([one("q", 1.0, looked=True)]) is None  # no known evidence
    assert coverage(many([1.0])) is None  # no look


@pytest.mark.parametrize(
    ("crops", "share"),
    [
        ([], 0.0),
        ([(0, 0, 5, 10)], 0.5),
        ([(0, 0, 5, 10), (0, 0, 5, 10)], 0.5),
        ([(0, 0, 6, 10), (4, 0, 10, 10)], 1.0),
        ([(20, 20, 30, 30)], 0.0),
        ([(0, 0, 5, 5), (5, 5, 10, 10)], 0.5),
    ],
)
def test_covered_share_counts_overlaps_once(
    crops: list[tuple[float, float, float, float]], share: float
) -> None:
    assert covered([box(0, 0, 10, 10)], [box(*crop) for crop in crops]) == pytest.approx(share)


def test_iou_of_known_boxes() -> None:
    assert iou(box(0, 0, 10, 10), box(0, 0, 10, 10)) == 1.0
    assert iou(box(0, 0, 10, 10), box(5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert iou(box(0, 0, 1, 1), box(5, 5, 6, 6)) == 0.0
    assert iou(box(0, 0, 0, 0), box(0, 0, 0, 0)) == 0.0
