"""Alarms of RL: what a run's metrics say is going wrong, by the name of the disease."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from lookless.episode import StopReason


class AlarmName(StrEnum):
    """Every way in which training can be ill."""

    LOOK_COLLAPSE = "look_collapse"
    """Adaptive rollouts stopped looking although looking gains."""
    OVERUSE = "overuse"
    """Adaptive rollouts nearly always look where looking gains nothing."""
    IDLE_LOOKS = "idle_looks"
    """Looks do not change the answer: they are made for the reward."""
    DEGENERATE_GROUPS = "degenerate_groups"
    """Nearly all queries have nothing to learn from."""
    FORMAT_ERRORS = "format_errors"
    """Rollouts end without an answer, or call in a form that cannot be executed."""
    LENGTH_EXPLOSION = "length_explosion"
    """Rollouts grow much longer than they were, or are cut off."""
    KL_BLOWUP = "kl_blowup"
    """The policy runs away from the one that RL started from."""
    NOT_FINITE = "not_finite"
    """A loss or the gradient's norm is NaN or infinite."""
    SAMPLER_MISMATCH = "sampler_mismatch"
    """What sampled the rollouts is not the model that is trained."""


class AlarmConfig(BaseModel):
    """When an alarm is said, and which ones end training; docs/alarms.md says what to do."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    patience: int = Field(8, ge=1)
    """Steps in a row that show an alarm before it is said; `not_finite` is said at once."""
    stop: tuple[AlarmName, ...] = ()
    """Alarms that end training; the others only warn."""
    level_steps: int = Field(8, ge=1)
    """Steps whose mean is the level that growth is measured from."""
    gain: float = Field(0.05, ge=0, le=1)
    """Forced less prohibited accuracy above which looking is said to gain."""
    low_look_rate: float = Field(0.02, ge=0, le=1)
    """Look rate of adaptive rollouts below which they are said not to look."""
    high_look_rate: float = Field(0.95, ge=0, le=1)
    """Look rate of adaptive rollouts above which they are said to always look."""
    low_changed_answer: float = Field(0.05, ge=0, le=1)
    """Least share of looks that change the answer."""
    high_degenerate: float = Field(0.9, ge=0, le=1)
    """Largest share of queries without any advantage."""
    high_unanswered: float = Field(0.2, ge=0, le=1)
    """Largest share of rollouts that end by themselves, or by bad calls, without an answer."""
    high_bad_calls: float = Field(0.3, ge=0, le=1)
    """Largest share of calls that cannot be executed as they were written."""
    high_cut_off: float = Field(0.2, ge=0, le=1)
    """Largest share of rollouts cut off by the limit of a turn or of the context."""
    length_factor: float = Field(3.0, gt=1)
    """Largest growth of sampled tokens per rollout over the level of the first steps."""
    high_kl: float = Field(0.5, gt=0)
    """Largest KL divergence from the reference, in nats per token."""
    rising_kl: float = Field(0.1, gt=0)
    """KL divergence from which on its growth counts, in nats per token."""
    kl_factor: float = Field(1.5, gt=1)
    """Largest growth of KL over the level of the steps just before."""
    high_sampler_kl: float = Field(0.01, gt=0)
    """Largest KL divergence of the trained model from its sampler, in nats per token."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that began to go wrong."""

    name: AlarmName
    step: int
    message: str
    """One line: what must hold, what was seen instead, and what to do."""


class Alarms:
    """Watches a run's metrics, one step after the other."""

    def __init__(self, config: AlarmConfig) -> None:
        """Start before the first step.

        Args:
            config: Settings.
        """
        self.config = config
        self._shown = dict.fromkeys(AlarmName, 0)
        """Steps in a row, up to now, that showed each alarm."""
        self._tokens: list[float] = []
        """Sampled tokens per rollout of the first steps."""
        self._kl: list[float] = []
        """KL of the last steps."""

    def check(self, metrics: Mapping[str, Any]) -> list[Alarm]:
        """Return the alarms that begin with a step.

        Args:
            metrics: Of the step, as `rl` logs them. A number that is missing or not finite is
                unknown; an alarm of which nothing is known neither begins nor ceases.
        """
        config = self.config
        known: _Known = defaultdict(lambda: math.nan)
        for name, value in metrics.items():
            if isinstance(value, int | float) and math.isfinite(value):
                known[name] = value
        signs = [
            *_signs_of_looks(known, config),
            *_signs_of_rollouts(known, _level(self._tokens, config), config),
            *_signs_of_losses(metrics, known, _level(self._kl, config), config),
        ]
        self._remember(known["rollout/sampled_tokens"], known["loss/kl"])
        begun = []
        for name in AlarmName:
            told = [sign for sign in signs if sign.name is name and sign.is_known]
            if not told:
                continue
            shown = [sign for sign in told if sign.is_shown]
            self._shown[name] = self._shown[name] + 1 if shown else 0
            if self._shown[name] == (1 if name is AlarmName.NOT_FINITE else config.patience):
                begun.append(Alarm(name, metrics["step"], shown[0].message))
        return begun

    def state(self) -> dict[str, Any]:
        """Return all that is remembered of earlier steps, as plain JSON data."""
        shown = {name.value: count for name, count in self._shown.items()}
        return {"shown": shown, "tokens": list(self._tokens), "kl": list(self._kl)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Replace all that is remembered by that of `state`, which has the form of `state()`."""
        self._shown = {name: state["shown"].get(name.value, 0) for name in AlarmName}
        self._tokens = list(state["tokens"])
        self._kl = list(state["kl"])

    def _remember(self, tokens: float, kl: float) -> None:
        steps = self.config.level_steps
        if len(self._tokens) < steps and not math.isnan(tokens):
            self._tokens.append(tokens)
        if not math.isnan(kl):
            self._kl = [*self._kl, kl][-steps:]


def must_stop(alarms: Sequence[Alarm], config: AlarmConfig) -> Alarm | None:
    """Return the first of the alarms that ends training; None if all only warn."""
    return next((alarm for alarm in alarms if alarm.name in config.stop), None)


_Known = defaultdict[str, float]
"""A step's finite numbers; NaN for all others."""


@dataclass(frozen=True, slots=True)
class _Sign:
    """One way in which an alarm can show in a step."""

    name: AlarmName
    numbers: tuple[float, ...]
    """What it is told from; NaN where unknown."""
    is_shown: bool
    message: str

    @property
    def is_known(self) -> bool:
        return not any(map(math.isnan, self.numbers))


def _above(name: AlarmName, what: str, value: float, most: float, remedy: str) -> _Sign:
    message = f"{what} must be at most {most:g}, got {value:.3g}; {remedy}"
    return _Sign(name, (value,), value > most, message)


def _signs_of_looks(known: _Known, config: AlarmConfig) -> list[_Sign]:
    look, changed = known["look_rate/adaptive"], known["look/changed_answer"]
    gain = known["accuracy/forced"] - known["accuracy/prohibited"]
    price_it = "raise look_price or decision_weight"
    return [
        _Sign(
            AlarmName.LOOK_COLLAPSE,
            (look, gain),
            look < config.low_look_rate and gain > config.gain,
            f"look_rate/adaptive must be at least {config.low_look_rate:g} while looking gains "
            f"more than {config.gain:g}, got {look:.3g} at a gain of {gain:.3g}; "
            "set look_price to a number below the gain, or show more looks in SFT",
        ),
        _Sign(
            AlarmName.OVERUSE,
            (look, gain),
            look > config.high_look_rate and gain <= config.gain,
            f"look_rate/adaptive must be at most {config.high_look_rate:g} while looking gains "
            f"{config.gain:g} or less, got {look:.3g} at a gain of {gain:.3g}; {price_it}",
        ),
        _above(
            AlarmName.OVERUSE,
            "look_rate/adaptive/no_gain",
            known["look_rate/adaptive/no_gain"],
            config.high_look_rate,
            price_it,
        ),
        _Sign(
            AlarmName.IDLE_LOOKS,
            (look, changed),
            look >= config.low_look_rate and changed < config.low_changed_answer,
            f"look/changed_answer must be at least {config.low_changed_answer:g}, got "
            f"{changed:.3g} at a look rate of {look:.3g}; read some rollouts, then take what pays "
            "for looks as such out of the reward, or raise look_price",
        ),
    ]


def _signs_of_rollouts(known: _Known, level: float, config: AlarmConfig) -> list[_Sign]:
    tokens = known["rollout/sampled_tokens"]
    return [
        _above(
            AlarmName.DEGENERATE_GROUPS,
            "groups/degenerate",
            known["groups/degenerate"],
            config.high_degenerate,
            "take questions that are neither always nor never right, more rollouts a query, or a "
            "higher temperature",
        ),
        _above(
            AlarmName.FORMAT_ERRORS,
            "stop/no_answer with stop/too_many_looks",
            _share(known, StopReason.NO_ANSWER, StopReason.TOO_MANY_LOOKS),
            config.high_unanswered,
            "lower lr, or train SFT longer",
        ),
        _above(
            AlarmName.FORMAT_ERRORS,
            "look/bad_calls",
            known["look/bad_calls"],
            config.high_bad_calls,
            "lower lr, or show more calls in SFT",
        ),
        _Sign(
            AlarmName.LENGTH_EXPLOSION,
            (tokens, level),
            tokens > config.length_factor * level,
            f"rollout/sampled_tokens must be at most {config.length_factor:g} times that of the "
            f"first steps, {level:.3g}, got {tokens:.3g}; lower lr or raise kl_weight",
        ),
        _above(
            AlarmName.LENGTH_EXPLOSION,
            "stop/turn_length with stop/context_length",
            _share(known, StopReason.TURN_LENGTH, StopReason.CONTEXT_LENGTH),
            config.high_cut_off,
            "raise max_turn_tokens, or lower lr if rollouts were shorter before",
        ),
    ]


def _signs_of_losses(
    metrics: Mapping[str, Any], known: _Known, level: float, config: AlarmConfig
) -> list[_Sign]:
    kl = known["loss/kl"]
    hold_it = "lower lr or raise kl_weight"
    losses = [name for name in metrics if name.startswith("loss/")]
    broken = [name for name in losses if math.isnan(known[name])]
    signs = [
        _above(AlarmName.KL_BLOWUP, "loss/kl", kl, config.high_kl, hold_it),
        _Sign(
            AlarmName.KL_BLOWUP,
            (kl, level),
            kl > config.rising_kl and kl > config.kl_factor * level,
            f"loss/kl above {config.rising_kl:g} must be at most {config.kl_factor:g} times that "
            f"of the steps before, {level:.3g}, got {kl:.3g}; {hold_it}",
        ),
        _above(
            AlarmName.SAMPLER_MISMATCH,
            "loss/sampler_kl",
            known["loss/sampler_kl"],
            config.high_sampler_kl,
            "check that the sampler has the newest weights, the same precision and temperature",
        ),
    ]
    if losses:
        values = ", ".join(f"{name} {metrics[name]}" for name in broken)
        signs.append(
            _Sign(
                AlarmName.NOT_FINITE,
                (),
                bool(broken),
                f"losses must be finite, got {values}; go on from an older checkpoint with a "
                "lower lr",
            )
        )
    return signs


def _share(known: _Known, *stops: StopReason) -> float:
    """Return the share of rollouts that stopped so, without faults; NaN if there are none."""
    shares: dict[StopReason, float] = {
        stop: known.get(f"stop/{stop}", 0.0) for stop in StopReason if stop is not StopReason.FAULT
    }
    total = sum(shares.values())
    return sum(shares[stop] for stop in stops) / total if total else math.nan


def _level(values: Sequence[float], config: AlarmConfig) -> float:
    """Return the mean; NaN while there are too few."""
    is_enough = len(values) >= config.level_steps
    return sum(values) / len(values) if is_enough else math.nan
