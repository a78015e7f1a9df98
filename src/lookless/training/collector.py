"""Who makes a training step's rollouts, and how the trained weights reach it."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from torch import Tensor

from lookless.episode import Mode, Question, Rollout
from lookless.images import SourceCache
from lookless.policies.hf import HfPolicy
from lookless.policies.policy import Policy
from lookless.rollout import Limits, rollout
from lookless.training.engine import Engine
from lookless.vlm import FeatureCache

Request = tuple[Question, Mode]


class Collector(Protocol):
    """Makes the rollouts of one process."""

    def synchronise(self, engine: Engine) -> None:
        """Take over the engine's weights as they are; all processes must call it."""

    def collect(self, requests: Sequence[Request], seed: str) -> list[Rollout]:
        """Return one rollout for each request, in order."""


class Synchronised(Policy, Protocol):
    """A policy in process whose weights are its own."""

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Replace them; names and tensors as in a checkpoint."""

    def seeded(self, seed: int | str) -> "Synchronised":
        """Return the same policy with another seed."""


class SameWeights:
    """Rollouts of the very model that is trained, in the same process: nothing to synchronise."""

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

    def collect(self, requests: Sequence[Request], seed: str) -> list[Rollout]:
        """Return one rollout for each request, in order."""
        return rollout(self.policy.seeded(seed), requests, self.sources, self.limits)


class OwnWeights:
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
        self.policy.load_weights(engine.weights())

    def collect(self, requests: Sequence[Request], seed: str) -> list[Rollout]:
        """Return one rollout for each request, in order."""
        return rollout(self.policy.seeded(seed), requests, self.sources, self.limits)
