"""Policies that begin each turn from scratch: with all that was said and seen so far."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lookless.chat.chatml import ChatML
from lookless.picture import Picture
from lookless.policies.policy import Observation, Prompt, Sampled
from lookless.vlm import VLM

Said = list[list[int]]
"""New tokens of each row. Log-probabilities are nobody's concern here: making them costs time."""


class ScratchPolicy(ABC):
    """Makes a turn of several rollouts at once out of their tokens and pictures."""

    def __init__(self, vlm: VLM) -> None:
        """Use a model."""
        self.vlm = vlm

    @property
    def chat(self) -> ChatML:
        """Return the dialect it speaks."""
        return self.vlm.chat

    def start(self, prompts: Sequence[Prompt]) -> "ScratchSession":
        """Begin a batch of rollouts."""
        return ScratchSession(self, prompts)

    @abstractmethod
    def say(self, ids: list[list[int]], images: Mapping[str, Tensor], max_tokens: int) -> Said:
        """Return the turn that follows each row, what comes after its end token included."""


class ScratchSession:
    """A batch of rollouts, as their tokens and pictures."""

    def __init__(self, policy: ScratchPolicy, prompts: Sequence[Prompt]) -> None:
        self.policy = policy
        self.ids = [[*prompt.prefix, *prompt.rest] for prompt in prompts]
        self.pictures: list[list[Picture]] = [[prompt.overview] for prompt in prompts]

    @torch.no_grad()
    def step(
        self, appended: Mapping[int, Observation | None], max_tokens: int
    ) -> dict[int, Sampled]:
        """Return the next turn of the rollouts that go on."""
        vlm, end = self.policy.vlm, self.policy.chat.end_id
        for row, seen in appended.items():
            if seen is not None:
                self.ids[row] += [*seen.said, *seen.token_ids]
                self.pictures[row] += [seen.picture] if seen.picture else []
        pixels = [picture.pixels for row in appended for picture in self.pictures[row]]
        images = vlm.processor(pixels, do_resize=False, return_tensors="pt")
        turns = {}
        said = self.policy.say([self.ids[row] for row in appended], images, max_tokens)
        for row, new in zip(appended, said, strict=True):
            is_ended = end in new
            kept = new[: new.index(end) + 1] if is_ended else new
            self.ids[row] += kept
            turns[row] = Sampled(tuple(kept), (0.0,) * len(kept), is_ended)
        return turns


class GeneratePolicy(ScratchPolicy):
    """Calls `generate` of transformers."""

    def __init__(self, vlm: VLM, temperature: float, seed: int = 0) -> None:
        """Sample from a model; temperature 0 is greedy."""
        super().__init__(vlm)
        self.temperature = temperature
        torch.manual_seed(seed)

    def say(self, ids: list[list[int]], images: Mapping[str, Tensor], max_tokens: int) -> Said:
        """Return the turn that follows each row, what comes after its end token included."""
        chat = self.chat
        longest = max(map(len, ids))
        ids_BT = torch.tensor([[chat.end_id] * (longest - len(row)) + row for row in ids])
        mask_BT = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in ids])
        greedy = self.temperature == 0
        made: Any = self.vlm.model.generate(  # type: ignore[operator]
            input_ids=ids_BT,
            attention_mask=mask_BT,
            mm_token_type_ids=(ids_BT == chat.image_pad_id).int(),
            **images,
            max_new_tokens=max_tokens,
            do_sample=not greedy,
            temperature=None if greedy else self.temperature,
            top_k=None if greedy else 0,
            top_p=None if greedy else 1.0,
            suppress_tokens=sorted(chat.banned_ids),
            eos_token_id=chat.end_id,
            pad_token_id=chat.end_id,
        )
        return list(made[:, longest:].tolist())
