"""Losses over sampled tokens.

Shapes: `_B` sequences of a batch, `_T` tokens of a sequence, `_V` vocabulary. Every `_BT` tensor
has one entry per token of the whole sequence, so it lines up with `Rollout.token_ids`, `is_sampled`
and `logprobs`. `mask_BT` is boolean: True for the tokens that the policy chose.
"""

import torch
from torch import Tensor

_MAX_LOG_RATIO = 20.0
"""Beyond this `exp` would overflow and poison the gradient; clipping has long decided by then."""


def token_logprobs(logits_NV: Tensor, ids_N: Tensor, temperature: float = 1.0) -> Tensor:
    """Return logprobs_N of tokens under the logits that predict them, in float32.

    Args:
        logits_NV: Raw logits of any float type, one row for each token; banned tokens may have
            logit -inf.
        ids_N: Token ids.
        temperature: The one the tokens were sampled at, above 0.

    Raises:
        ValueError: If the shapes disagree or the temperature is not positive.
    """
    if logits_NV.shape[:-1] != ids_N.shape:
        raise ValueError(
            f"logits and ids must agree, got {tuple(logits_NV.shape)} and {tuple(ids_N.shape)}"
        )
    if not temperature > 0.0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    scaled_NV = logits_NV.float() / temperature
    return scaled_NV.gather(-1, ids_N.unsqueeze(-1)).squeeze(-1) - scaled_NV.logsumexp(-1)


def clipped_policy_loss(
    new_logprobs_BT: Tensor,
    old_logprobs_BT: Tensor,
    advantages_BT: Tensor,
    mask_BT: Tensor,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
    denominator: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the scalar loss `-sum min(r A, clip(r, 1 - clip_low, 1 + clip_high) A) / denominator`.

    With it comes the clip fraction, a scalar without gradient: the share of masked tokens whose
    gradient the clip has cut.

    r is new / old probability of each masked token. Its log is limited to +-20. An empty mask gives
    loss 0 that can still be differentiated.

    Args:
        new_logprobs_BT: Of the policy being trained, with gradient.
        old_logprobs_BT: Of the policy that sampled.
        advantages_BT: Of the token's rollout, or of the token itself.
        mask_BT: True for the tokens that count.
        clip_low: Largest fall of the ratio that still earns, in 0..1.
        clip_high: Largest rise of the ratio that still earns, at least 0.
        denominator: What the sum is divided by; None for the number of masked tokens. Micro-batches
            of one step must share a number. A constant (such as rollouts times the longest length)
            gives every token the same weight in every batch, which is Dr. GRPO's form.

    Raises:
        ValueError: If the shapes differ, the mask is not boolean or the denominator not positive.

    Source: PPO (arXiv 1707.06347); two bounds as in DAPO (arXiv 2503.14476); the constant
    denominator as in Dr. GRPO (arXiv 2503.20783).
    """
    _check_shapes(mask_BT, new_logprobs_BT, old_logprobs_BT, advantages_BT)
    log_ratio = _masked_difference(new_logprobs_BT, old_logprobs_BT, mask_BT)
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1.0 - clip_low, 1.0 + clip_high)
    gain = torch.minimum(ratio * advantages_BT, clipped * advantages_BT)
    loss = -_masked_sum(gain, mask_BT) / _divisor(mask_BT, denominator)
    with torch.no_grad():
        is_cut = ((advantages_BT > 0) & (ratio > 1.0 + clip_high)) | (
            (advantages_BT < 0) & (ratio < 1.0 - clip_low)
        )
        clip_fraction = _masked_sum(is_cut.float(), mask_BT) / _divisor(mask_BT, None)
    return loss, clip_fraction


def kl_penalty(
    new_logprobs_BT: Tensor,
    ref_logprobs_BT: Tensor,
    mask_BT: Tensor,
    denominator: float | None = None,
) -> Tensor:
    """Return the scalar estimate of KL(new || ref), summed over masked tokens / denominator.

    Per token `exp(d) - 1 - d` with `d = ref - new`, limited to +-20: never negative, 0 where equal.
    As in GRPO its gradient is taken on the sampled tokens without their probability: on policy that
    is the gradient of KL(ref || new), which is 0 at the same place.

    Args:
        new_logprobs_BT: Of the policy being trained, with gradient.
        ref_logprobs_BT: Of the policy to stay close to.
        mask_BT: True for the tokens that count.
        denominator: As in `clipped_policy_loss`.

    Raises:
        ValueError: As in `clipped_policy_loss`.

    Source: the k3 estimator of Schulman, "Approximating KL divergence" (2020), as used by GRPO.
    """
    _check_shapes(mask_BT, new_logprobs_BT, ref_logprobs_BT)
    difference = _masked_difference(ref_logprobs_BT, new_logprobs_BT, mask_BT)
    penalty = difference.exp() - 1.0 - difference
    return _masked_sum(penalty, mask_BT) / _divisor(mask_BT, denominator)


def sft_loss(logprobs_BT: Tensor, mask_BT: Tensor, denominator: float | None = None) -> Tensor:
    """Return the scalar cross-entropy of the masked tokens, in nats / denominator.

    Args:
        logprobs_BT: Of the demonstrated tokens, with gradient.
        mask_BT: True for the tokens to learn.
        denominator: As in `clipped_policy_loss`.

    Raises:
        ValueError: As in `clipped_policy_loss`.
    """
    _check_shapes(mask_BT, logprobs_BT)
    return -_masked_sum(logprobs_BT, mask_BT) / _divisor(mask_BT, denominator)


def _masked_sum(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    # Multiplying by the mask would turn an infinite value outside it into NaN.
    return values_BT.where(mask_BT, 0.0).sum()


def _masked_difference(left_BT: Tensor, right_BT: Tensor, mask_BT: Tensor) -> Tensor:
    difference = (left_BT - right_BT).where(mask_BT, 0.0)
    return difference.clamp(-_MAX_LOG_RATIO, _MAX_LOG_RATIO)


def _divisor(mask_BT: Tensor, denominator: float | None) -> Tensor | float:
    if denominator is None:
        return mask_BT.sum().clamp(min=1)
    if not denominator > 0.0:
        raise ValueError(f"denominator must be above 0, got {denominator}")
    return denominator


def _check_shapes(mask_BT: Tensor, *others_BT: Tensor) -> None:
    """Raise on what broadcasting would silently accept."""
    if mask_BT.dtype != torch.bool:
        raise ValueError(f"mask must be boolean, got {mask_BT.dtype}")
    for other in others_BT:
        if other.shape != mask_BT.shape:
            expected, got = tuple(mask_BT.shape), tuple(other.shape)
            raise ValueError(f"tensors must have the mask's shape {expected}, got {got}")
