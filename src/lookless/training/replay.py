"""Running a model over finished rollouts: the log-probabilities of their tokens, with gradients.

Tensor shapes: B rows, T tokens, D hidden size.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from lookless.episode import Rollout
from lookless.images import Source
from lookless.losses import token_logprobs
from lookless.picture import Picture
from lookless.vlm import VLM, FeatureCache, ImageFeatures, Segment


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
    pictures = [
        Picture(source, view)
        for r, source in zip(rollouts, sources, strict=True)
        for view in r.views
    ]
    if cache is not None:
        encoded = cache.encode(pictures)
    else:
        distinct = {picture.key: picture for picture in pictures}
        features = vlm.image_features([picture.pixels for picture in distinct.values()])
        by_key = dict(zip(distinct, features, strict=True))
        encoded = [by_key[picture.key] for picture in pictures]
    found = iter(encoded)
    return [[next(found) for _ in r.views] for r in rollouts]


def replay(
    vlm: VLM,
    rollouts: Sequence[Rollout],
    features: Sequence[Sequence[ImageFeatures]],
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (logprobs_BT, mask_BT, hidden_BTD) of the rollouts' tokens under the model as it is.

    Column t belongs to token t of the rollout; the mask is True where the policy chose the token,
    log-probabilities are 0 elsewhere. Pad tokens are banned as they are in sampling. The hidden
    state of token t - 1 is what predicts token t.
    """
    rows = [Segment(r.token_ids, f) for r, f in zip(rollouts, features, strict=True)]
    hidden_BTD, real_BT, _ = vlm.forward(rows)
    mask_BT = torch.zeros(real_BT.shape, dtype=torch.bool)
    ids_BT = torch.zeros(real_BT.shape, dtype=torch.long)
    for b, r in enumerate(rollouts):
        mask_BT[b, : len(r.token_ids)] = torch.tensor(r.is_sampled)
        ids_BT[b, : len(r.token_ids)] = torch.tensor(r.token_ids)
    mask_BT, ids_BT = mask_BT.to(vlm.device), ids_BT.to(vlm.device)
    # Logits only where they are needed.
    chosen = mask_BT[:, 1:]
    logits_NV = vlm.logits(hidden_BTD[:, :-1][chosen])
    picked = token_logprobs(logits_NV, ids_BT[:, 1:][chosen], temperature)
    logprobs_BT = torch.zeros(real_BT.shape, dtype=picked.dtype, device=vlm.device)
    logprobs_BT[:, 1:] = logprobs_BT[:, 1:].masked_scatter(chosen, picked)
    return logprobs_BT, mask_BT, hidden_BTD


class Replay(nn.Module):
    """`replay` with its images as one module: one forward pass, of which FSDP is told."""

    def __init__(self, vlm: VLM, cache: FeatureCache | None) -> None:
        """Wrap a model without copying it.

        Args:
            vlm: The model.
            cache: As in `features_of`.
        """
        super().__init__()
        self.model = vlm.model
        self.vlm = vlm
        self.cache = cache

    def forward(
        self, rollouts: Sequence[Rollout], sources: Sequence[Source], temperature: float = 1.0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return (logprobs_BT, mask_BT, hidden_BTD) as `replay` does.

        Args:
            rollouts: What was said.
            sources: The source of each rollout's image.
            temperature: The one the tokens were sampled at.
        """
        features = features_of(self.vlm, self.cache, rollouts, sources)
        return replay(self.vlm, rollouts, features, temperature)


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
