"""Transformers in process: batched multi-turn sampling with one key-value cache.

What a rollout draws depends on the seed, its question, its mode and which sample it is, not on what
else is in the batch: rollouts can be spread over processes, or redone, and stay the same.

The cache holds all rows of a batch on one time axis. Rows get their tokens at different times, so
it has holes; the attention mask hides them and positions are counted for each row by itself. A
prefix that several rollouts share is computed once; its keys and values are copied to them.
"""

import copy
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from lookless.chat.chatml import ChatML
from lookless.policies.policy import Observation, Prompt, Sampled
from lookless.vlm import VLM, FeatureCache, Segment


@dataclass
class HfPolicy:
    """Samples from a `VLM`; temperature 0 is greedy."""

    vlm: VLM
    temperature: float = 1.0
    seed: int | str = 0

    def __post_init__(self) -> None:
        """Start without features of any image."""
        self.features = FeatureCache(self.vlm)

    def seeded(self, seed: int | str) -> "HfPolicy":
        """Return the same policy with another seed; both share the features of images."""
        other = copy.copy(self)
        other.seed = seed
        return other

    @property
    def chat(self) -> ChatML:
        """Return the dialect it speaks."""
        return self.vlm.chat

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Replace the model's weights; names and whole tensors as in a checkpoint."""
        with torch.no_grad():
            own = self.vlm.model.state_dict()
            for name, weight in weights:
                own[name].copy_(weight)
        self.features = FeatureCache(self.vlm)

    def start(self, prompts: Sequence[Prompt]) -> "HfSession":
        """Begin a batch of rollouts."""
        return HfSession(self, prompts)


class HfSession:
    """A batch of rollouts that share one cache."""

    @torch.no_grad()
    def __init__(self, policy: HfPolicy, prompts: Sequence[Prompt]) -> None:
        self.policy = policy
        self.vlm = policy.vlm
        keys = [(prompt.prefix, prompt.overview.key) for prompt in prompts]
        distinct = list(dict.fromkeys(keys))
        first = [prompts[keys.index(key)] for key in distinct]
        features = policy.features.encode([prompt.overview for prompt in first])
        segments = [Segment(p.prefix, [f]) for p, f in zip(first, features, strict=True)]
        self.cache = DynamicCache(config=self.vlm.model.config.get_text_config())
        _, mask_BS, ends = self.vlm.forward(segments, cache=self.cache, pad_left=True)
        copies = [distinct.index(key) for key in keys]
        index = torch.tensor(copies, device=self.vlm.device)
        self.cache.batch_select_indices(index)
        self.mask_BS = mask_BS[index]
        self.ends = [ends[k] for k in copies]
        self.rows = list(range(len(prompts)))
        self.prompts = list(prompts)
        self.turns = [0] * len(prompts)

    @torch.no_grad()
    def step(
        self, appended: Mapping[int, Observation | None], max_tokens: int
    ) -> dict[int, Sampled]:
        """Return the next turn of the rollouts that go on; the others leave the batch."""
        self._keep(list(appended))
        pictures = {row: o.picture for row, o in appended.items() if o is not None and o.picture}
        features = dict(
            zip(pictures, self.policy.features.encode(list(pictures.values())), strict=True)
        )
        segments = []
        for row, seen in appended.items():
            ids = self.prompts[row].rest if seen is None else seen.token_ids
            segments.append(Segment(ids, [features[row]] if row in features else []))
        hidden_BTD, self.mask_BS, self.ends = self.vlm.forward(
            segments, self.ends, cache=self.cache, past_mask_BS=self.mask_BS, pad_left=True
        )
        return self._sample_turn(hidden_BTD[:, -1], max_tokens)

    def _keep(self, rows: list[int]) -> None:
        """Drop all rows but these from the batch."""
        if rows == self.rows:
            return
        place = {row: k for k, row in enumerate(self.rows)}
        kept = [place[row] for row in rows]
        index = torch.tensor(kept, device=self.vlm.device)
        self.cache.batch_select_indices(index)
        self.mask_BS = self.mask_BS[index]
        self.ends = [self.ends[k] for k in kept]
        self.rows = rows

    def _sample_turn(self, hidden_BD: Tensor, max_tokens: int) -> dict[int, Sampled]:
        """Sample token by token until every row has ended its turn or reached the limit."""
        end_id = self.vlm.chat.end_id
        count = len(self.rows)
        ids: list[list[int]] = [[] for _ in range(count)]
        logprobs: list[list[float]] = [[] for _ in range(count)]
        is_open_B = torch.ones(count, dtype=torch.bool)
        draws_BT = torch.from_numpy(np.stack([self._draws(row, max_tokens) for row in self.rows]))
        for place in range(max_tokens):
            logits_BV = self.vlm.logits(hidden_BD)
            next_B, logprob_B = choose(logits_BV, draws_BT[:, place], self.policy.temperature)
            for b, (token, logprob) in enumerate(
                zip(next_B.tolist(), logprob_B.tolist(), strict=True)
            ):
                if is_open_B[b]:
                    ids[b].append(token)
                    logprobs[b].append(logprob)
            hidden_BD = self._advance(next_B, is_open_B)
            is_open_B &= (next_B != end_id).cpu()
            if not is_open_B.any():
                break
        return {
            row: Sampled(tuple(ids[b]), tuple(logprobs[b]), ids[b][-1] == end_id)
            for b, row in enumerate(self.rows)
        }

    def _advance(self, next_B: Tensor, is_open_B: Tensor) -> Tensor:
        """Feed a token to every row (a hole to those that have ended); return the hidden states."""
        open_B1 = is_open_B.to(self.mask_BS)[:, None]
        self.mask_BS = torch.cat([self.mask_BS, open_B1], dim=1)
        hidden_BD = self.vlm.advance(next_B, self.ends, self.mask_BS, self.cache)
        self.ends = [
            end + int(is_open) for end, is_open in zip(self.ends, is_open_B.tolist(), strict=True)
        ]
        return hidden_BD

    def _draws(self, row: int, count: int) -> np.ndarray:
        """Return the numbers in [0, 1) that decide this row's next turn."""
        prompt = self.prompts[row]
        place = (self.policy.seed, prompt.question.id, prompt.mode.value, prompt.sample)
        digest = hashlib.blake2b(repr((*place, self.turns[row])).encode(), digest_size=16).digest()
        self.turns[row] += 1
        return np.random.default_rng(int.from_bytes(digest)).random(count)


def choose(logits_BV: Tensor, draws_B: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return tokens_B and their log-probabilities_B at the sampling temperature.

    Args:
        logits_BV: Banned tokens have -inf.
        draws_B: Numbers in [0, 1), each of which decides a token; without effect if greedy.
        temperature: 0 is greedy, with the log-probabilities of temperature 1.
    """
    if temperature == 0:
        next_B = logits_BV.argmax(-1)
        logprobs_BV = logits_BV.log_softmax(-1)
    else:
        logprobs_BV = (logits_BV / temperature).log_softmax(-1)
        # In single precision the sum would lose the rare tokens of a large vocabulary.
        reached_BV = logprobs_BV.double().exp().cumsum(-1)
        wanted_B1 = draws_B.to(reached_BV)[:, None] * reached_BV[:, -1:]
        next_B = torch.searchsorted(reached_BV, wanted_B1, right=True)[:, 0]
    return next_B, logprobs_BV.gather(-1, next_B[:, None])[:, 0]
