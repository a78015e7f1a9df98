"""Rollouts driven by hand: sessions get crops and refusals whatever the model says."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lookless.chat.chatml import ChatML
from lookless.episode import TRAINED_MODES, LookOutcome, Mode, Question, Rollout, StopReason
from lookless.frames import Box, Frame, View
from lookless.images import SourceCache
from lookless.picture import Picture
from lookless.policies.policy import Observation, Policy, Prompt, Sampled
from lookless.vlm import VLM


@contextmanager
def biased(vlm: VLM, token: int, by: float) -> Iterator[None]:
    """Raise one token's logit while it lasts."""

    def hook(module: nn.Module, inputs: object, logits_BV: Tensor) -> Tensor:
        bias_V = torch.zeros(logits_BV.shape[-1])
        bias_V[token] = by
        return logits_BV + bias_V

    handle = vlm.model.lm_head.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def prompts_of(chat: ChatML, sources: SourceCache, questions: Sequence[Question]) -> list[Prompt]:
    prompts = []
    for question in questions:
        source = sources.get(question.image)
        view = source.full_view(chat.budget)
        for mode in TRAINED_MODES:
            prefix, rest = chat.prompt(view, question.text, mode)
            prompts.append(
                Prompt(question, mode, tuple(prefix), Picture(source, view), tuple(rest))
            )
    return prompts


def observation_of(chat: ChatML, prompt: Prompt, turn: int) -> Observation:
    """Return a crop or a refusal, of a size that depends on the rollout."""
    if prompt.mode is Mode.PROHIBITED:
        return Observation(tuple(chat.observation(LookOutcome.REFUSED)), None)
    source = prompt.overview.source
    side = 40 + 30 * turn + 60 * (prompt.mode is Mode.FORCED)
    view = source.view(Box(0, 0, 2 * side, side, Frame.SOURCE), chat.budget)
    return Observation(tuple(chat.observation(view)), Picture(source, view))


def play(
    policy: Policy, chat: ChatML, prompts: Sequence[Prompt], turns: Sequence[int]
) -> list[Rollout]:
    """Drive a session as `rollout` would, with observations that do not wait for a tool call."""
    session = policy.start(prompts)
    rows = [Builder(prompt) for prompt in prompts]
    pending: dict[int, Observation | None] = dict.fromkeys(range(len(prompts)))
    turn = [0] * len(prompts)
    under_way = set(pending)
    while under_way:
        come = session.step(pending, 9)
        pending = {}
        for row, sampled in come.items():
            assert isinstance(sampled, Sampled), sampled
            rows[row].add(sampled.token_ids, sampled.logprobs)
            turn[row] += 1
            if turn[row] == turns[row]:
                under_way.remove(row)
                continue
            pending[row] = seen = observation_of(chat, prompts[row], turn[row] - 1)
            rows[row].see(seen)
    return [row.rollout() for row in rows]


class Builder:
    """A rollout in the making."""

    def __init__(self, prompt: Prompt) -> None:
        self.prompt = prompt
        self.ids = [*prompt.prefix, *prompt.rest]
        self.logprobs: list[float | None] = [None] * len(self.ids)
        self.views: list[View] = [prompt.overview.view]

    def add(self, ids: Sequence[int], logprobs: Sequence[float]) -> None:
        self.ids += ids
        self.logprobs += logprobs

    def see(self, seen: Observation) -> None:
        self.ids += seen.token_ids
        self.logprobs += [None] * len(seen.token_ids)
        if seen.picture is not None:
            self.views.append(seen.picture.view)

    def rollout(self) -> Rollout:
        return Rollout(
            question_id=self.prompt.question.id,
            mode=self.prompt.mode,
            token_ids=tuple(self.ids),
            is_sampled=tuple(value is not None for value in self.logprobs),
            logprobs=tuple(value or 0.0 for value in self.logprobs),
            views=tuple(self.views),
            looks=(),
            turns=(),
            answer=None,
            stop=StopReason.ANSWERED,
            visual_tokens=0,
        )
