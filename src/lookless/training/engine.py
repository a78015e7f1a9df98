"""What trains a model: sharding, precision, adapters, optimiser; on one process or many.

Many processes are started by torchrun. Parameters, gradients and the optimiser's state are then
sharded over them by FSDP2; each process computes its own rows, and gradients are summed, so that a
loss must be divided by what all processes' rows amount to.
"""

import copy
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from lookless.episode import Rollout
from lookless.images import Source
from lookless.training.lora import LoraSettings, add_lora, merged, without_lora
from lookless.training.ranks import Ranks
from lookless.training.replay import Replay, by_length, rollout_keys
from lookless.vlm import VLM, FeatureCache
from lookless.vlm.forest import packed_batches
from lookless.vlm.forest_attention import why_not_on

LOG = logging.getLogger(__name__)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class EngineConfig(BaseModel):
    """How a model is trained, whatever it is trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    train_vision: bool = False
    """Whether gradients reach the vision tower; if not, each picture is encoded once."""
    lora: LoraSettings | None = None
    """Adapters that are trained instead of the weights; None trains the weights."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the computation; the weights that the optimiser changes are always float32."""
    checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them."""
    micro_batch_tokens: int = Field(16_384, ge=1)
    """Tokens that go through the model at once on each process; padding included, if there is."""
    share_prefixes: bool = True
    """Compute what rollouts begin alike with once, where the model's attention allows it."""
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    keep: int = Field(1, ge=1)
    """How many of the newest checkpoints stay on disk; the best one stays beside them."""


class Engine:
    """A model in training."""

    def __init__(
        self,
        vlm: VLM,
        config: EngineConfig,
        ranks: Ranks | None = None,
        *,
        with_reference: bool = False,
    ) -> None:
        """Prepare a model for training, in place.

        Args:
            vlm: The whole model; every process has the same.
            config: Settings.
            ranks: This process among the others; None: alone.
            with_reference: Remember the model as it is now.
        """
        self.vlm = vlm
        self.config = config
        self.ranks = ranks or Ranks()
        self.is_sharded = self.ranks.world > 1 or config.dtype != "float32"
        model: nn.Module = vlm.model
        model.to(self.ranks.device)
        vlm.model.requires_grad_(True)
        why_not = vlm.why_not_packed or why_not_on(self.ranks.device, DTYPES[config.dtype])
        share = config.share_prefixes and why_not is None
        if config.share_prefixes and why_not and self.ranks.is_first:
            LOG.warning("prefixes are not shared: %s", why_not)
        self._reference: Replay | None = None
        if with_reference and (config.lora is None or config.train_vision):
            self._reference = _frozen_copy(vlm, share)
        if config.lora is not None:
            add_lora(vlm, config.lora)
        for module in vlm.vision:
            module.requires_grad_(config.train_vision)
            if not config.train_vision:
                module.to(DTYPES[config.dtype])  # no optimiser adds to them
        vlm.pixel_dtype = DTYPES[config.dtype]
        if config.checkpointing:
            vlm.model.gradient_checkpointing_enable({"use_reentrant": False})
        cache = None if config.train_vision else FeatureCache(vlm)
        self.replay = Replay(vlm, cache, share_prefixes=share)
        if self.is_sharded:
            self.ranks.form_group()
            _shard(self.replay, vlm, config)
            if self._reference is not None:
                _shard(self._reference, self._reference.vlm, config)
        trained = [p for p in vlm.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            trained, lr=0.0, betas=(0.9, 0.98), weight_decay=config.weight_decay
        )

    @property
    def features(self) -> FeatureCache | None:
        """Return the features of images that stay right while the vision tower is frozen."""
        return self.replay.cache

    @torch.no_grad()
    def reference(
        self, rollouts: Sequence[Rollout], sources: Sequence[Source], temperature: float
    ) -> Tensor:
        """Return logprobs_BT of the model as it was before training, as `Replay` does.

        With adapters it is the model without them; else a copy, which `with_reference` keeps.
        """
        if self._reference is not None:
            replayed = self._reference(rollouts, sources, temperature)
        else:
            with without_lora(self.vlm.model):
                replayed = self.replay(rollouts, sources, temperature)
        found: Tensor = replayed.logprobs_BT
        return found

    def backward(
        self,
        rollouts: Sequence[Rollout],
        sources: Sequence[Source],
        spare: tuple[Rollout, Source],
        loss: Callable[[list[int], list[Rollout], list[Source]], Tensor],
    ) -> None:
        """Add the gradients of this process's rollouts, micro-batch by micro-batch.

        All processes must call it. One that has fewer micro-batches than another goes through the
        same motions with `spare`, of which nothing is learned.

        Args:
            rollouts: What this process learns from.
            sources: The source of each one's image.
            spare: Any rollout that saw an image, and the image's source.
            loss: Given the places of a micro-batch's rollouts (-1 for the spare one), the rollouts
                and their sources: a scalar, divided by what all processes' rollouts amount to.
        """
        quiet = silent(spare[0]), spare[1]
        for rows in self.micro_batches(rollouts, sources):
            some = [(rollouts[k], sources[k]) if k >= 0 else quiet for k in rows]
            loss(rows, [r for r, _ in some], [source for _, source in some]).backward()

    def micro_batches(
        self, rollouts: Sequence[Rollout], sources: Sequence[Source]
    ) -> list[list[int]]:
        """Return the places of this process's rollouts, micro-batch by micro-batch.

        All processes must call it, and get as many: where one has fewer than another, the rest
        hold -1 alone, for something that is gone through without effect.
        """
        limit = self.config.micro_batch_tokens
        if self.replay.share_prefixes:
            keys = rollout_keys(rollouts, sources, self.vlm.chat.image_pad_id)
            batches = packed_batches(keys, limit)
        else:
            batches = list(by_length([len(r.token_ids) for r in rollouts], limit))
        return batches + [[-1]] * (self.ranks.most(len(batches)) - len(batches))

    def step(self, lr: float) -> float:
        """Let the optimiser take a step with the gradients added so far; return their norm.

        Gradients that are not finite are thrown away: one such step would end the run.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        found = nn.utils.clip_grad_norm_(self.vlm.model.parameters(), self.config.max_grad_norm)
        norm = float(found.full_tensor() if isinstance(found, DTensor) else found)
        if math.isfinite(norm):
            self.optimizer.step()
        self.optimizer.zero_grad()
        return norm

    def state(self) -> dict[str, Any]:
        """Return weights and optimiser, as far as they are trained, sharded as they are."""
        model, optimizer = get_state_dict(self.replay, self.optimizer, options=_TRAINED)
        return {"model": model, "optimizer": optimizer}

    def load_state(self, state: dict[str, Any]) -> None:
        """Replace weights and optimiser by those of `state`, which has the form of `state()`."""
        set_state_dict(
            self.replay,
            self.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
            options=_TRAINED,
        )

    @torch.no_grad()
    def weights(self, dtype: torch.dtype | None = None) -> Iterator[tuple[str, Tensor]]:
        """Yield the whole model as an ordinary checkpoint has it, adapters merged.

        One whole tensor after the other is on this process's device; all processes must go through
        all of them.

        Args:
            dtype: What they are cast to; None leaves them.
        """
        state = self.vlm.model.state_dict()
        adapters = {name: _whole(value) for name, value in state.items() if ".lora_" in name}
        lora = self.config.lora
        for name, value in state.items():
            if name in adapters:
                continue
            plain = name.replace(".base_layer.", ".")
            whole = _whole(value)
            if lora is not None:
                whole = merged(plain, whole, adapters, lora.alpha / lora.rank)
            yield plain, whole if dtype is None else whole.to(dtype)

    def sampling_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the weights as rollouts are made with them: in the type of the computation."""
        return self.weights(DTYPES[self.config.dtype])

    def export(self, folder: Path) -> None:
        """Write the model as an ordinary Hugging Face folder, there as a whole or not at all.

        All processes must call it; the first writes.
        """
        whole = {}
        for name, weight in self.weights():
            if self.ranks.is_first:
                whole[name] = weight.to("cpu", copy=True)
        if self.ranks.is_first:
            part = folder.with_name(folder.name + ".part")
            with torch.device("meta"):
                # Without adapters and shards, which a checkpoint knows nothing of.
                empty = type(self.vlm.model)(self.vlm.model.config)
            empty.generation_config = self.vlm.model.generation_config
            empty.save_pretrained(part, state_dict=whole)
            self.vlm.save_parts(part)
            os.replace(part, folder)
        self.ranks.wait()


_TRAINED = StateDictOptions(ignore_frozen_params=True, strict=False)


def _shard(replay: Replay, vlm: VLM, config: EngineConfig) -> None:
    """Shard layer by layer; a frozen vision tower stays whole on every process."""
    # Gathered in the precision of the computation, summed in that of the weights.
    precision = MixedPrecisionPolicy(
        param_dtype=DTYPES[config.dtype], reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    frozen = {p for module in vlm.vision for p in module.parameters() if not p.requires_grad}
    parts = [vlm.model.model.language_model]
    parts += [module for module in vlm.vision if config.train_vision]
    for part in parts:
        for module in part.modules():
            if isinstance(module, nn.ModuleList):
                for layer in module:
                    fully_shard(layer, mp_policy=precision)
    fully_shard(replay, mp_policy=precision, ignored_params=frozen)
    for module in replay.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo knows no other


def _frozen_copy(vlm: VLM, share_prefixes: bool) -> Replay:
    model = copy.deepcopy(vlm.model).requires_grad_(False).eval()
    own = type(vlm)(model, vlm.processor, vlm.chat)
    return Replay(own, None, share_prefixes=share_prefixes)


def _whole(value: Tensor) -> Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value


def silent(r: Rollout) -> Rollout:
    """Return a rollout that has nothing to learn: no token counts as sampled."""
    return replace(r, is_sampled=(False,) * len(r.token_ids))
