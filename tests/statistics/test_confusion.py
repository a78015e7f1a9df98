import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookless.statistics.confusion import Confusion


def test_confusion_counts_each_pair() -> None:
    decisions = [True] * 6 + [False] * 6
    truths = [True] * 4 + [False] * 2 + [True] + [False] * 5
    confusion = Confusion.of(decisions, truths)
    assert confusion == Confusion(4, 2, 1, 5)
    assert confusion.n == 12
    assert confusion.base_rate == pytest.approx(5 / 12)
    assert confusion.precision == pytest.approx(4 / 6)
    assert confusion.recall == pytest.approx(4 / 5)
    assert confusion.f1 == pytest.approx(8 / 11)
    assert confusion.over_use == pytest.approx(2 / 7)
    assert confusion.under_use == pytest.approx(1 / 5)
    assert confusion.mcc == pytest.approx((4 * 5 - 2 * 1) / math.sqrt(6 * 5 * 7 * 6))


@pytest.mark.parametrize(
    ("confusion", "mcc", "f1"),
    [
        (Confusion(3, 0, 0, 5), 1.0, 1.0),
        (Confusion(0, 5, 3, 0), -1.0, 0.0),
        (Confusion(2, 2, 2, 2), 0.0, 0.5),
        (Confusion(3, 5, 0, 0), 0.0, 6 / 11),
        (Confusion(0, 0, 3, 5), 0.0, 0.0),
        (Confusion(0, 0, 0, 0), 0.0, 0.0),
    ],
)
def test_agreement_at_its_ends(confusion: Confusion, mcc: float, f1: float) -> None:
    assert confusion.mcc == pytest.approx(mcc)
    assert confusion.f1 == pytest.approx(f1)


@pytest.mark.parametrize(
    ("confusion", "base_rate", "over_use", "under_use"),
    [
        (Confusion(0, 0, 0, 0), None, None, None),
        (Confusion(3, 0, 1, 0), 1.0, None, 0.25),
        (Confusion(0, 3, 0, 1), 0.0, 0.75, None),
    ],
)
def test_use_of_what_never_occurred_is_unknown_and_not_zero(
    confusion: Confusion,
    base_rate: float | None,
    over_use: float | None,
    under_use: float | None,
) -> None:
    assert confusion.base_rate == base_rate
    assert confusion.over_use == over_use
    assert confusion.under_use == under_use


@given(st.integers(1, 50), st.integers(0, 50))
def test_precision_of_looking_always_is_the_base_rate(needed: int, not_needed: int) -> None:
    truths = [True] * needed + [False] * not_needed
    always = Confusion.of([True] * len(truths), truths)
    assert always.precision == always.base_rate
    assert always.under_use == 0


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_mcc_is_the_correlation_of_decisions_and_truths(pairs: list[tuple[bool, bool]]) -> None:
    decisions, truths = zip(*pairs, strict=True)
    mcc = Confusion.of(decisions, truths).mcc
    assert -1.000001 <= mcc <= 1.000001
    if len(set(decisions)) == len(set(truths)) == 2:
        assert mcc == pytest.approx(float(np.corrcoef(decisions, truths)[0, 1]), abs=1e-9)


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        Confusion.of([True], [])
