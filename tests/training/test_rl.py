import copy
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lookless.episode import Group, Mode, Question, Rollout
from lookless.grading import grade
from lookless.images import SourceCache
from lookless.necessity import Necessity, NecessityPool, necessity_grades, strict
from lookless.policies.hf import HfPolicy
from lookless.rewards import REWARDS
from lookless.rollout import Limits, rollout
from lookless.training import scoring
from lookless.training.alarms import Alarm, Alarms
from lookless.training.checkpoints import Checkpoints
from lookless.training.collector import SameWeights
from lookless.training.decision import arm_logprobs, decision_index
from lookless.training.engine import Engine, EngineConfig
from lookless.training.replay import features_of, replay
from lookless.training.rl import Learner, queries_of_step, rl, spare_rollout
from lookless.training.rl_config import RlConfig
from lookless.training.scoring import Grade, ScoredGroup, look_price, with_decisions
from lookless.vlm import VLM

MakeQuestion = Callable[..., Question]
Say = Callable[..., Rollout]
LOOK = '<tool_call>{"name": "zoom_in", "arguments": {"bbox_2d": [0, 0, 500, 500]}}</tool_call>'
TINY = RlConfig(
    steps=4, queries=2, forced=1, prohibited=1, adaptive=6, reward="accuracy", lr=1e-2,
    warmup_steps=1, max_turn_tokens=6, save_every=2, kl_weight=0.1, decision_weight=0.0,
    temperature=1.0,
)  # fmt: skip

HDPO: dict[str, Any] = {"reward": "hdpo", "forced": 0, "prohibited": 0, "adaptive": 16}


class InterruptedRunError(Exception):
    """Stands for a process that is killed."""


@pytest.fixture
def asked(make_question: MakeQuestion) -> list[Question]:
    return [make_question(name) for name in ("a", "b", "c")]


def by_parity(question: Question, r: Rollout) -> float:
    """Grade by a whim, since an untrained model is never right."""
    return float(sum(r.token_ids) % 2)


def run(
    vlm: VLM,
    asked: Sequence[Question],
    config: RlConfig,
    folder: Path,
    stop_after: int = 99,
    grade: Grade = by_parity,
    alarms: Alarms | None = None,
) -> list[dict[str, Any]]:
    """Train, and be interrupted after a step."""
    rows: list[dict[str, Any]] = []

    def log(metrics: dict[str, Any], groups: list[ScoredGroup], said: list[Alarm]) -> None:
        rows.append(metrics)
        if metrics["step"] == stop_after:
            raise InterruptedRunError

    engine = Engine(vlm, EngineConfig(), with_reference=config.kl_weight > 0)
    sources = SourceCache()
    collector = SameWeights(engine, sources, config.limits, config.temperature)
    try:
        rl(engine, collector, asked, sources, config, 0, Checkpoints(folder), log, grade, alarms)
    except InterruptedRunError:
        assert stop_after <= config.steps
    return rows


def copy_of(vlm: VLM) -> VLM:
    return type(vlm)(copy.deepcopy(vlm.model), vlm.processor, vlm.chat)


def stable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in rows]


@pytest.mark.parametrize("first_pairs", [None, 1])
@pytest.mark.parametrize("stop_after", [3, 4])
def test_resumed_training_equals_uninterrupted_training(
    vlm: VLM, asked: list[Question], tmp_path: Path, stop_after: int, first_pairs: int | None
) -> None:
    whole, part, resumed = copy_of(vlm), copy_of(vlm), copy_of(vlm)
    config = TINY.model_copy(update={"first_pairs": first_pairs})
    expected = run(whole, asked, config, tmp_path / "whole")
    first = run(part, asked, config, tmp_path / "part", stop_after)
    second = run(resumed, asked, config, tmp_path / "part")
    # A step is saved after it was logged, here every second one; what came after is done again.
    assert [row["step"] for row in second] == [3, 4]
    assert stable(first[:2] + second) == stable(expected)
    assert all(row["loss/grad_norm"] > 0 for row in expected)
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name
    progress = [json.loads((tmp_path / name / "step-000004" / "progress.json").read_text())
                for name in ("whole", "part")]  # fmt: skip
    assert progress[0] == progress[1]
    assert progress[0]["grown"]


def test_training_changes_language_but_not_frozen_vision(
    own_vlm: VLM, asked: list[Question], tmp_path: Path
) -> None:
    before = copy.deepcopy(own_vlm.model.state_dict())
    run(own_vlm, asked, TINY.model_copy(update={"steps": 1}), tmp_path / "run")
    changed = {
        name
        for name, weight in own_vlm.model.state_dict().items()
        if (weight != before[name]).any()
    }
    assert changed
    assert not any("visual" in name for name in changed)
    assert not own_vlm.model.training


def test_batch_without_signal_leaves_the_weights_unchanged(
    own_vlm: VLM, asked: list[Question], tmp_path: Path
) -> None:
    before = copy.deepcopy(own_vlm.model.state_dict())
    config = TINY.model_copy(update={"steps": 2, "kl_weight": 0.0})
    rows = run(own_vlm, asked, config, tmp_path / "run", grade=grade)  # nothing is ever right
    for row in rows:
        assert row["accuracy/adaptive"] == 0
        assert row["loss/used_rollouts"] == row["loss/policy"] == row["loss/grad_norm"] == 0
        assert row["groups/degenerate"] == 1
    for name, weight in own_vlm.model.state_dict().items():
        assert torch.equal(weight, before[name])


def test_kl_holds_the_policy_at_the_reference_kept_from_the_start(
    vlm: VLM, asked: list[Question], tmp_path: Path
) -> None:
    kl = {}
    for weight in (0.01, 30.0):
        changes = {"steps": 8, "kl_weight": weight, "save_every": 8, "lr": 5e-4}
        config = TINY.model_copy(update=changes)
        rows = run(copy_of(vlm), asked, config, tmp_path / f"{weight}")
        assert rows[0]["loss/kl"] == pytest.approx(0, abs=1e-6)
        assert rows[1]["loss/kl"] > 1e-6
        # KL holds rollouts without advantage, too.
        assert rows[0]["loss/used_rollouts"] == 16
        kl[weight] = sum(row["loss/kl"] for row in rows[-4:])
    assert kl[30.0] < 0.5 * kl[0.01]


def scored(
    vlm: VLM, asked: Sequence[Question], advantages: Sequence[float | None]
) -> list[ScoredGroup]:
    """Return a sampled group for each question, with these advantages."""
    policy = HfPolicy(vlm)
    groups = []
    for question in asked:
        requests = [(question, Mode.ADAPTIVE)] * len(advantages)
        rollouts = rollout(policy, requests, SourceCache(), Limits(max_turn_tokens=6))
        nothing = Necessity(None, None, None, 0, 0, None)
        grades = tuple(None if a is None else 0.0 for a in advantages)
        groups.append(
            ScoredGroup(
                Group(question, tuple(rollouts), grades), nothing, nothing, nothing,
                [None] * len(advantages), list(advantages), [None] * len(advantages),
            )
        )  # fmt: skip
    return groups


def learner_of(vlm: VLM, question: Question, config: RlConfig, **settings: Any) -> Learner:
    engine, sources = Engine(vlm, EngineConfig(**settings)), SourceCache()
    return Learner(engine, config, spare_rollout(engine.vlm.chat, question, sources), sources)


def updated(
    vlm: VLM,
    asked: Sequence[Question],
    advantages: Sequence[float | None],
    config: RlConfig,
    **settings: Any,
) -> dict[str, float]:
    own = copy_of(vlm)
    groups = scored(own, asked, advantages)
    return learner_of(own, asked[0], config, **settings).update(groups, config.lr)


@pytest.mark.parametrize("epochs", [1, 2])
@pytest.mark.parametrize("credit", [5.0, -5.0])
def test_update_moves_the_decision_as_credited(
    vlm: VLM, asked: list[Question], credit: float, epochs: int
) -> None:
    config = TINY.model_copy(update={"kl_weight": 0.0, "epochs": epochs})
    own = copy_of(vlm)
    groups = scored(own, asked, (0.0, 0.0))
    # Of an untrained model no rollout has looked, so their arm is that of not calling.
    groups = [replace(one, decisions=[credit, None]) for one in groups]

    def calling() -> float:
        rollouts = [one.group.rollouts[0] for one in groups]
        seen = [SourceCache().get(one.group.question.image) for one in groups]
        with torch.no_grad():
            replayed = replay(own, rollouts, features_of(own, None, rollouts, seen))
            places = [decision_index(own.chat, r) for r in rollouts]
            return -float(arm_logprobs(own, replayed, rollouts, places).sum())

    before = calling()
    stats = learner_of(own, asked[0], config).update(groups, 1e-3)
    assert stats["loss/used_rollouts"] == len(asked)
    assert stats["loss/decision"] != 0
    assert (calling() < before) == (credit > 0)


def test_size_of_micro_batches_does_not_change_the_update(vlm: VLM, asked: list[Question]) -> None:
    config = TINY.model_copy(update={"kl_weight": 0.0, "lr": 1e-4})
    results = [
        updated(vlm, asked, (1.0, -0.5, 0.25), config, micro_batch_tokens=size)
        for size in (1, 200, 100_000)
    ]
    assert results[0]["loss/used_rollouts"] == 9
    for stats in results[1:]:
        assert stats == pytest.approx(results[0], rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("epochs", [1, 2])
def test_sampler_that_is_not_the_trained_model_is_measured(
    vlm: VLM, asked: list[Question], epochs: int
) -> None:
    config = TINY.model_copy(update={"kl_weight": 0.0, "epochs": epochs})
    own = copy_of(vlm)
    [one] = scored(own, asked[:1], (1.0, -1.0))
    off = [
        replace(r, logprobs=tuple(v - 0.1 * is_sampled for v, is_sampled in
                                  zip(r.logprobs, r.is_sampled, strict=True)))
        for r in one.group.rollouts
    ]  # fmt: skip
    other = replace(one, group=replace(one.group, rollouts=tuple(off)))
    for group, expected in ((one, 0.0), (other, math.exp(0.1) - 1.0 - 0.1)):
        stats = learner_of(copy_of(vlm), asked[0], config).update([group], config.lr)
        assert stats["loss/sampler_kl"] == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_rollouts_without_an_advantage_do_not_count(vlm: VLM, asked: list[Question]) -> None:
    config = TINY.model_copy(update={"kl_weight": 0.0})
    stats = updated(vlm, asked[:1], (None, 0.0, 1.0), config)
    assert stats["loss/used_rollouts"] == 1
    stats = updated(vlm, asked[:1], (1.0, 1.0), config.model_copy(
        update={"loss_modes": (Mode.FORCED,)}))  # fmt: skip
    assert stats["loss/used_rollouts"] == 0


def test_update_makes_the_better_rollout_likelier(vlm: VLM, asked: list[Question]) -> None:
    config = TINY.model_copy(update={"kl_weight": 0.0, "lr": 1e-3})
    own = copy_of(vlm)
    [group] = scored(own, asked[:1], (1.0, -1.0))
    source = SourceCache().get(asked[0].image)

    def likelihoods() -> list[float]:
        rollouts = group.group.rollouts
        with torch.no_grad():
            features = features_of(own, None, rollouts, [source] * 2)
            return [float(v) for v in replay(own, rollouts, features)[0].sum(1)]

    before = likelihoods()
    learner_of(own, asked[0], config).update([group], 1e-3)
    after = likelihoods()
    assert after[0] > before[0]
    assert after[1] < before[1]


@given(n=st.integers(1, 12), count=st.integers(1, 15), seed=st.integers(0, 5))
def test_every_epoch_is_a_permutation(n: int, count: int, seed: int) -> None:
    asked = [Question(str(k), Path("i.png"), "?", "") for k in range(n)]
    steps = [queries_of_step(asked, count, step, seed) for step in range(3 * n)]
    flat = [question.id for part in steps for question in part]
    assert all(len(part) == count for part in steps)
    for epoch in range(len(flat) // n):
        assert sorted(flat[epoch * n : (epoch + 1) * n]) == sorted(q.id for q in asked)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    asked = [Question(str(k), Path("i.png"), "?", "") for k in range(20)]
    orders = [tuple(queries_of_step(asked, 20, step, seed)) for step in (0, 1) for seed in (0, 1)]
    assert len(set(orders)) == 4
    assert queries_of_step(asked, 20, 1, 0) == queries_of_step(asked, 20, 1, 0)


def group_of(make_question: MakeQuestion, say: Say) -> Group:
    """Return a group in which looking is needed: forced right, prohibited wrong, adaptive mixed."""
    plans = [(Mode.FORCED, "K7", True)] * 4 + [(Mode.PROHIBITED, "K8", False)] * 4
    plans += [(Mode.ADAPTIVE, "K7", True), (Mode.ADAPTIVE, "K8", False)]
    rollouts = []
    for mode, answer, looks in plans:
        texts = (LOOK,) * looks + (rf"\boxed{{{answer}}}",)
        rollouts.append(say(*texts, mode=mode))
    question = make_question()
    return Group(question, tuple(rollouts), tuple(grade(question, r) for r in rollouts))


def score(group: Group, pool: NecessityPool, config: RlConfig) -> ScoredGroup:
    pool.add(group.question.id, *necessity_grades(group))
    return scoring.score(group, pool, config)


def credited(groups: Sequence[ScoredGroup], config: RlConfig) -> list[ScoredGroup]:
    return with_decisions(
        groups, look_price([one.necessity.gain for one in groups], config), config
    )


def test_needed_look_is_seen_and_rewarded(make_question: MakeQuestion, say: Say) -> None:
    one = score(group_of(make_question, say), NecessityPool(), RlConfig())
    assert one.necessity.need == one.strict.need == 1.0
    assert one.advantages[:8] == [0.0] * 8
    looked, direct = one.advantages[8:]
    assert looked is not None
    assert direct is not None
    assert looked > 0 > direct
    assert one.decisions == [None] * 10


def test_decision_gets_weighted_credit(make_question: MakeQuestion, say: Say) -> None:
    config = RlConfig(decision_weight=2.0, look_price=0.1, obedience=0.25)
    scored = score(group_of(make_question, say), NecessityPool(), config)
    [one] = credited([scored], config)
    # All eight obeyed; looking gained 1.
    assert one.decisions == pytest.approx([0.5] * 8 + [0.9, -0.9])
    [without] = credited([scored], RlConfig(decision_weight=0.0))
    assert without.decisions == [None] * 10


def test_credit_by_the_mean_gain_favours_neither_arm_over_a_step(
    make_question: MakeQuestion, say: Say
) -> None:
    config = RlConfig(decision_weight=2.0, look_price="mean", obedience=0.0)
    needed = score(group_of(make_question, say), NecessityPool(), config)
    useless = replace(needed, necessity=strict([1.0] * 4, [1.0] * 4))
    one, other = credited([needed, useless], config)
    assert one.decisions[8:] == pytest.approx([0.5, -0.5])
    assert other.decisions[8:] == pytest.approx([-0.5, 0.5])
    # A step in which looking does harm has no price that rewards it.
    [harmed] = credited([replace(needed, necessity=strict([0.0], [1.0]))], config)
    assert harmed.decisions[8:] == pytest.approx([-1.0, 1.0])


def test_more_epochs_learn_more_from_the_same_rollouts(
    vlm: VLM, asked: list[Question], tmp_path: Path
) -> None:
    moved = []
    for epochs in (1, 3):
        trained = copy_of(vlm)
        config = TINY.model_copy(update={"steps": 1, "epochs": epochs, "lr": 1e-3})
        run(trained, asked, config, tmp_path / f"{epochs}")
        pairs = zip(vlm.model.parameters(), trained.model.parameters(), strict=True)
        moved.append(sum((a - b).abs().sum().item() for a, b in pairs))
    assert moved[1] > 1.5 * moved[0] > 0


def test_pool_gathers_over_visits(make_question: MakeQuestion, say: Say) -> None:
    pool, group = NecessityPool(), group_of(make_question, say)
    first = score(group, pool, RlConfig())
    second = score(group, pool, RlConfig())
    assert (first.pooled.n_look, second.pooled.n_look) == (4, 8)
    assert second.strict.n_look == 4


def test_every_reward_can_score_a_group(make_question: MakeQuestion, say: Say) -> None:
    group = group_of(make_question, say)
    for name in REWARDS:
        arms = {"forced": 0, "prohibited": 0} if name == "hdpo" else {}
        one = score(group, NecessityPool(), RlConfig(reward=name, **arms))
        assert all(a is not None for a in one.advantages)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reward_settings": {"lambda_align": 5.0, "b1": 1.0}}, "reward rgrl must never score"),
        ({"reward": "deepeyes", "reward_settings": {"format": 0.9}}, "reward deepeyes must never"),
        ({"reward": "kindness"}, "reward must be one of rgrl, .* got 'kindness'"),
        ({"forced": 0}, "needs forced and prohibited rollouts, got 0 and 4"),
        ({"prohibited": 0}, "needs forced and prohibited rollouts, got 4 and 0"),
        ({"reward": "hdpo"}, "must be adaptive, got 4 forced and 4 prohibited"),
        ({"reward_settings": {"no_such": 1.0}}, "no_such"),
        ({"adaptive": 0}, "adaptive"),
        ({"temperature": 0.0}, "temperature"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_senseless_settings_are_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RlConfig(**settings)


def test_query_is_rolled_out_as_often_as_set_in_each_mode() -> None:
    modes = RlConfig(forced=1, prohibited=2, adaptive=3).modes
    assert [modes.count(m) for m in (Mode.FORCED, Mode.PROHIBITED, Mode.ADAPTIVE)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"reward": "pixel_reasoner", "reward_settings": {"curiosity": 4.0}},
            "never score a wrong",
        ),
        (
            {"reward": "pixel_reasoner", "reward_settings": {"look_price": 0.14}},
            "never score a wrong",
        ),
        ({"max_looks": 17}, "max_looks"),
        ({"adaptive": 129}, "adaptive"),
        ({"decision_weight": float("inf")}, "decision_weight"),
        ({"loss_modes": ()}, "loss_modes"),
        (
            HDPO | {"normalise": True, "reward_settings": {"weight": 0.7}},
            "weight of reward hdpo must be below 0.693 with 16 adaptive rollouts",
        ),
        (HDPO | {"reward_settings": {"weight": 1.1}}, "weight"),
    ],
)
def test_settings_in_which_wrong_could_pay_or_nothing_is_trained_are_refused(
    settings: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        RlConfig(**settings)


def test_hdpo_may_weigh_economy_more_without_normalising() -> None:
    RlConfig(**HDPO, reward_settings={"weight": 0.7})
    RlConfig(**HDPO, normalise=True, reward_settings={"weight": 0.69})
