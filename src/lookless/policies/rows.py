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

from lookless.errors import ConfigError

ROOM = 64
"""Tokens that a layer has room for beyond those it holds whenever it moves."""


class RoomyLayer(DynamicLayer):
    """Keys and values of a layer, in memory with room for more: nothing is copied for a token."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._room: tuple[Tensor, Tensor] | None = None

    def reset(self) -> None:
        """Hold nothing."""
        self._room = self.keys = self.values = None
        self.is_initialized = False

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Append keys and values (B, K, T, C); return all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if self._room is not None and (
            self.keys is None or self.keys.data_ptr() != self._room[0].data_ptr()
        ):
            self._room = None  # somebody has put other keys in their place
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


def new_cache(config: PreTrainedConfig) -> DynamicCache:
    """Return an empty cache for a text tower of this configuration.

    Raises:
        ConfigError: If a layer does not attend to all that is before it: with rows that got their
            tokens at different times its window would be another one.
    """
    kept = DynamicCache(config=config).layers
    other = [type(layer).__name__ for layer in kept if type(layer) is not DynamicLayer]
    if other:
        raise ConfigError(
            "layers must attend to all that is before them for rollouts by transformers, got "
            f"{other[0]}; use engine vllm"
        )
    return cache_of([RoomyLayer() for _ in kept])


def cache_of(layers: Sequence[RoomyLayer]) -> DynamicCache:
    """Return a cache of layers."""
    cache = DynamicCache()
    cache.layers = list(layers)
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
        # One layer after the other, so that no more than one is there a third time.
        layers = (
            _filled(*(kv[index][:, :, used_S] for kv in (layer.keys, layer.values)))
            for layer in self.layers
        )
        return Rows(
            [self.names[place] for place in places],
            cache_of(list(layers)),
            mask_BS[:, used_S],
            [self.ends[place] for place in places],
        )


def joined(parts: Sequence[Rows]) -> Rows:
    """Return rows of several batches as one batch; the parts are of no use then."""
    if len(parts) == 1:
        return parts[0]
    longest = max(part.mask_BS.shape[1] for part in parts)
    layers = []
    for several in zip(*(part.layers for part in parts), strict=True):
        keys = torch.cat([_led(one.keys, longest) for one in several])
        values = torch.cat([_led(one.values, longest) for one in several])
        layers.append(_filled(keys, values))
        for one in several:  # its memory is free for the next one
            one.reset()
    return Rows(
        [name for part in parts for name in part.names],
        cache_of(layers),
        torch.cat([_led(part.mask_BS[..., None], longest)[..., 0] for part in parts]),
        [end for part in parts for end in part.ends],
    )


def _led(values: Tensor, length: int) -> Tensor:
    """Return values (..., S, C) with zeros in front, so that S is `length`."""
    return torch.nn.functional.pad(values, (0, 0, length - values.shape[-2], 0))


def _filled(keys: Tensor, values: Tensor) -> RoomyLayer:
    """Return a layer that holds these keys and values."""
    layer = RoomyLayer()
    layer.update(keys, values)
    return layer
