"""Who makes a training step's rollouts, and how the trained weights reach it."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Protocol

from lookless.episode import Rollout
from lookless.images import SourceCache
from lookless.policies.hf import HfPolicy
from lookless.rollout import Limits, rollout
from lookless.training.engine import Engine
from lookless.vlm import FeatureCache
from lookless.workers import Request, Synchronised, Workers


class Collector(Protocol):
    """Makes the rollouts of one process."""

    def synchronise(self, engine: Engine) -> None:
        """Take over the engine's weights as they are; all processes must call it."""

    def collect(self, requests: Sequence[Request], seed: str) -> list[Rollout]:
        """Return one rollout for each request, in order."""

    def traffic(self) -> dict[str, float]:
        """Return what went to and came from other processes since last asked, as metrics."""


class InProcess:
    """What collectors have in common that make rollouts in this process."""

    policy: Synchronised
    sources: SourceCache
    limits: Limits

    def collect(self, requests: Sequence[Request], seed: str) -> list[Rollout]:
        """Return one rollout for each request, in order."""
        return rollout(self.policy.seeded(seed), requests, self.sources, self.limits)

    def traffic(self) -> dict[str, float]:
        """Return nothing: nothing leaves the process."""
        return {}


class SameWeights(InProcess):
    """Rollouts of the very model that is trained, in the same process: nothing to synchronise."""

    policy: HfPolicy

    def __init__(self, engine: Engine, sources: SourceCache, limits: Limits, temperature: float):
        """Sample from an engine's model, which must not be sharded.

        Args:
            engine: The model in training.
            sources: Opens images.
            limits: Of each episode.
            temperature: Of sampling.
        """
        self.policy = HfPolicy(engine.vlm, temperature)
        self.policy.features = engine.features or self.policy.features
        self.sources = sources
        self.limits = limits

    def synchronise(self, engine: Engine) -> None:
        """Forget features of images that a trained vision tower would see otherwise now."""
        if engine.config.train_vision:
            self.policy.features = FeatureCache(engine.vlm)


class OwnWeights(InProcess):
    """Rollouts of a policy in this process that has a copy of the weights."""

    def __init__(self, policy: Synchronised, sources: SourceCache, limits: Limits):
        """Sample from a policy.

        Args:
            policy: Such as vLLM, or transformers beside a sharded model.
            sources: Opens images.
            limits: Of each episode.
        """
        self.policy = policy
        self.sources = sources
        self.limits = limits

    def synchronise(self, engine: Engine) -> None:
        """Hand the policy the engine's weights."""
        self.policy.load_weights(engine.sampling_weights())


class OnWorkers:
    """Rollouts of workers in processes of their own, always with the engine's newest weights."""

    def __init__(self, workers: Workers, limits: Limits):
        """Sample on workers that have just been started, or joined.

        Args:
            workers: As this process uses them.
            limits: Of each episode.
        """
        self.workers = workers
        self.limits = limits
        self.version = 0
        """Of the weights; the same in all processes."""

    def synchronise(self, engine: Engine) -> None:
        """Let the first process publish the engine's weights, which rollouts are made with then."""
        self.version += 1
        weights = engine.sampling_weights()
        if engine.ranks.is_first:
            self.workers.publish(self.version, weights)
        else:
            for _ in weights:  # they are gathered by all processes together
                pass
        engine.ranks.wait()

    def collect(self, requests: Sequence[Request], seed: str) -> list[Rollout]:
        """Return one rollout for each request, in order; a question's go to one worker."""
        groups = [list(group) for _, group in groupby(requests, key=lambda asked: asked[0].id)]
        return self.workers.roll_out(groups, self.limits, seed, self.version)

    def traffic(self) -> dict[str, float]:
        """Return bytes, restarts of workers and groups that were made again since last asked."""
        found = asdict(self.workers.traffic())
        return {f"workers/{name}": float(value) for name, value in found.items()}
