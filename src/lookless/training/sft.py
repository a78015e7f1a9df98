"""Operation-aware supervised fine-tuning: cross-entropy on the tokens the demonstrator chose."""

import random
from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from lookless.episode import Rollout
from lookless.images import Source
from lookless.losses import sft_loss
from lookless.training.optimizer import constant_then_linear, optimizer_for
from lookless.training.replay import features_of, replay
from lookless.vlm import VLM, FeatureCache


class SftConfig(BaseModel):
    """Settings of SFT."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(3, ge=1)
    """Times every trajectory is seen."""
    batch: int = Field(16, ge=1)
    """Trajectories a step."""
    lr: float = Field(8e-4, gt=0)
    warmup_steps: int = Field(10, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    train_vision: bool = False
    """Whether gradients reach the vision tower; if not, each picture is encoded once."""


def sft(
    vlm: VLM,
    trajectories: Sequence[Rollout],
    sources: Sequence[Source],
    config: SftConfig,
    seed: int,
    log: Callable[[dict[str, float]], None],
) -> None:
    """Train `vlm` in place on demonstrated rollouts.

    Args:
        vlm: The model.
        trajectories: Demonstrations; loss falls on the tokens that `is_sampled` marks.
        sources: The source of each trajectory's image.
        config: Settings.
        seed: Of the order of the trajectories.
        log: Called after each step with `step`, `steps`, `loss`, `lr`, `grad_norm`.
    """
    vlm.model.model.visual.requires_grad_(config.train_vision)
    cache = None if config.train_vision else FeatureCache(vlm)
    optimizer = optimizer_for(vlm, config.lr)
    per_epoch = -(-len(trajectories) // config.batch)
    steps, step = config.epochs * per_epoch, 0
    vlm.model.train()
    for epoch in range(config.epochs):
        order = list(range(len(trajectories)))
        random.Random(f"{seed}-{epoch}").shuffle(order)
        for start in range(0, len(order), config.batch):
            rows = order[start : start + config.batch]
            part = [trajectories[k] for k in rows]
            features = features_of(vlm, cache, part, [sources[k] for k in rows])
            logprobs_BT, mask_BT, _ = replay(vlm, part, features)
            loss = sft_loss(logprobs_BT, mask_BT)
            optimizer.zero_grad()
            loss.backward()
            norm = nn.utils.clip_grad_norm_(vlm.model.parameters(), config.max_grad_norm)
            lr = constant_then_linear(step, steps, config.lr, config.warmup_steps)
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()
            step += 1
            log(
                {
                    "step": step,
                    "steps": steps,
                    "loss": loss.item(),
                    "lr": lr,
                    "grad_norm": float(norm),
                }
            )
    vlm.model.eval()
