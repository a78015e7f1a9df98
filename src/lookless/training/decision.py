"""The decision of a rollout's first turn, to look or not, and the loss that credits it.

Tensor shapes: B rows, T tokens, D hidden size; N rollouts that decided.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lookless.chat.chatml import ChatML
from lookless.episode import Rollout
from lookless.errors import ConfigError
from lookless.losses import clipped_policy_loss, token_logprobs
from lookless.training.replay import Replayed
from lookless.vlm import VLM

MIN_OTHER = 0.02
"""Below this probability of the other arm, the decision's push fades."""
_SURE = -1e-6
"""Log-probabilities above count as this one: the log of what is left must stay finite."""


def decision_index(chat: ChatML, r: Rollout) -> int | None:
    """Return the place of the token that decided whether to look, or None if there is none.

    It is the `<tool_call>` of the first turn, or else the first token that is said, white space
    apart, after that turn's thinking. None too where a call and what came of it disagree: one that
    was only thought of, or cut off by the turn's length; or if the thinking never ended.

    Raises:
        ConfigError: If `<tool_call>` is no single token of the model's.
    """
    turn = []
    for place in range(r.is_sampled.index(True), len(r.token_ids)) if any(r.is_sampled) else ():
        if not r.is_sampled[place]:
            break
        turn.append(place)
    call, close, think = (_token(chat, t) for t in ("<tool_call>", "</think>", "<think>"))
    if call < 0:
        raise ConfigError(
            "a decision can be credited only where <tool_call> is one token, got a tokenizer that "
            "splits it; set decision_weight to 0"
        )
    ids = [r.token_ids[place] for place in turn]
    start = len(ids) - ids[::-1].index(close) if close in ids else 0
    if (call in ids[start:]) != bool(r.looks) or think in ids[start:]:
        return None
    if r.looks:
        return turn[ids.index(call, start)]
    for k in range(start, len(ids)):
        if chat.decode([ids[k]]).strip():
            return turn[k]
    return None


def _token(chat: ChatML, text: str) -> int:
    """Return the id of a tag, or -1 if it is no single token of the model's."""
    ids = chat.encode(text)
    return ids[0] if len(ids) == 1 else -1


def arm_logprobs(
    vlm: VLM,
    replayed: Replayed,
    rollouts: Sequence[Rollout],
    places: Sequence[int | None],
    temperature: float = 1.0,
) -> Tensor:
    """Return arms_N: the log-probability of what each rollout did at its decision.

    There are two arms, to say `<tool_call>` or to say anything else. What else was said does not
    matter: a rollout that answers without having thought, where no call was likely, has an arm of
    probability 1, and crediting it teaches nothing about thinking.

    Args:
        vlm: The model.
        replayed: From `replay`.
        rollouts: The B rollouts.
        places: From `decision_index`; rollouts with None are left out.
        temperature: The one the tokens were sampled at.
    """
    call = _token(vlm.chat, "<tool_call>")
    rows = [(b, place) for b, place in enumerate(places) if place is not None]
    counts_BT = replayed.mask_BT.flatten().cumsum(0).view_as(replayed.mask_BT)
    deciding_N = counts_BT[[b for b, _ in rows], [place for _, place in rows]] - 1
    hidden_ND = replayed.hidden_ND[deciding_N]
    ids_N = torch.full((len(rows),), call, device=hidden_ND.device)
    looked_N = torch.tensor(
        [rollouts[b].token_ids[place] == call for b, place in rows],
        dtype=torch.bool,
        device=hidden_ND.device,
    )
    call_N = token_logprobs(vlm.logits(hidden_ND), ids_N, temperature)
    not_call_N = torch.log(-torch.expm1(call_N.clamp(max=_SURE)))
    return torch.where(looked_N, call_N, not_call_N)


def decision_loss(
    new_arms_N: Tensor,
    old_arms_N: Tensor,
    credits: Sequence[float],
    clip_low: float,
    clip_high: float,
    denominator: float,
) -> Tensor:
    """Return the scalar clipped policy loss of the decisions.

    Each credit is divided by the probability of the other arm (at least MIN_OTHER, below which the
    push fades). The gradient on the log-odds of looking is then the credit itself, as under a
    natural gradient; without, it is on average `2 p (1 - p)` times that and vanishes where the
    policy is sure.

    Args:
        new_arms_N: From `arm_logprobs`, of the policy being trained, with gradient.
        old_arms_N: Of the policy that sampled.
        credits: One for each arm, in any range; negative ones speak for the other arm.
        clip_low: As in `clipped_policy_loss`.
        clip_high: As in `clipped_policy_loss`.
        denominator: As in `clipped_policy_loss`.
    """
    other_N = (-torch.expm1(old_arms_N)).clamp(min=MIN_OTHER)
    advantages_N = torch.tensor(credits, device=new_arms_N.device) / other_N
    loss, _ = clipped_policy_loss(
        new_arms_N,
        old_arms_N,
        advantages_N,
        torch.ones_like(new_arms_N, dtype=torch.bool),
        clip_low,
        clip_high,
        denominator,
    )
    return loss
