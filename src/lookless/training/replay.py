"""Running a model over finished rollouts: the log-probabilities of their tokens, with gradients.

Tensor shapes: B rollouts, T tokens, L tokens as they went through the model, N chosen tokens, D
hidden size, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lookless.episode import Rollout
from lookless.images import Source
from lookless.losses import token_logprobs
from lookless.picture import Picture
from lookless.vlm import VLM, FeatureCache, ImageFeatures, Segment
from lookless.vlm.forest import Keys, grow, keys_of

MAX_LOGITS = 2**26
"""Logits that are computed at once, 256 MiB and a few copies; more come chunk by chunk, and again
for gradients."""


class Replayed(NamedTuple):
    """What a model makes of rollouts."""

    logprobs_BT: Tensor
    """Column t belongs to token t of the rollout; 0 where the policy did not choose it."""
    mask_BT: Tensor
    """True where the policy chose the token."""
    hidden_ND: Tensor
    """The hidden states that predict the chosen tokens, in the order of `mask_BT`."""


def features_of(
    vlm: VLM, cache: FeatureCache | None, rollouts: Sequence[Rollout], sources: Sequence[Source]
) -> list[list[ImageFeatures]]:
    """Return the features of each rollout's views.

    Args:
        vlm: The model.
        cache: Features kept from before, if the vision tower is frozen; None computes each distinct
            picture once, with gradients.
        rollouts: What was seen.
        sources: The source of each rollout's image.
    """
    pictures = [picture for pair in zip(rollouts, sources, strict=True) for picture in seen(*pair)]
    if cache is not None:
        encoded = cache.encode(pictures)
    else:
        distinct = {picture.key: picture for picture in pictures}
        features = vlm.image_features([picture.pixels for picture in distinct.values()])
        by_key = dict(zip(distinct, features, strict=True))
        encoded = [by_key[picture.key] for picture in pictures]
    found = iter(encoded)
    return [[next(found) for _ in r.views] for r in rollouts]


def seen(r: Rollout, source: Source) -> list[Picture]:
    """Return the pictures that a rollout saw, in order."""
    return [Picture(source, view) for view in r.views]


def rollout_keys(
    rollouts: Sequence[Rollout], sources: Sequence[Source], image_id: int
) -> list[Keys]:
    """Return what tells the tokens of rollouts apart, pictures included; see `keys_of`."""
    pairs = zip(rollouts, sources, strict=True)
    rows = [(r.token_ids, [p.key for p in seen(r, source)]) for r, source in pairs]
    return keys_of(rows, image_id)


def replay(
    vlm: VLM,
    rollouts: Sequence[Rollout],
    features: Sequence[Sequence[ImageFeatures]],
    temperature: float = 1.0,
    *,
    share_prefixes: bool = True,
) -> Replayed:
    """Return the log-probabilities of the rollouts' tokens under the model as it is.

    What rollouts begin alike with goes through the model once, if the model `packs`. Pad tokens are
    banned as they are in sampling.

    Args:
        vlm: The model.
        rollouts: What was said.
        features: Of each rollout's views; equal ones must be the same object to be shared.
        temperature: The one the tokens were sampled at, above 0.
        share_prefixes: False takes each rollout as a row of its own, padded to the longest.
    """
    rows = [Segment(r.token_ids, f) for r, f in zip(rollouts, features, strict=True)]
    if share_prefixes and vlm.packs:
        forest = grow(rows, vlm.chat.image_pad_id)
        hidden_LD = vlm.forward_packed(forest)
        columns = [torch.from_numpy(places) for places in forest.columns]
    else:
        hidden_BTD, _, _ = vlm.forward(rows)
        hidden_LD = hidden_BTD.flatten(0, 1)
        width = hidden_BTD.shape[1]
        columns = [torch.arange(len(r.token_ids)) + b * width for b, r in enumerate(rollouts)]
    longest = max(len(r.token_ids) for r in rollouts)
    mask_BT = torch.zeros(len(rollouts), longest, dtype=torch.bool)
    ids_BT = torch.zeros(mask_BT.shape, dtype=torch.long)
    before_BT = torch.zeros(mask_BT.shape, dtype=torch.long)
    for b, (r, places) in enumerate(zip(rollouts, columns, strict=True)):
        length = len(r.token_ids)
        mask_BT[b, :length] = torch.tensor(r.is_sampled)
        ids_BT[b, :length] = torch.tensor(r.token_ids)
        before_BT[b, 1:length] = places[:-1]
    device = vlm.device
    hidden_ND = hidden_LD[before_BT[mask_BT].to(device)]
    picked_N = _picked(vlm, hidden_ND, ids_BT[mask_BT].to(device), temperature)
    mask_BT = mask_BT.to(device)
    zeros_BT = torch.zeros(mask_BT.shape, dtype=picked_N.dtype, device=device)
    logprobs_BT = zeros_BT.masked_scatter(mask_BT, picked_N)
    return Replayed(logprobs_BT, mask_BT, hidden_ND)


def _picked(vlm: VLM, hidden_ND: Tensor, ids_N: Tensor, temperature: float) -> Tensor:
    """Return the log-probabilities (N,) of tokens, never with all their logits in memory."""

    def of_chunk(hidden_ND: Tensor, ids_N: Tensor) -> Tensor:
        return token_logprobs(vlm.logits(hidden_ND), ids_N, temperature)

    size = max(MAX_LOGITS // vlm.vocabulary, 1)
    if len(ids_N) <= size:
        return of_chunk(hidden_ND, ids_N)
    chunks = zip(hidden_ND.split(size), ids_N.split(size), strict=True)
    parts = [checkpoint(of_chunk, *chunk, use_reentrant=False) for chunk in chunks]
    return torch.cat(parts)


class Replay(nn.Module):
    """`replay` with its images as one module: one forward pass, of which FSDP is told."""

    def __init__(
        self, vlm: VLM, cache: FeatureCache | None, *, share_prefixes: bool = True
    ) -> None:
        """Wrap a model without copying it.

        Args:
            vlm: The model.
            cache: As in `features_of`.
            share_prefixes: As in `replay`.
        """
        super().__init__()
        self.model = vlm.model
        self.vlm = vlm
        self.cache = cache
        self.share_prefixes = share_prefixes and vlm.packs

    def forward(
        self, rollouts: Sequence[Rollout], sources: Sequence[Source], temperature: float = 1.0
    ) -> Replayed:
        """Return what `replay` does.

        Args:
            rollouts: What was said.
            sources: The source of each rollout's image.
            temperature: The one the tokens were sampled at.
        """
        features = features_of(self.vlm, self.cache, rollouts, sources)
        return replay(self.vlm, rollouts, features, temperature, share_prefixes=self.share_prefixes)


def by_length(lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Yield batches of indices of similar length, each at most `max_tokens` with padding.

    Something longer than that is a batch by itself.

    Example:
        >>> list(by_length([5, 9, 4], 10))
        [[2, 0], [1]]
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and lengths[index] * (len(batch) + 1) > max_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
