"""Rollout-guided RL: forced and prohibited rollouts say whether looking was necessary."""

import copy
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import nn

from lookless.advantages import (
    decision_advantages,
    hdpo_advantages,
    hdpo_weight_limit,
    is_degenerate,
    per_mode_advantages,
)  # fmt: skip
from lookless.episode import TRAINED_MODES, Group, Mode, Question, Rollout
from lookless.errors import ConfigError, wrong_setting
from lookless.grading import grade
from lookless.images import SourceCache
from lookless.losses import clipped_policy_loss, kl_penalty
from lookless.necessity import (
    Necessity,
    NecessityPool,
    necessity_grades,
    posterior,
    strict,
)
from lookless.policies.hf import HfPolicy
from lookless.rewards import REWARDS, RewardParts
from lookless.rewards.dominance import MOST_ADAPTIVE, MOST_LOOKS
from lookless.rollout import Limits, check_faults, rollout
from lookless.training import rl_metrics
from lookless.training.decision import arm_logprobs, decision_index, decision_loss
from lookless.training.optimizer import constant_then_linear, optimizer_for
from lookless.training.replay import by_length, features_of, replay
from lookless.vlm import VLM, FeatureCache


class RlConfig(BaseModel):
    """Settings of RL; the defaults are those of the demo, docs/log.md says what others did."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    steps: int = Field(36, ge=1)
    queries: int = Field(24, ge=1)
    """Queries a step."""
    forced: int = Field(4, ge=0)
    """Rollouts per query that must look."""
    prohibited: int = Field(4, ge=0)
    """Rollouts per query that may not look."""
    adaptive: int = Field(8, ge=1, le=MOST_ADAPTIVE)
    """Rollouts per query that are free to choose."""
    reward: str = "rgrl"
    """One of `lookless.rewards.REWARDS`."""
    reward_settings: dict[str, Any] = Field(default_factory=dict)
    """Settings of the reward that differ from its defaults."""
    estimator: Literal["strict", "posterior"] = "posterior"
    """How necessity is estimated; `strict` is the paper's."""
    pool_window: int | None = Field(None, ge=1)
    """How many of a query's newest grades on each side the posterior pools; None for all."""
    normalise: bool = False
    """Divide advantages by their standard deviation (GRPO)."""
    decision_weight: float = Field(20.0, ge=0)
    """Weight of the counterfactual credit of the decision."""
    look_price: Annotated[float, Field(ge=0)] | Literal["mean"] = "mean"
    """Gain in accuracy that a look must exceed in the decision's credit; `mean` is the mean gain of
    the step's queries, at least 0. Then looks are for the queries that gain more than others do:
    where nearly all gain alike, give a number."""
    obedience: float = Field(0.25, ge=0)
    """Credit of the decision to follow a forced or prohibited prompt, times `decision_weight`."""
    loss_modes: tuple[Mode, ...] = Field(TRAINED_MODES, min_length=1)
    """Modes whose rollouts enter the loss."""
    epochs: int = Field(1, ge=1)
    """Optimiser steps on each step's rollouts; from the second on, clipping takes effect."""
    lr: float = Field(3e-4, gt=0)
    warmup_steps: int = Field(5, ge=0)
    clip_low: float = Field(0.2, gt=0, lt=1)
    clip_high: float = Field(0.28, gt=0)
    kl_weight: float = Field(0.0, ge=0)
    """Weight of the KL divergence from the policy that RL started from."""
    max_grad_norm: float = Field(1.0, gt=0)
    temperature: float = Field(0.6, gt=0)
    """Of sampling, and of the log-probabilities that are trained."""
    micro_batch_tokens: int = Field(16_384, ge=1)
    """Tokens, padding included, that go through the model at once in the update."""
    train_vision: bool = False
    max_looks: int = Field(2, ge=1, le=MOST_LOOKS)
    max_turn_tokens: int = Field(72, ge=1)
    save_every: int = Field(20, ge=1)
    """Steps between checkpoints."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.reward not in REWARDS:
            raise ConfigError(f"reward must be one of {', '.join(REWARDS)}, got {self.reward!r}")
        try:
            _ = self.reward_config
        except ValidationError as error:
            wrong = wrong_setting(REWARDS[self.reward].config, error)
            raise ConfigError(f"reward_settings: {wrong}") from None
        if self.reward == "rgrl" and not (self.forced and self.prohibited):
            raise ConfigError(
                "reward rgrl needs forced and prohibited rollouts, "
                f"got {self.forced} and {self.prohibited}; set both to 1 or more"
            )
        if self.reward == "hdpo" and (self.forced or self.prohibited):
            raise ConfigError(
                "reward hdpo compares all rollouts of a query, so they must be adaptive, "
                f"got {self.forced} forced and {self.prohibited} prohibited; set both to 0"
            )
        if self.reward == "hdpo" and self.normalise:
            most = hdpo_weight_limit(self.adaptive)
            if self.reward_config.weight >= most:
                raise ConfigError(
                    f"weight of reward hdpo must be below {most:.3f} with {self.adaptive} adaptive "
                    f"rollouts and normalise, got {self.reward_config.weight}; lower it"
                )
        return self

    @property
    def limits(self) -> Limits:
        """Return the limits of each rollout."""
        return Limits(max_looks=self.max_looks, max_turn_tokens=self.max_turn_tokens)

    @cached_property
    def reward_config(self) -> Any:
        """Return the reward's settings, checked."""
        return REWARDS[self.reward].config(**self.reward_settings)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Return the mode of each rollout of a query."""
        return (
            (Mode.FORCED,) * self.forced
            + (Mode.PROHIBITED,) * self.prohibited
            + (Mode.ADAPTIVE,) * self.adaptive
        )


@dataclass(frozen=True)
class ScoredGroup:
    """A query's rollouts with all that learning takes from them; lists have one entry each."""

    group: Group
    necessity: Necessity
    """By the configured estimator; its `need` steers the reward."""
    strict: Necessity
    pooled: Necessity
    rewards: list[RewardParts | None]
    advantages: list[float | None]
    decisions: list[float | None]
    """Weighted credit of the decision whether to look."""


def score(group: Group, pool: NecessityPool, config: RlConfig) -> ScoredGroup:
    """Return a group's necessity, rewards and advantages; its grades are added to the pool."""
    look, no_look = necessity_grades(group)
    pool.add(group.question.id, look, no_look)
    by_strict = strict(look, no_look)
    by_posterior = pool.estimate(group.question.id, posterior)
    necessity = by_strict if config.estimator == "strict" else by_posterior
    rewards = REWARDS[config.reward].function(group, necessity, config.reward_config)
    if config.reward == "hdpo":
        advantages = hdpo_advantages(
            [None if r is None else r.parts for r in rewards],
            config.reward_config.weight,
            normalise=config.normalise,
        )
    else:
        totals = [None if r is None else r.total for r in rewards]
        advantages = per_mode_advantages(group, totals, normalise=config.normalise)
    return ScoredGroup(
        group, necessity, by_strict, by_posterior, rewards, advantages, [None] * len(rewards)
    )


def with_decisions(groups: Sequence[ScoredGroup], config: RlConfig) -> list[ScoredGroup]:
    """Return a step's groups with the credit of their decisions, if it has a weight."""
    if not config.decision_weight:
        return list(groups)
    if config.look_price == "mean":
        gains = [one.necessity.gain for one in groups if one.necessity.gain is not None]
        price = max(sum(gains) / max(len(gains), 1), 0.0)
    else:
        price = config.look_price
    return [
        replace(
            one,
            decisions=[
                None if d is None else config.decision_weight * d
                for d in decision_advantages(one.group, one.necessity, price, config.obedience)
            ],
        )
        for one in groups
    ]


def reward_alone(
    question: Question, done: Rollout, grade: float | None, config: RlConfig
) -> RewardParts | None:
    """Return what a single rollout would earn if its question's true need were the estimate.

    Alone in its group it always agrees with the majority. None if the need or the grade is unknown.
    """
    if question.needs_look is None:
        return None
    need = float(question.needs_look)
    truth = Necessity(need, 1.0, 1.0 - need, 1, 1, None)
    alone = Group(question, (done,), (grade,))
    return REWARDS[config.reward].function(alone, truth, config.reward_config)[0]


def rl(
    vlm: VLM,
    questions: Sequence[Question],
    sources: SourceCache,
    config: RlConfig,
    seed: int,
    state_file: Path,
    log: Callable[[dict[str, Any], list[ScoredGroup]], None],
) -> None:
    """Train `vlm` in place; an existing `state_file` is resumed exactly.

    Args:
        vlm: The model, as SFT left it.
        questions: The training queries; each epoch goes through them in a new order.
        sources: Opens the questions' images.
        config: Settings.
        seed: Of the order of queries and of sampling.
        state_file: Where weights, optimiser and necessity pool are kept.
        log: Called after each step with its metrics and its groups.
    """
    vlm.model.model.visual.requires_grad_(config.train_vision)
    optimizer = optimizer_for(vlm, config.lr)
    policy = HfPolicy(vlm, config.temperature)
    pool = NecessityPool(config.pool_window)
    reference = frozen_copy(vlm) if config.kl_weight else None
    first = 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        first = state["step"]
        vlm.model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        pool.load_state(state["pool"])
        if reference is not None:
            reference.model.load_state_dict(state["reference"])
    for step in range(first, config.steps):
        began = time.perf_counter()
        batch = queries_of_step(questions, config.queries, step, seed)
        requests = [(question, mode) for question in batch for mode in config.modes]
        vlm.model.eval()
        rollouts = rollout(policy.seeded(f"{seed} {step}"), requests, sources, config.limits)
        check_faults(rollouts)
        scored = [
            score(group, pool, config) for group in grouped(batch, rollouts, len(config.modes))
        ]
        groups = with_decisions(scored, config)
        sampled = time.perf_counter()
        lr = constant_then_linear(step, config.steps, config.lr, config.warmup_steps)
        stats = update(vlm, policy, optimizer, groups, sources, config, lr, reference)
        if config.train_vision:
            policy.features = FeatureCache(vlm)
        metrics = rl_metrics.of_step(groups) | stats
        metrics |= {"step": step + 1, "steps": config.steps, "lr": lr}
        metrics |= {
            "time/rollout_s": sampled - began,
            "time/update_s": time.perf_counter() - sampled,
        }
        # Logged first: a resumed run cuts the log back to the state that it finds.
        log(metrics, groups)
        if (step + 1) % config.save_every == 0 or step + 1 == config.steps:
            part = state_file.with_suffix(".part")
            torch.save(
                {
                    "step": step + 1,
                    "model": vlm.model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "pool": pool.state(),
                    "reference": reference.model.state_dict() if reference else None,
                },
                part,
            )
            part.replace(state_file)
    vlm.model.eval()


def frozen_copy(vlm: VLM) -> VLM:
    """Return the model as it is now, without gradients: what KL is measured against."""
    model = copy.deepcopy(vlm.model).requires_grad_(False)
    return type(vlm)(model, vlm.processor, vlm.chat)


def queries_of_step(
    questions: Sequence[Question], count: int, step: int, seed: int
) -> list[Question]:
    """Return the queries of a step: epochs in shuffled order, a function of seed and step."""
    chosen = []
    for place in range(step * count, (step + 1) * count):
        epoch, index = divmod(place, len(questions))
        order = list(range(len(questions)))
        random.Random(f"{seed}-{epoch}").shuffle(order)
        chosen.append(questions[order[index]])
    return chosen


def grouped(batch: Sequence[Question], rollouts: Sequence[Rollout], size: int) -> list[Group]:
    """Return each query's rollouts with their grades."""
    groups = []
    for k, question in enumerate(batch):
        part = tuple(rollouts[k * size : (k + 1) * size])
        groups.append(Group(question, part, tuple(grade(question, r) for r in part)))
    return groups


def update(
    vlm: VLM,
    policy: HfPolicy,
    optimizer: torch.optim.Optimizer,
    groups: Sequence[ScoredGroup],
    sources: SourceCache,
    config: RlConfig,
    lr: float,
    reference: VLM | None,
) -> dict[str, float]:
    """Take the optimiser's steps on a batch of groups; return the last one's statistics.

    Rollouts without an advantage or a decision's credit carry no gradient and are left out, unless
    KL holds them.
    """
    kept: list[tuple[Rollout, float, float]] = []
    for one in groups:
        for r, advantage, decision in zip(
            one.group.rollouts, one.advantages, one.decisions, strict=True
        ):
            if advantage is None or r.mode not in config.loss_modes or not any(r.is_sampled):
                continue
            if advantage or decision or reference is not None:
                kept.append((r, advantage, decision or 0.0))
    images = {one.group.question.id: one.group.question.image for one in groups}
    total = sum(
        r.sampled_tokens
        for one in groups
        for r, advantage in zip(one.group.rollouts, one.advantages, strict=True)
        if advantage is not None and r.mode in config.loss_modes
    )
    kept_tokens = sum(r.sampled_tokens for r, _, _ in kept)
    for group in optimizer.param_groups:
        group["lr"] = lr
    vlm.model.train()
    cache = None if config.train_vision else policy.features
    old_arms: dict[int, float] = {}
    for epoch in range(config.epochs):
        stats = dict.fromkeys(
            ("loss/policy", "loss/decision", "loss/kl", "loss/clip_fraction"), 0.0
        )
        optimizer.zero_grad()
        for rows in by_length([len(r.token_ids) for r, _, _ in kept], config.micro_batch_tokens):
            part = [kept[k][0] for k in rows]
            seen = [sources.get(images[r.question_id]) for r in part]
            features = features_of(vlm, cache, part, seen)
            new_BT, mask_BT, hidden_BTD = replay(vlm, part, features, config.temperature)
            old_BT = torch.zeros_like(new_BT)
            for b, r in enumerate(part):
                old_BT[b, : len(r.logprobs)] = torch.tensor(r.logprobs)
            advantages_B = torch.tensor([kept[k][1] for k in rows], device=new_BT.device)
            loss, clip_fraction = clipped_policy_loss(
                new_BT,
                old_BT,
                advantages_B[:, None].expand_as(new_BT),
                mask_BT,
                config.clip_low,
                config.clip_high,
                float(total),
            )
            stats["loss/policy"] += loss.item()
            share = sum(r.sampled_tokens for r in part) / kept_tokens
            stats["loss/clip_fraction"] += clip_fraction.item() * share
            places = [decision_index(vlm.chat, kept[k][0]) if kept[k][2] else None for k in rows]
            deciding = [k for k, place in zip(rows, places, strict=True) if place is not None]
            if deciding:
                arms_N = arm_logprobs(vlm, hidden_BTD, part, places, config.temperature)
                if epoch == 0:
                    old_arms |= dict(zip(deciding, arms_N.tolist(), strict=True))
                decided = decision_loss(
                    arms_N,
                    torch.tensor([old_arms[k] for k in deciding], device=arms_N.device),
                    [kept[k][2] for k in deciding],
                    config.clip_low,
                    config.clip_high,
                    float(total),
                )
                stats["loss/decision"] += decided.item()
                loss = loss + decided
            if reference is not None:
                with torch.no_grad():
                    if config.train_vision:
                        features = features_of(reference, None, part, seen)
                    ref_BT, _, _ = replay(reference, part, features, config.temperature)
                penalty = kl_penalty(new_BT, ref_BT, mask_BT, float(total))
                stats["loss/kl"] += penalty.item()
                loss = loss + config.kl_weight * penalty
            loss.backward()
        stats["loss/grad_norm"] = float(
            nn.utils.clip_grad_norm_(vlm.model.parameters(), config.max_grad_norm)
        )
        optimizer.step()
    stats["loss/used_rollouts"] = len(kept)
    stats["groups/degenerate"] = sum(is_degenerate(one.advantages) for one in groups) / max(
        len(groups), 1
    )
    return stats
