"""Operation-aware supervised fine-tuning: cross-entropy on the tokens the demonstrator chose."""

import random
from collections.abc import Callable, Sequence

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from lookless.episode import Rollout
from lookless.errors import ConfigError
from lookless.images import Source
from lookless.losses import sft_loss
from lookless.training.checkpoints import Checkpoints
from lookless.training.engine import Engine, silent
from lookless.training.loop import train
from lookless.training.schedule import constant_then_linear

HELD_AT_ONCE = 64
"""Held-out demonstrations of each process that are in memory at once."""


class SftConfig(BaseModel):
    """Settings of SFT."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: int = Field(3, ge=1)
    """Times every trajectory is seen."""
    batch: int = Field(16, ge=1)
    """Trajectories a step, of all processes together."""
    lr: float = Field(8e-4, gt=0)
    warmup_steps: int = Field(10, ge=0)
    save_every: int = Field(200, ge=1)
    """Steps between checkpoints."""
    max_context: int = Field(4096, ge=1)
    """Tokens of a demonstration at most."""

    def steps(self, trajectories: int) -> int:
        """Return the steps of a run."""
        return self.epochs * -(-trajectories // self.batch)


def sft(
    engine: Engine,
    trajectories: Sequence[Rollout],
    source: Callable[[int], Source],
    config: SftConfig,
    seed: int,
    checkpoints: Checkpoints,
    log: Callable[[dict[str, float]], None],
    score: Callable[[], float | None] | None = None,
) -> None:
    """Train the engine's model on demonstrated rollouts, from where `checkpoints` were left.

    Args:
        engine: The model in training.
        trajectories: Demonstrations; loss falls on the tokens that `is_sampled` marks. One is taken
            when it is needed, so they may be made then.
        source: Given a trajectory's place, the source of its image.
        config: Settings.
        seed: Of the order of the trajectories.
        checkpoints: Of this run.
        log: Called after each step with `step`, `steps`, `loss`, `lr`, `grad_norm`.
        score: As in `loop.train`.

    Raises:
        ConfigError: If a batch has fewer trajectories than there are processes.
        StoppedError: As `loop.train`.
    """
    ranks = engine.ranks
    if min(config.batch, len(trajectories)) < ranks.world:
        raise ConfigError(
            f"batch must have a trajectory for each of {ranks.world} processes, got {config.batch} "
            f"of {len(trajectories)}; raise it"
        )
    steps = config.steps(len(trajectories))
    model = engine.vlm.model
    spare = trajectories[0], source(0)

    def one_step(step: int) -> None:
        ranks.seed(seed, step)
        rows = ranks.share(rows_of_step(len(trajectories), config.batch, step, seed))
        part = [trajectories[k] for k in rows]
        seen = [source(k) for k in rows]
        total = ranks.sum(sum(r.sampled_tokens for r in part))
        losses = 0.0

        def loss_of(rows: list[int], some: list[Rollout], images: list[Source]) -> Tensor:
            nonlocal losses
            replayed = engine.replay(some, images)
            loss = sft_loss(replayed.logprobs_BT, replayed.mask_BT, total)
            losses += loss.item()
            return loss

        model.train()
        engine.backward(part, seen, spare, loss_of)
        lr = constant_then_linear(step, steps, config.lr, config.warmup_steps)
        norm = engine.step(lr)
        model.eval()
        loss = ranks.sum(losses)
        if ranks.is_first:
            log({"step": step + 1, "steps": steps, "loss": loss, "lr": lr, "grad_norm": norm})

    train(engine, checkpoints, steps, config.save_every, one_step, score=score)


@torch.no_grad()
def held_out_loss(
    engine: Engine, trajectories: Sequence[Rollout], source: Callable[[int], Source]
) -> float:
    """Return the loss per token of demonstrations that are not learned from.

    All processes must call it.

    Args:
        engine: The model in training.
        trajectories: As in `sft`.
        source: As in `sft`.
    """
    ranks = engine.ranks
    spare = silent(trajectories[0]), source(0)
    total, tokens = 0.0, 0
    for start in range(0, len(trajectories), HELD_AT_ONCE * ranks.world):
        part = range(start, min(start + HELD_AT_ONCE * ranks.world, len(trajectories)))
        held = [(trajectories[k], source(k)) for k in ranks.share(part)]
        tokens += sum(r.sampled_tokens for r, _ in held)
        for rows in engine.micro_batches([r for r, _ in held], [s for _, s in held]):
            some = [held[k] if k >= 0 else spare for k in rows]
            replayed = engine.replay([r for r, _ in some], [s for _, s in some])
            total += sft_loss(replayed.logprobs_BT, replayed.mask_BT, 1.0).item()
    return ranks.sum(total) / max(ranks.sum(tokens), 1)


def rows_of_step(count: int, batch: int, step: int, seed: int) -> list[int]:
    """Return what a step sees of `count` trajectories: epochs in shuffled order.

    A function of seed and step. The last batch of an epoch is what is left of it.
    """
    per_epoch = -(-count // batch)
    epoch, place = divmod(step, per_epoch)
    order = list(range(count))
    random.Random(f"{seed}-{epoch}").shuffle(order)
    return order[place * batch : (place + 1) * batch]
