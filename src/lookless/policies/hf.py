"""Transformers in process: batched multi-turn sampling with one key-value cache.

The cache holds all rows of a batch on one time axis. Rows get their tokens at different times, so
it has holes; the attention mask hides them and positions are counted for each row by itself. A
prefix that several rollouts share is computed once; its keys and values are copied to them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    seed: int = 0

    def __post_init__(self) -> None:
        """Start the random stream that all batches of this policy draw from."""
        self.generator = torch.Generator(device=self.vlm.device).manual_seed(self.seed)
        self.features = FeatureCache(self.vlm)

    @property
    def chat(self) -> ChatML:
        """Return the dialect it speaks."""
        return self.vlm.chat

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
        self.rests = [prompt.rest for prompt in prompts]

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
            ids = self.rests[row] if seen is None else seen.token_ids
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
        for _ in range(max_tokens):
            next_B, logprob_B = self._choose(self.vlm.logits(hidden_BD))
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
        ends_B = torch.tensor(self.ends, device=self.vlm.device)
        open_B1 = is_open_B.to(self.mask_BS)[:, None]
        self.mask_BS = torch.cat([self.mask_BS, open_B1], dim=1)
        out = self.vlm.model.model.language_model(
            input_ids=next_B[:, None],
            position_ids=ends_B[None, :, None].expand(3, -1, -1),
            attention_mask=self.mask_BS,
            past_key_values=self.cache,
            use_cache=True,
        )
        self.ends = [
            end + int(is_open) for end, is_open in zip(self.ends, is_open_B.tolist(), strict=True)
        ]
        hidden_BD: Tensor = out.last_hidden_state[:, -1]
        return hidden_BD

    def _choose(self, logits_BV: Tensor) -> tuple[Tensor, Tensor]:
        """Return the chosen tokens and their log-probabilities at the sampling temperature."""
        temperature = self.policy.temperature
        if temperature == 0:
            next_B = logits_BV.argmax(-1)
            logprobs_BV = logits_BV.log_softmax(-1)
        else:
            logprobs_BV = (logits_BV / temperature).log_softmax(-1)
            next_B = torch.multinomial(logprobs_BV.exp(), 1, generator=self.policy.generator)[:, 0]
        return next_B, logprobs_BV.gather(-1, next_B[:, None])[:, 0]
