"""Rollouts under way in one batch, with their keys and values.

All rows of a batch have one time axis. They get their tokens at different times, so it has holes,
which the mask hides.

Tensor shapes: B rows, S tokens in the cache, K heads of keys, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer

ROOM = 64
"""Tokens that a layer has room for beyond those it holds whenever it moves."""


class RoomyLayer(DynamicLayer):
    """Keys and values of a layer, in memory with room for more: nothing is copied for a token."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._room: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Append keys and values (B, K, T, C); return all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        past = self.get_seq_length()
        total = past + key_states.shape[-2]
        if self._room is None or self._room[0].shape[-2] < total:
            shape = (*key_states.shape[:2], total + max(total // 4, ROOM), key_states.shape[-1])
            room = key_states.new_empty(shape), value_states.new_empty(shape)
            if past:
                assert self.keys is not None
                assert self.values is not None
                room[0][:, :, :past], room[1][:, :, :past] = self.keys, self.values
            self._room = room
        keys, values = self._room
        keys[:, :, past:total], values[:, :, past:total] = key_states, value_states
        self.keys, self.values = keys[:, :, :total], values[:, :, :total]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows, in this order."""
        super().batch_select_indices(indices)
        self._room = None


def new_cache(config: PreTrainedConfig) -> DynamicCache:
    """Return an empty cache for a text tower of this configuration."""
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer() if type(one) is DynamicLayer else one for one in cache.layers]
    return cache


@dataclass
class Rows:
    """Rollouts that are in one batch."""

    names: list[int]
    """Which rollouts they are."""
    cache: Cache
    mask_BS: Tensor
    """Which of the cached tokens are real."""
    ends: list[int]
    """Position of each row's next token."""

    @property
    def layers(self) -> list[Any]:
        """Return the layers of the cache, each with its keys and values."""
        return self.cache.layers

    def part(self, places: Sequence[int]) -> "Rows":
        """Return some rows, in this order, as copies."""
        index = torch.tensor(places, device=self.mask_BS.device)
        mask_BS = self.mask_BS[index]
        # What is a hole to all of them is left out.
        used_S = mask_BS.any(0).nonzero()[:, 0]
        return Rows(
            [self.names[place] for place in places],
            _filled(
                self.cache,
                [
                    tuple(kv[index][:, :, used_S] for kv in (layer.keys, layer.values))
                    for layer in self.layers
                ],
            ),
            mask_BS[:, used_S],
            [self.ends[place] for place in places],
        )


def joined(parts: Sequence[Rows]) -> Rows:
    """Return rows of several batches as one batch; the parts are of no use then."""
    if len(parts) == 1:
        return parts[0]
    longest = max(part.mask_BS.shape[1] for part in parts)
    layers = zip(*(part.layers for part in parts), strict=True)
    return Rows(
        [name for part in parts for name in part.names],
        _filled(
            parts[0].cache,
            [
                (
                    torch.cat([_led(one.keys, longest) for one in layer]),
                    torch.cat([_led(one.values, longest) for one in layer]),
                )
                for layer in layers
            ],
        ),
        torch.cat([_led(part.mask_BS[..., None], longest)[..., 0] for part in parts]),
        [end for part in parts for end in part.ends],
    )


def _led(values: Tensor, length: int) -> Tensor:
    """Return values (..., S, C) with zeros in front, so that S is `length`."""
    return torch.nn.functional.pad(values, (0, 0, length - values.shape[-2], 0))


def _filled(like: Cache, layers: Sequence[tuple[Tensor, ...]]) -> Cache:
    """Return a cache of the same kind that holds these keys and values."""
    cache = DynamicCache()
    cache.layers = [type(layer)() for layer in like.layers]
    for layer, pair in zip(cache.layers, layers, strict=True):
        layer.update(*pair)  # type: ignore[union-attr]
    return cache
