import math

import pytest
import torch
from torch import Tensor

from lookless.losses import clipped_policy_loss, kl_penalty, sft_loss, token_logprobs

INF = float("inf")


def logs(*probabilities: float) -> Tensor:
    """Return a batch of one sequence of log-probabilities that takes a gradient."""
    return torch.tensor([probabilities], dtype=torch.float64).log().requires_grad_()


def gradient(loss: Tensor, leaf: Tensor) -> Tensor:
    (result,) = torch.autograd.grad(loss, leaf)
    return result


def mask(*values: int) -> Tensor:
    return torch.tensor([values], dtype=torch.bool)


def policy_loss(
    ratios: list[float], advantages: list[float], values: list[int], **kwargs: float
) -> tuple[Tensor, Tensor]:
    """Return the loss and its gradient by log-probability, for old probabilities of 0.4."""
    new = logs(*[0.4 * ratio for ratio in ratios])
    old = logs(*[0.4 for _ in ratios]).detach()
    loss, _ = clipped_policy_loss(new, old, torch.tensor([advantages]), mask(*values), **kwargs)
    return loss, gradient(loss, new)


def test_logits_need_not_be_normalised_and_are_divided_by_the_temperature() -> None:
    logits = torch.tensor([[math.log(9.0), 0.0]])
    ids = torch.tensor([0])
    # 9 : 1 at temperature 1, sqrt(9) : 1 at temperature 2.
    assert token_logprobs(logits, ids).exp() == pytest.approx(0.9)
    assert token_logprobs(logits, ids, 2.0).exp() == pytest.approx(0.75)


def test_half_precision_logits_are_computed_in_float32() -> None:
    logits = torch.tensor([[1.0, 2.0]], dtype=torch.bfloat16)
    logprobs = token_logprobs(logits, torch.tensor([1]))
    assert logprobs.dtype == torch.float32
    assert logprobs[0] == pytest.approx(-math.log1p(math.exp(-1.0)), abs=1e-6)


def test_bad_shapes_and_temperatures_are_refused() -> None:
    logits, ids = torch.zeros(3, 4), torch.zeros(3, dtype=torch.long)
    with pytest.raises(ValueError, match="logits and ids must agree"):
        token_logprobs(logits[:-1], ids)
    for temperature in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="temperature must be above 0"):
            token_logprobs(logits, ids, temperature)


@pytest.mark.parametrize("name", ["policy", "kl", "sft"])
def test_banned_tokens_give_no_nan_in_loss_or_gradient(name: str) -> None:
    # Token 2 is banned, yet stands unsampled at the second place, as an image pad would.
    logits = torch.tensor([[[0.0, 0.0, -INF], [0.0, 0.0, -INF], [1.0, 0.0, -INF]]])
    logits.requires_grad_()
    ids, sampled = torch.tensor([[0, 2, 1]]), mask(0, 0, 1)
    new = token_logprobs(logits, ids, 0.7)
    assert new[0, 1] == -INF
    old = new.detach() - 0.1
    loss = {
        "policy": clipped_policy_loss(new, old, torch.ones(1, 3), sampled)[0],
        "kl": kl_penalty(new, old, sampled),
        "sft": sft_loss(new, sampled),
    }[name]
    assert loss.isfinite()
    grad = gradient(loss, logits)
    assert grad.isfinite().all()
    assert grad[0, 2, :2].abs().min() > 0
    assert (grad[0, 0] == 0).all()
    assert (grad[..., 2] == 0).all()


def test_the_policy_loss_is_the_clipped_sum_over_sampled_tokens() -> None:
    # min(1.1 * 2, 1.1 * 2) + min(1.5 * 1, 1.28 * 1) + min(0.5 * -1, 0.8 * -1) = 2.2 + 1.28 - 0.8
    loss, _ = policy_loss([1.1, 1.5, 0.5, 3.0], [2.0, 1.0, -1.0, 5.0], [1, 1, 1, 0])
    assert loss.item() == pytest.approx(-(2.2 + 1.28 - 0.8) / 3)


def test_a_constant_denominator_replaces_the_number_of_tokens() -> None:
    loss, _ = policy_loss([1.0, 1.0], [1.0, 2.0], [1, 1], denominator=10.0)
    assert loss.item() == pytest.approx(-0.3)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        # The gradient by log-probability is -ratio * advantage, or 0 where the clip holds.
        (1.5, 1.0, 0.0),
        (1.27, 1.0, -1.27),
        (0.5, 1.0, -0.5),
        (0.5, -1.0, 0.0),
        (0.81, -1.0, 0.81),
        (1.5, -1.0, 1.5),
    ],
)
def test_clipping_stops_only_moves_that_went_too_far_in_the_wanted_direction(
    ratio: float, advantage: float, expected: float
) -> None:
    _, grad = policy_loss([ratio], [advantage], [1])
    assert grad.item() == pytest.approx(expected)


def test_unsampled_tokens_get_exactly_zero_gradient() -> None:
    _, grad = policy_loss([1.1, 0.9, 2.0], [1.0, -1.0, -3.0], [0, 1, 0])
    assert grad[0, 0] == 0.0
    assert grad[0, 1] != 0.0
    assert grad[0, 2] == 0.0


def test_on_policy_the_gradient_is_plain_reinforce() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 7, dtype=torch.float32, requires_grad=True)
    ids = torch.randint(7, (2, 5))
    sampled = torch.tensor([[0, 0, 1, 1, 1], [0, 1, 0, 1, 0]], dtype=torch.bool)
    advantages = torch.tensor([[1.5], [-0.5]]).expand(2, 5)
    new = token_logprobs(logits, ids)
    loss, clip_fraction = clipped_policy_loss(new, new.detach(), advantages, sampled)
    reinforce = -torch.log_softmax(logits, -1).gather(-1, ids[..., None])[..., 0]
    plain = (reinforce * advantages)[sampled].mean()
    torch.testing.assert_close(gradient(loss, logits), gradient(plain, logits))
    assert clip_fraction.item() == 0.0


def test_clip_fraction_is_that_of_the_sampled_tokens() -> None:
    new, old = logs(0.6, 0.2, 0.4, 0.1), logs(0.4, 0.4, 0.4, 0.9).detach()
    advantages = torch.tensor([[1.0, 1.0, 1.0, -1.0]])
    _, clip_fraction = clipped_policy_loss(new, old, advantages, mask(1, 1, 1, 0))
    # Ratios 1.5 (cut), 0.5 (not, the advantage is positive) and 1.
    assert clip_fraction.item() == pytest.approx(1 / 3)
    assert not clip_fraction.requires_grad


def test_an_empty_mask_gives_zero_loss_and_zero_gradient() -> None:
    loss, grad = policy_loss([1.5, 0.5], [1.0, 1.0], [0, 0])
    assert loss.item() == 0.0
    assert (grad == 0.0).all()


def test_an_absurd_ratio_gives_finite_loss_and_gradient() -> None:
    new = torch.tensor([[-1.0, -1.0]], requires_grad=True)
    old = torch.tensor([[-500.0, -500.0]])
    loss, _ = clipped_policy_loss(new, old, torch.tensor([[1.0, -1.0]]), mask(1, 1))
    assert loss.isfinite()
    assert gradient(loss, new).isfinite().all()


def test_the_kl_penalty_is_the_k3_estimator() -> None:
    new, ref = logs(0.5, 0.25, 0.3), logs(0.25, 0.5, 0.9).detach()
    # ref / new is 1/2 and 2.
    expected = ((0.5 - 1 - math.log(0.5)) + (2 - 1 - math.log(2.0))) / 2
    loss = kl_penalty(new, ref, mask(1, 1, 0))
    assert loss.item() == pytest.approx(expected)
    # By log-probability: (1 - ref / new) / 2.
    torch.testing.assert_close(
        gradient(loss, new), torch.tensor([[0.25, -0.5, 0.0]], dtype=torch.float64)
    )


def test_the_kl_penalty_vanishes_at_the_reference() -> None:
    new = logs(0.5, 0.25)
    loss = kl_penalty(new, new.detach(), mask(1, 1), denominator=7.0)
    assert loss.item() == 0.0
    assert (gradient(loss, new) == 0.0).all()


def test_sft_loss_is_the_mean_cross_entropy_of_masked_tokens() -> None:
    new = logs(0.5, 0.3, 0.2)
    loss = sft_loss(new, mask(0, 1, 1))
    assert loss.item() == pytest.approx(-(math.log(0.3) + math.log(0.2)) / 2)
    assert sft_loss(new, mask(0, 0, 1), 4.0).item() == pytest.approx(-math.log(0.2) / 4)


def test_sft_gradient_is_softmax_minus_one_hot_of_masked_tokens_only() -> None:
    logits = torch.tensor([[[0.5, 0.3, 0.2], [0.1, 0.7, 0.2]]]).log().requires_grad_()
    new = token_logprobs(logits, torch.tensor([[0, 2]]))
    grad = gradient(sft_loss(new, mask(0, 1)), logits)
    torch.testing.assert_close(grad, torch.tensor([[[0.0] * 3, [0.1, 0.7, -0.8]]]))


def test_misuse_is_refused_rather_than_broadcast() -> None:
    new = logs(0.5, 0.5)
    with pytest.raises(ValueError, match="must have the mask's shape"):
        clipped_policy_loss(new, new, torch.ones(1, 1), mask(1, 1))
    with pytest.raises(ValueError, match="mask must be boolean"):
        kl_penalty(new, new, torch.ones(1, 2))
    for denominator in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="denominator must be above 0"):
            kl_penalty(new, new, mask(1, 1), denominator)
