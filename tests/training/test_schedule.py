import pytest

from lookless.training.schedule import constant_then_linear


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (1, 10), (10, 0), (60, 5), (7, 7)])
def test_rate_rises_stays_and_falls_and_is_never_zero(steps: int, warmup: int) -> None:
    rates = [constant_then_linear(step, steps, 2.0, warmup) for step in range(steps)]
    peak = rates.index(max(rates))
    assert all(0 < rate <= 2.0 for rate in rates)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
