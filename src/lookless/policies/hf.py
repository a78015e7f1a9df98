"""Transformers in process: batched multi-turn sampling with one key-value cache.

What a rollout draws depends on the seed, its question, its mode and which sample it is, not on what
else is in the batch: rollouts can be spread over processes, or redone, and stay the same.

A prefix that several rollouts share is computed once; its keys and values are copied to them. Rows
that have ended their turn wait beside the batch until all have, and go on from there together.

Tensor shapes: B rows, S tokens in the cache, D hidden size, V vocabulary.
"""

import copy
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lookless.chat.chatml import ChatML
from lookless.policies.policy import Observation, Prompt, Sampled
from lookless.policies.rows import Rows, joined, new_cache
from lookless.vlm import VLM, FeatureCache, Segment

MOST_OPEN = 0.7
"""Share of a batch's rows still in their turn at which those that have ended it step aside."""


@dataclass
class HfPolicy:
    """Samples from a `VLM`; temperature 0 is greedy."""

    vlm: VLM
    temperature: float = 1.0
    seed: int | str = 0

    def __post_init__(self) -> None:
        """Start without features of any image.

        Raises:
            ConfigError: If not every layer attends to all that is before it.
        """
        new_cache(self.vlm.model.config.get_text_config())
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
    """A batch of rollouts."""

    @torch.no_grad()
    def __init__(self, policy: HfPolicy, prompts: Sequence[Prompt]) -> None:
        self.policy = policy
        self.vlm = policy.vlm
        self.prompts = list(prompts)
        self.turns = [0] * len(prompts)
        keys = [(prompt.prefix, prompt.overview.key) for prompt in prompts]
        distinct = list(dict.fromkeys(keys))
        first = [prompts[keys.index(key)] for key in distinct]
        features = policy.features.encode([prompt.overview for prompt in first])
        segments = [Segment(p.prefix, [f]) for p, f in zip(first, features, strict=True)]
        cache = new_cache(self.vlm.model.config.get_text_config())
        _, mask_BS, ends = self.vlm.forward(segments, cache=cache, pad_left=True)
        begun = Rows(list(range(len(distinct))), cache, mask_BS, ends)
        rows = begun.part([distinct.index(key) for key in keys])
        rows.names = list(range(len(prompts)))
        self.held = [rows]
        """All rollouts that may go on, in the batches in which they ended their turns."""

    @torch.no_grad()
    def step(
        self, appended: Mapping[int, Observation | None], max_tokens: int
    ) -> dict[int, Sampled]:
        """Return the next turn of the rollouts that go on; the others leave the batch."""
        rows = self._kept(appended)
        pictures = {row: o.picture for row, o in appended.items() if o is not None and o.picture}
        features = dict(
            zip(pictures, self.policy.features.encode(list(pictures.values())), strict=True)
        )
        segments = []
        for row in rows.names:
            seen = appended[row]
            ids = [] if self.turns[row] else [*self.prompts[row].rest]
            ids += [] if seen is None else [*seen.said, *seen.token_ids]
            segments.append(Segment(ids, [features[row]] if row in features else []))
        hidden_BTD, rows.mask_BS, rows.ends = self.vlm.forward(
            segments, rows.ends, cache=rows.cache, past_mask_BS=rows.mask_BS, pad_left=True
        )
        return self._sample_turn(rows, hidden_BTD[:, -1], max_tokens)

    def _kept(self, names: Collection[int]) -> Rows:
        """Return the rollouts with these names as one batch; nothing else is held any more."""
        parts = []
        for rows in self.held:
            places = [place for place, name in enumerate(rows.names) if name in names]
            if len(places) == len(rows.names):
                parts.append(rows)
            elif places:
                parts.append(rows.part(places))
        self.held = []
        return joined(parts)

    def _sample_turn(self, rows: Rows, hidden_BD: Tensor, max_tokens: int) -> dict[int, Sampled]:
        """Sample token by token until every row has ended its turn or reached the limit."""
        end_id = self.vlm.chat.end_id
        ids: dict[int, list[int]] = {row: [] for row in rows.names}
        logprobs: dict[int, list[float]] = {row: [] for row in rows.names}
        draws = {row: self._draws(row, max_tokens) for row in rows.names}
        open_B = [True] * len(rows.names)
        for place in range(max_tokens):
            draws_B = torch.tensor([draws[row][place] for row in rows.names])
            logits_BV = self.vlm.logits(hidden_BD)
            next_B, logprob_B = choose(logits_BV, draws_B, self.policy.temperature)
            sampled = zip(rows.names, open_B, next_B.tolist(), logprob_B.tolist(), strict=True)
            for row, is_open, token, logprob in sampled:
                if is_open:
                    ids[row].append(token)
                    logprobs[row].append(logprob)
            hidden_BD = self._advance(rows, next_B, open_B)
            open_B = [ids[row][-1] != end_id for row in rows.names]
            if not any(open_B):
                break
            if sum(open_B) <= len(open_B) * MOST_OPEN:
                going = [b for b, is_open in enumerate(open_B) if is_open]
                self.held.append(rows.part([b for b, is_open in enumerate(open_B) if not is_open]))
                rows, hidden_BD, open_B = rows.part(going), hidden_BD[going], [True] * len(going)
        self.held.append(rows)
        return {
            row: Sampled(tuple(said), tuple(logprobs[row]), said[-1] == end_id)
            for row, said in ids.items()
        }

    def _advance(self, rows: Rows, next_B: Tensor, open_B: Sequence[bool]) -> Tensor:
        """Feed a token to every row (a hole to those that have ended); return the hidden states."""
        open_B1 = torch.tensor(open_B, device=rows.mask_BS.device).to(rows.mask_BS)[:, None]
        rows.mask_BS = torch.cat([rows.mask_BS, open_B1], dim=1)
        hidden_BD = self.vlm.advance(next_B, rows.ends, rows.mask_BS, rows.cache)
        rows.ends = [end + is_open for end, is_open in zip(rows.ends, open_B, strict=True)]
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
