"""Rollout-guided RL: forced and prohibited rollouts say whether looking was necessary."""

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lookless.advantages import is_degenerate
from lookless.chat.chatml import ChatML
from lookless.episode import Mode, Question, Rollout
from lookless.errors import AlarmError, ConfigError, PolicyError
from lookless.images import Source, SourceCache
from lookless.losses import clipped_policy_loss, kl_penalty
from lookless.necessity import NecessityPool, necessity_grades
from lookless.policies.scripted import ScriptedPolicy
from lookless.rollout import fault_of_all, rollout
from lookless.training import rl_metrics
from lookless.training.alarms import Alarm, AlarmConfig, Alarms, must_stop
from lookless.training.allocation import roll_out
from lookless.training.checkpoints import Checkpoints
from lookless.training.collector import Collector
from lookless.training.decision import arm_logprobs, decision_index, decision_loss
from lookless.training.engine import Engine, silent
from lookless.training.loop import train
from lookless.training.ranks import interleaved
from lookless.training.rl_config import RlConfig
from lookless.training.schedule import constant_then_linear
from lookless.training.scoring import (
    Grade,
    ScoredGroup,
    look_price,
    score,
    with_decisions,
)

Log = Callable[[dict[str, Any], list[ScoredGroup], list[Alarm]], None]


def rl(
    engine: Engine,
    collector: Collector,
    questions: Sequence[Question],
    sources: SourceCache,
    config: RlConfig,
    seed: int,
    checkpoints: Checkpoints,
    log: Log,
    grade: Grade,
    alarms: Alarms | None = None,
    validate: Callable[[], float | None] | None = None,
) -> None:
    """Train the engine's model, from where `checkpoints` were left.

    Queries are dealt out to the processes, each query's rollouts to one of them.

    Args:
        engine: The model in training, made of the weights that SFT left.
        collector: Makes this process's rollouts.
        questions: The training queries; each epoch goes through them in a new order.
        sources: Opens the questions' images.
        config: Settings.
        seed: Of the order of queries and of sampling.
        checkpoints: Of this run.
        log: Called by the first process after each step with its metrics, all its groups, and the
            alarms that began.
        grade: Grades rollouts.
        alarms: Watch the metrics.
        validate: As `score` in `loop.train`.

    Raises:
        AlarmError: If an alarm began that ends training.
        ConfigError: If a step has fewer queries than there are processes.
        PolicyError: If every rollout of a step failed.
        StoppedError: As `loop.train`.
    """
    ranks = engine.ranks
    if config.queries < ranks.world:
        raise ConfigError(
            f"queries must be one for each of {ranks.world} processes, got {config.queries}; "
            "raise it"
        )
    pool = NecessityPool(config.pool_window)
    alarms = alarms or Alarms(AlarmConfig())
    learner = Learner(
        engine, config, spare_rollout(engine.vlm.chat, questions[0], sources), sources
    )

    def one_step(step: int) -> AlarmError | None:
        began = time.perf_counter()
        ranks.seed(seed, step)
        batch = ranks.share(queries_of_step(questions, config.queries, step, seed))
        collector.synchronise(engine)
        synchronised = time.perf_counter()
        groups = ranks.together(
            lambda: roll_out(collector, batch, config, pool, grade, f"{seed} {step}")
        )
        faults = ranks.gather(fault_of_all([r for group in groups for r in group.rollouts]))
        if None not in faults:
            raise PolicyError(faults[-1])
        seen = ranks.gather([(g.question.id, *necessity_grades(g)) for g in groups])
        for name, look, no_look in interleaved(seen):
            pool.add(name, look, no_look)
        scored = [score(group, pool, config) for group in groups]
        gains = interleaved(ranks.gather([one.necessity.gain for one in scored]))
        scored = with_decisions(scored, look_price(gains, config), config)
        collected = time.perf_counter()
        lr = constant_then_linear(step, config.steps, config.lr, config.warmup_steps)
        stats = learner.update(scored, lr)
        everyone = interleaved(ranks.gather_first(scored))
        crossed: Counter[str] = Counter()
        for part in ranks.gather(collector.traffic()):
            crossed.update(part)
        said: list[Alarm] = []
        if ranks.is_first:
            metrics = rl_metrics.of_step(everyone) | stats | crossed
            metrics["groups/degenerate"] = sum(is_degenerate(g.advantages) for g in everyone) / max(
                len(everyone), 1
            )
            metrics |= {"step": step + 1, "steps": config.steps, "lr": lr}
            metrics |= {
                "time/synchronise_s": synchronised - began,
                "time/rollout_s": collected - synchronised,
                "time/update_s": time.perf_counter() - collected,
            }
            said = alarms.check(metrics)
            log(metrics, everyone, said)
        ill = ranks.first(must_stop(said, alarms.config))
        if ill is None:
            return None
        return AlarmError(f"alarm {ill.name} after step {ill.step}, which is saved: {ill.message}")

    grown = Grown(pool, alarms)
    train(engine, checkpoints, config.steps, config.save_every, one_step, grown, validate)
    engine.vlm.model.eval()


@dataclass(frozen=True)
class Grown:
    """What grows in RL besides the weights."""

    pool: NecessityPool
    alarms: Alarms

    def state(self) -> dict[str, Any]:
        """Return all of it as plain JSON data."""
        return {"pool": self.pool.state(), "alarms": self.alarms.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Replace all of it."""
        self.pool.load_state(state["pool"])
        self.alarms.load_state(state["alarms"])


def queries_of_step(
    questions: Sequence[Question], count: int, step: int, seed: int
) -> list[Question]:
    """Return the queries of a step: epochs in shuffled order, a function of seed and step."""
    orders: dict[int, list[int]] = {}
    chosen = []
    for place in range(step * count, (step + 1) * count):
        epoch, index = divmod(place, len(questions))
        if epoch not in orders:
            orders[epoch] = list(range(len(questions)))
            random.Random(f"{seed}-{epoch}").shuffle(orders[epoch])
        chosen.append(questions[orders[epoch][index]])
    return chosen


def spare_rollout(chat: ChatML, question: Question, sources: SourceCache) -> tuple[Rollout, Source]:
    """Return a rollout that says nothing, and the source of its image; see `Engine.backward`."""
    policy = ScriptedPolicy(chat, lambda prompt, turn: "")
    [done] = rollout(policy, [(question, Mode.PROHIBITED)], sources)
    return silent(done), sources.get(question.image)


class Learner:
    """Takes the optimiser's steps on groups of rollouts."""

    def __init__(
        self,
        engine: Engine,
        config: RlConfig,
        spare: tuple[Rollout, Source],
        sources: SourceCache,
    ) -> None:
        """Learn with an engine.

        Args:
            engine: The model in training; with a reference, if KL is to hold it.
            config: Settings.
            spare: As in `Engine.backward`.
            sources: Opens images.
        """
        self.engine = engine
        self.config = config
        self.spare = spare
        self.sources = sources

    def update(self, groups: Sequence[ScoredGroup], lr: float) -> dict[str, float]:
        """Take the optimiser's steps on this process's groups; return the last one's statistics.

        All processes must call it; the statistics are those of all. Rollouts without an advantage
        or a decision's credit carry no gradient and are left out, unless KL holds them.
        """
        config, ranks = self.config, self.engine.ranks
        kept: list[tuple[Rollout, float, float]] = []
        for one in groups:
            for r, advantage, decision in zip(
                one.group.rollouts, one.advantages, one.decisions, strict=True
            ):
                if advantage is None or r.mode not in config.loss_modes or not any(r.is_sampled):
                    continue
                if advantage or decision or config.kl_weight:
                    kept.append((r, advantage, decision or 0.0))
        images = {one.group.question.id: one.group.question.image for one in groups}
        total = ranks.sum(
            sum(
                r.sampled_tokens
                for one in groups
                for r, advantage in zip(one.group.rollouts, one.advantages, strict=True)
                if advantage is not None and r.mode in config.loss_modes
            )
        )
        kept_tokens = ranks.sum(sum(r.sampled_tokens for r, _, _ in kept))
        rollouts = [r for r, _, _ in kept]
        seen = [self.sources.get(images[r.question_id]) for r in rollouts]
        weights = [(advantage, decision) for _, advantage, decision in kept]
        passed = _Pass(self, weights, max(total, 1.0), max(kept_tokens, 1.0))
        model = self.engine.vlm.model
        model.train()
        norm = 0.0
        for epoch in range(config.epochs):
            passed.begin(epoch)
            self.engine.backward(rollouts, seen, self.spare, passed)
            norm = self.engine.step(lr)
        model.eval()
        parts = ranks.gather(passed.stats)
        stats = {name: sum(part[name] for part in parts) for name in passed.stats}
        return stats | {"loss/grad_norm": norm, "loss/used_rollouts": ranks.sum(len(kept))}


class _Pass:
    """The loss of micro-batches in one pass over a step's rollouts, with its statistics."""

    def __init__(
        self,
        learner: Learner,
        weights: Sequence[tuple[float, float]],
        total: float,
        kept_tokens: float,
    ) -> None:
        self.learner = learner
        self.weights = [*weights, (0.0, 0.0)]  # the last, at -1, is for the spare rollout
        self.total = total
        self.kept_tokens = kept_tokens
        self.old_arms: dict[int, float] = {}
        """Log-probabilities of the arms under the policy that sampled."""
        self.stats = {"loss/sampler_kl": 0.0}

    def begin(self, epoch: int) -> None:
        """Start an epoch's statistics; how far the sampler was off is that of the first epoch."""
        self.is_first = epoch == 0
        names = ("loss/policy", "loss/decision", "loss/kl", "loss/clip_fraction")
        self.stats |= dict.fromkeys(names, 0.0)

    def __call__(self, rows: list[int], part: list[Rollout], seen: list[Source]) -> Tensor:
        """Return the loss of a micro-batch."""
        learner, config = self.learner, self.learner.config
        vlm = learner.engine.vlm
        # Before the trained pass: what that one has gathered of its shards is kept until backward.
        ref_BT = None
        if config.kl_weight:
            ref_BT = learner.engine.reference(part, seen, config.temperature)
        replayed = learner.engine.replay(part, seen, config.temperature)
        new_BT, mask_BT = replayed.logprobs_BT, replayed.mask_BT
        old_BT = torch.zeros_like(new_BT)
        for b, r in enumerate(part):
            old_BT[b, : len(r.logprobs)] = torch.tensor(r.logprobs)
        advantages_B = torch.tensor([self.weights[k][0] for k in rows], device=new_BT.device)
        loss, clip_fraction = clipped_policy_loss(
            new_BT,
            old_BT,
            advantages_B[:, None].expand_as(new_BT),
            mask_BT,
            config.clip_low,
            config.clip_high,
            self.total,
        )
        self.stats["loss/policy"] += loss.item()
        share = sum(r.sampled_tokens for r in part) / self.kept_tokens
        self.stats["loss/clip_fraction"] += clip_fraction.item() * share
        if self.is_first:
            off = kl_penalty(old_BT, new_BT.detach(), mask_BT, self.kept_tokens)
            self.stats["loss/sampler_kl"] += off.item()
        places = [
            decision_index(vlm.chat, r) if self.weights[k][1] else None
            for k, r in zip(rows, part, strict=True)
        ]
        deciding = [k for k, place in zip(rows, places, strict=True) if place is not None]
        if deciding:
            arms_N = arm_logprobs(vlm, replayed, part, places, config.temperature)
            if self.is_first:
                self.old_arms |= dict(zip(deciding, arms_N.tolist(), strict=True))
            decided = decision_loss(
                arms_N,
                torch.tensor([self.old_arms[k] for k in deciding], device=arms_N.device),
                [self.weights[k][1] for k in deciding],
                config.clip_low,
                config.clip_high,
                self.total,
            )
            self.stats["loss/decision"] += decided.item()
            loss = loss + decided
        if ref_BT is not None:
            penalty = kl_penalty(new_BT, ref_BT, mask_BT, self.total)
            self.stats["loss/kl"] += penalty.item()
            loss = loss + config.kl_weight * penalty
        return loss
