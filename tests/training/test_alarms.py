import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lookless.errors import wrong_setting
from lookless.training.alarms import Alarm, AlarmConfig, AlarmName, Alarms, must_stop

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "alarms.md").read_text()

Metrics = dict[str, Any]

WELL: Metrics = {
    "steps": 100,
    "lr": 1e-4,
    "look_rate/adaptive": 0.4,
    "look_rate/adaptive/no_gain": 0.2,
    "accuracy/forced": 0.75,
    "accuracy/prohibited": 0.5,
    "look/changed_answer": 0.5,
    "look/bad_calls": 0.1,
    "groups/degenerate": 0.5,
    "stop/answered": 0.875,
    "stop/no_answer": 0.125,
    "rollout/sampled_tokens": 40.0,
    "loss/policy": -0.1,
    "loss/kl": 0.01,
    "loss/grad_norm": 1.0,
    "loss/sampler_kl": 1e-4,
}
NO_GAIN: Metrics = {"accuracy/forced": 0.5}
UNANSWERED = {"stop/answered": 0.5, "stop/no_answer": 0.125, "stop/too_many_looks": 0.25}
CUT_OFF = {"stop/answered": 0.75, "stop/turn_length": 0.125, "stop/context_length": 0.125}

CASES: list[tuple[AlarmName, Metrics, Metrics]] = [
    (AlarmName.LOOK_COLLAPSE, {"look_rate/adaptive": 0.019}, {"look_rate/adaptive": 0.02}),
    (
        AlarmName.LOOK_COLLAPSE,
        {"look_rate/adaptive": 0.0, "accuracy/forced": 0.551},
        {"look_rate/adaptive": 0.0, "accuracy/forced": 0.549},
    ),
    (
        AlarmName.OVERUSE,
        {"look_rate/adaptive": 0.951} | NO_GAIN,
        {"look_rate/adaptive": 0.95} | NO_GAIN,
    ),
    (
        AlarmName.OVERUSE,
        {"look_rate/adaptive": 1.0, "accuracy/forced": 0.549},
        {"look_rate/adaptive": 1.0, "accuracy/forced": 0.551},
    ),
    (
        AlarmName.OVERUSE,
        {"look_rate/adaptive/no_gain": 0.951},
        {"look_rate/adaptive/no_gain": 0.95},
    ),
    (AlarmName.IDLE_LOOKS, {"look/changed_answer": 0.049}, {"look/changed_answer": 0.05}),
    (
        AlarmName.IDLE_LOOKS,
        {"look/changed_answer": 0.0, "look_rate/adaptive": 0.02} | NO_GAIN,
        {"look/changed_answer": 0.0, "look_rate/adaptive": 0.019} | NO_GAIN,
    ),
    (AlarmName.DEGENERATE_GROUPS, {"groups/degenerate": 0.91}, {"groups/degenerate": 0.9}),
    (AlarmName.FORMAT_ERRORS, {"look/bad_calls": 0.31}, {"look/bad_calls": 0.3}),
    (AlarmName.FORMAT_ERRORS, UNANSWERED, UNANSWERED | {"stop/too_many_looks": 0.0}),
    # Of rollouts without faults: 0.21 of 0.8 are too many, 0.15 of 0.8 are not.
    (
        AlarmName.FORMAT_ERRORS,
        {"stop/fault": 0.2, "stop/answered": 0.59, "stop/no_answer": 0.21},
        {"stop/fault": 0.2, "stop/answered": 0.65, "stop/no_answer": 0.15},
    ),
    (
        AlarmName.LENGTH_EXPLOSION,
        {"rollout/sampled_tokens": 120.1},
        {"rollout/sampled_tokens": 120.0},
    ),
    (AlarmName.LENGTH_EXPLOSION, CUT_OFF, CUT_OFF | {"stop/context_length": 0.0}),
    (AlarmName.KL_BLOWUP, {"loss/kl": 0.51}, {"loss/kl": 0.1}),
    (AlarmName.NOT_FINITE, {"loss/grad_norm": math.inf}, {"loss/grad_norm": 1e30}),
    (AlarmName.NOT_FINITE, {"loss/policy": math.nan}, {"lr": math.nan}),
    (AlarmName.SAMPLER_MISMATCH, {"loss/sampler_kl": 0.011}, {"loss/sampler_kl": 0.01}),
]
"""Alarms with metrics that show them, and with others that just do not."""


def watch(alarms: Alarms, changes: Sequence[Metrics], first: int = 1) -> list[Alarm]:
    """Return what is said in steps of a healthy run with these changes."""
    said = []
    for step, change in enumerate(changes, first):
        said += alarms.check(WELL | change | {"step": step})
    return said


def told(said: Sequence[Alarm]) -> list[tuple[AlarmName, int]]:
    return [(alarm.name, alarm.step) for alarm in said]


def patience_of(name: AlarmName, config: AlarmConfig) -> int:
    return 1 if name is AlarmName.NOT_FINITE else config.patience


def test_every_alarm_has_a_case() -> None:
    assert {name for name, _, _ in CASES} == set(AlarmName)


@pytest.mark.parametrize(("name", "ill", "well"), CASES)
def test_alarm_is_said_once_when_it_has_lasted(
    name: AlarmName, ill: Metrics, well: Metrics
) -> None:
    config = AlarmConfig()
    begins = 10 + patience_of(name, config)
    alarms = Alarms(config)
    said = watch(alarms, [{}] * 10 + [ill] * 30)
    assert told(said) == [(name, begins)]
    assert "\n" not in said[0].message
    assert re.fullmatch(r".+ must be .+, got .+; .+", said[0].message)
    # After it has ceased for a single step it is said again.
    again = watch(alarms, [{}] + [ill] * 30, first=41)
    assert told(again) == [(name, 41 + patience_of(name, config))]


@pytest.mark.parametrize(("name", "ill", "well"), CASES)
def test_nothing_is_said_below_the_threshold(name: AlarmName, ill: Metrics, well: Metrics) -> None:
    assert watch(Alarms(AlarmConfig()), [{}] * 10 + [well] * 30) == []


@pytest.mark.parametrize(("name", "ill", "well"), CASES)
def test_patience_starts_anew_after_one_good_step(
    name: AlarmName, ill: Metrics, well: Metrics
) -> None:
    config = AlarmConfig(patience=3)
    short = [ill] * (patience_of(name, config) - 1) + [{}]
    assert watch(Alarms(config), [{}] * 10 + short * 5) == []
    assert told(watch(Alarms(AlarmConfig(patience=1)), [{}] * 10 + [ill])) == [(name, 11)]


def test_nothing_is_said_of_the_demo() -> None:
    for run in json.loads((ROOT / "results" / "lookworld.json").read_text())["training"]:
        alarms = Alarms(AlarmConfig())
        for row in run:
            # Looks that are not needed stand for those that gain nothing, which was not recorded.
            no_gain = {"look_rate/adaptive/no_gain": row["look_rate/adaptive/not_needed"]}
            assert alarms.check(row | no_gain) == []


def test_message_has_the_number_its_limit_and_a_remedy() -> None:
    config = AlarmConfig(patience=1)
    [alarm] = Alarms(config).check({"step": 7, "loss/kl": 0.75})
    assert alarm == Alarm(
        AlarmName.KL_BLOWUP, 7, "loss/kl must be at most 0.5, got 0.75; lower lr or raise kl_weight"
    )
    [alarm] = Alarms(config).check({"step": 7, "loss/kl": math.nan, "loss/policy": math.inf})
    assert "got loss/kl nan, loss/policy inf;" in alarm.message


def test_kl_that_keeps_growing_is_said_before_it_is_high() -> None:
    growth = [{"loss/kl": 0.05 * 1.12**step} for step in range(20)]
    assert max(change["loss/kl"] for change in growth) < AlarmConfig().high_kl
    said = watch(Alarms(AlarmConfig()), growth)
    # Above 0.1 from step 8 on, and from step 9 on with 8 steps to compare with.
    assert told(said) == [(AlarmName.KL_BLOWUP, 16)]
    assert said[0].message.startswith("loss/kl above 0.1 must be at most 1.5 times")


def test_kl_that_grows_ever_more_slowly_is_no_alarm() -> None:
    growth = [{"loss/kl": 0.06 * math.sqrt(step)} for step in range(60)]
    assert watch(Alarms(AlarmConfig()), growth) == []


def test_length_is_measured_from_the_first_steps_only() -> None:
    creeping = [{"rollout/sampled_tokens": 40.0 * 1.05**step} for step in range(60)]
    assert told(watch(Alarms(AlarmConfig()), creeping))[0][0] is AlarmName.LENGTH_EXPLOSION
    longer_from_the_start = [{"rollout/sampled_tokens": 4000.0}] * 60
    assert watch(Alarms(AlarmConfig()), longer_from_the_start) == []


def test_stop_reason_that_nobody_had_is_known_to_be_rare() -> None:
    config = AlarmConfig(patience=1)
    unanswered = {"step": 1, "stop/no_answer": 1.0}
    assert told(Alarms(config).check(unanswered)) == [(AlarmName.FORMAT_ERRORS, 1)]
    assert Alarms(config).check({"step": 1, "stop/fault": 1.0}) == []


@pytest.mark.parametrize(("name", "ill", "well"), CASES)
def test_missing_numbers_neither_begin_nor_end_an_alarm(
    name: AlarmName, ill: Metrics, well: Metrics
) -> None:
    config = AlarmConfig()
    alarms = Alarms(config)
    assert watch(alarms, [{}] * 10 + [ill] * (patience_of(name, config) - 1)) == []
    assert alarms.check({}) == alarms.check({"step": 50}) == []
    assert told(watch(alarms, [ill], first=51)) == [(name, 51)]
    assert alarms.check({}) == []
    assert watch(alarms, [ill] * 20, first=52) == []


@pytest.mark.parametrize("missing", [name for name in WELL if name != "stop/answered"])
def test_any_number_may_be_missing(missing: str) -> None:
    alarms = Alarms(AlarmConfig(patience=1))
    rest = {name: value for name, value in WELL.items() if name != missing}
    for step in range(20):
        assert alarms.check(rest | {"step": step}) == []


def test_numbers_that_are_not_finite_are_unknown_besides_losses() -> None:
    alarms = Alarms(AlarmConfig(patience=1))
    for value in (math.nan, math.inf, -math.inf):
        metrics = {name: v if name.startswith("loss/") else value for name, v in WELL.items()}
        assert alarms.check(metrics | {"step": 1}) == []
    broken = {name: math.nan for name in WELL if name.startswith("loss/")}
    assert told(watch(alarms, [broken])) == [(AlarmName.NOT_FINITE, 1)]
    # What is not finite enters no level.
    assert json.loads(json.dumps(alarms.state(), allow_nan=False)) == alarms.state()


@given(
    drawn=st.lists(st.sampled_from([{}, *(ill for _, ill, _ in CASES)]), min_size=1, max_size=40),
    cut=st.integers(0, 40),
    patience=st.integers(1, 4),
)
def test_resumed_alarms_say_what_uninterrupted_ones_say(
    drawn: list[Metrics], cut: int, patience: int
) -> None:
    config = AlarmConfig(patience=patience, level_steps=3)
    whole, part, resumed = Alarms(config), Alarms(config), Alarms(config)
    expected = watch(whole, drawn)
    said = watch(part, drawn[:cut])
    resumed.load_state(json.loads(json.dumps(part.state())))
    watch(part, drawn)  # what was loaded is no longer the other's
    assert said + watch(resumed, drawn[cut:], first=cut + 1) == expected
    assert resumed.state() == whole.state()


def test_only_named_alarms_stop() -> None:
    said = [Alarm(name, 3, "") for name in (AlarmName.OVERUSE, AlarmName.NOT_FINITE)]
    assert must_stop(said, AlarmConfig()) is None
    assert must_stop(said, AlarmConfig(stop=(AlarmName.KL_BLOWUP,))) is None
    both = AlarmConfig.model_validate({"stop": ["not_finite", "overuse"]})
    assert must_stop(said, both) == said[0]
    assert must_stop([], both) is None


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"patience": 0}, "patience"),
        ({"stop": ["boredom"]}, "stop.0"),
        ({"gain": 1.1}, "gain"),
        ({"high_kl": math.inf}, "high_kl"),
        ({"length_factor": 1.0}, "length_factor"),
        ({"volume": 11}, "volume is no setting"),
    ],
)
def test_senseless_settings_are_refused_by_name(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError) as raised:
        AlarmConfig(**settings)
    assert str(wrong_setting(AlarmConfig, raised.value)).startswith(named)


def test_documentation_has_every_alarm_and_every_default() -> None:
    alarms, settings = DOCS.split("## Settings")
    assert re.findall(r"^\| `(\w+)` \|", alarms, re.M) == [name.value for name in AlarmName]
    said = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", settings, re.M))
    assert {name: json.loads(value) for name, value in said.items()} == AlarmConfig().model_dump(
        mode="json"
    )
