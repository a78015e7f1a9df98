import pytest

from lookless.training.optimizer import constant_then_linear, optimizer_for
from lookless.vlm import VLM


def test_frozen_weights_are_not_optimised(own_vlm: VLM) -> None:
    own_vlm.model.model.visual.requires_grad_(False)
    [group] = optimizer_for(own_vlm, 0.5).param_groups
    frozen = {id(p) for p in own_vlm.model.model.visual.parameters()}
    assert not frozen & {id(p) for p in group["params"]}
    assert len(group["params"]) + len(frozen) == len(list(own_vlm.model.parameters()))
    assert (group["lr"], group["weight_decay"]) == (0.5, 0.0)


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (1, 10), (10, 0), (60, 5), (7, 7)])
def test_rate_rises_stays_and_falls_and_is_never_zero(steps: int, warmup: int) -> None:
    rates = [constant_then_linear(step, steps, 2.0, warmup) for step in range(steps)]
    peak = rates.index(max(rates))
    assert all(0 < rate <= 2.0 for rate in rates)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
