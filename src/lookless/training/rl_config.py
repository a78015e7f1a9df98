"""Settings of rollout-guided RL."""

from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lookless.advantages import hdpo_weight_limit
from lookless.episode import TRAINED_MODES, Mode
from lookless.errors import ConfigError, wrong_setting
from lookless.rewards import REWARDS
from lookless.rewards.dominance import MOST_ADAPTIVE, MOST_LOOKS
from lookless.rollout import Limits


class RlConfig(BaseModel):
    """Settings of RL; the defaults are those of the demo, docs/log.md says what others did."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    steps: int = Field(36, ge=1)
    queries: int = Field(24, ge=1)
    """Queries a step."""
    forced: int = Field(4, ge=0)
    """Rollouts per query that must look; at most, if `first_pairs` is given."""
    prohibited: int = Field(4, ge=0)
    """Rollouts per query that may not look; at most, if `first_pairs` is given."""
    adaptive: int = Field(8, ge=1, le=MOST_ADAPTIVE)
    """Rollouts per query that are free to choose."""
    first_pairs: int | None = Field(None, ge=1)
    """Forced and prohibited rollouts of each that a query starts with; more are made, one of each
    at a time, while the posterior of its necessity is undecided. None makes all at once."""
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
    temperature: float = Field(0.6, gt=0)
    """Of sampling, and of the log-probabilities that are trained."""
    max_looks: int = Field(2, ge=1, le=MOST_LOOKS)
    max_turn_tokens: int = Field(72, ge=1)
    max_context: int = Field(4096, ge=1)
    """Tokens of a rollout, visual tokens included."""
    save_every: int = Field(20, ge=1)
    """Steps between checkpoints."""
    look_cost: float = Field(0.05, ge=0, le=1)
    """Of two checkpoints measured on validation questions the better one is that of the higher
    accuracy, less this times the look rate."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.reward not in REWARDS:
            raise ConfigError(f"reward must be one of {', '.join(REWARDS)}, got {self.reward!r}")
        try:
            _ = self.reward_config
        except ValidationError as error:
            wrong = wrong_setting(REWARDS[self.reward].config, error)
            raise ConfigError(f"reward_settings: {wrong}") from None
        if Mode.TOOLFREE in self.loss_modes or not set(self.loss_modes) & set(self.modes):
            raise ConfigError(
                "loss_modes must be modes that rollouts are made in, "
                f"{', '.join(dict.fromkeys(self.modes))}, got {', '.join(self.loss_modes)}; "
                "take one of these"
            )
        if self.reward == "rgrl" and not (self.forced and self.prohibited):
            raise ConfigError(
                "reward rgrl needs forced and prohibited rollouts, "
                f"got {self.forced} and {self.prohibited}; set both to 1 or more"
            )
        if self.first_pairs and self.first_pairs > min(self.forced, self.prohibited):
            raise ConfigError(
                f"first_pairs must be at most forced and prohibited, got {self.first_pairs} with "
                f"{self.forced} and {self.prohibited}; lower it"
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
        return Limits(
            max_looks=self.max_looks,
            max_turn_tokens=self.max_turn_tokens,
            max_context=self.max_context,
        )

    @cached_property
    def reward_config(self) -> Any:
        """Return the reward's settings, checked."""
        return REWARDS[self.reward].config(**self.reward_settings)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Return the mode of each rollout of a query that gets all of them."""
        return self._modes(self.forced, self.prohibited)

    @property
    def first_modes(self) -> tuple[Mode, ...]:
        """Return the modes of the rollouts that every query gets."""
        if self.first_pairs is None:
            return self.modes
        return self._modes(self.first_pairs, self.first_pairs)

    def _modes(self, forced: int, prohibited: int) -> tuple[Mode, ...]:
        necessity = (Mode.FORCED,) * forced + (Mode.PROHIBITED,) * prohibited
        return necessity + (Mode.ADAPTIVE,) * self.adaptive
