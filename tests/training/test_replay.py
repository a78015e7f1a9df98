from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lookless.episode import Mode, Question, Rollout
from lookless.images import SourceCache
from lookless.policies.scripted import ScriptedPolicy
from lookless.rollout import rollout
from lookless.training.replay import by_length, features_of, replay
from lookless.vlm import VLM, FeatureCache
from lookless.vlm.forest import GRAIN, Forest

MakeQuestion = Callable[..., Question]
LOOK = '<tool_call>{"name": "zoom_in", "arguments": {"bbox_2d": [0, 0, 500, 500]}}</tool_call>'


@pytest.fixture
def rollouts(vlm: VLM, sources: SourceCache, make_question: MakeQuestion) -> list[Rollout]:
    """Return two scripted rollouts of unequal length about unequal images."""
    texts = {"a": ("<think>red</think>\n" + LOOK, r"\boxed{K7}"), "b": (r"\boxed{left}",)}
    policy = ScriptedPolicy(vlm.chat, lambda prompt, turn: texts[prompt.question.id][turn])
    return rollout(policy, [(make_question(name), Mode.ADAPTIVE) for name in "ab"], sources)


def replayed(
    vlm: VLM, rollouts: list[Rollout], sources: SourceCache, make_question: MakeQuestion
) -> tuple[torch.Tensor, torch.Tensor]:
    of = [sources.get(make_question(r.question_id).image) for r in rollouts]
    found = replay(vlm, rollouts, features_of(vlm, None, rollouts, of))
    return found.logprobs_BT, found.mask_BT


def test_mask_and_columns_are_those_of_the_rollouts(
    vlm: VLM, rollouts: list[Rollout], sources: SourceCache, make_question: MakeQuestion
) -> None:
    logprobs_BT, mask_BT = replayed(vlm, rollouts, sources, make_question)
    width = max(len(r.token_ids) for r in rollouts)
    assert logprobs_BT.shape == mask_BT.shape == (2, width)
    for b, r in enumerate(rollouts):
        padded = [*r.is_sampled, *[False] * (width - len(r.token_ids))]
        assert mask_BT[b].tolist() == padded
    assert (logprobs_BT[mask_BT] < 0).all()
    assert (logprobs_BT[~mask_BT] == 0).all()


def test_rows_do_not_see_each_other(
    vlm: VLM, rollouts: list[Rollout], sources: SourceCache, make_question: MakeQuestion
) -> None:
    logprobs_BT, _ = replayed(vlm, rollouts, sources, make_question)
    for b, r in enumerate(rollouts):
        alone_BT, _ = replayed(vlm, [r], sources, make_question)
        torch.testing.assert_close(
            logprobs_BT[b, : len(r.token_ids)], alone_BT[0], rtol=1e-4, atol=1e-4
        )


def test_later_tokens_do_not_change_earlier_ones(
    vlm: VLM, rollouts: list[Rollout], sources: SourceCache, make_question: MakeQuestion
) -> None:
    r = rollouts[1]
    changed = replace(r, token_ids=(*r.token_ids[:-1], vlm.chat.encode("red")[0]))
    before_BT, _ = replayed(vlm, [r], sources, make_question)
    after_BT, _ = replayed(vlm, [changed], sources, make_question)
    torch.testing.assert_close(before_BT[0, :-1], after_BT[0, :-1])
    assert before_BT[0, -1] != after_BT[0, -1]


def test_what_the_model_sees_in_a_crop_changes_what_comes_after_it_only(
    vlm: VLM, rollouts: list[Rollout], sources: SourceCache, make_question: MakeQuestion
) -> None:
    r = rollouts[0]
    source = sources.get(make_question("a").image)
    [(overview, crop)] = features_of(vlm, None, [r], [source])
    other = replace(crop, tokens_ND=torch.zeros_like(crop.tokens_ND))
    before_BT, mask_BT, *_ = replay(vlm, [r], [[overview, crop]])
    after_BT = replay(vlm, [r], [[overview, other]]).logprobs_BT
    is_changed_T = (before_BT != after_BT)[0]
    shown = [t for t, token in enumerate(r.token_ids) if token == vlm.chat.image_pad_id][-1]
    assert not is_changed_T[:shown].any()
    assert is_changed_T[shown:][mask_BT[0, shown:]].all()


def test_frozen_vision_gets_no_gradient_and_trained_vision_does(
    own_vlm: VLM, rollouts: list[Rollout], sources: SourceCache, make_question: MakeQuestion
) -> None:
    of = [sources.get(make_question(r.question_id).image) for r in rollouts]
    weight = own_vlm.model.model.visual.patch_embed.proj.weight
    for cache, has_gradient in ((FeatureCache(own_vlm), False), (None, True)):
        own_vlm.model.zero_grad()
        replay(own_vlm, rollouts, features_of(own_vlm, cache, rollouts, of))[0].sum().backward()
        assert (weight.grad is not None and bool(weight.grad.abs().sum() > 0)) is has_gradient


def test_features_come_in_the_order_of_the_views_each_picture_once(
    vlm: VLM,
    rollouts: list[Rollout],
    sources: SourceCache,
    make_question: MakeQuestion,
    image_batches: list[int],
) -> None:
    part = [rollouts[0], rollouts[1], rollouts[0]]
    of = [sources.get(make_question(r.question_id).image) for r in part]
    features = features_of(vlm, None, part, of)
    assert image_batches == [3]
    assert [len(one) for one in features] == [2, 1, 2]
    assert features[0][0] is features[2][0]
    assert features[0][1] is features[2][1]
    for r, found in zip(part, features, strict=True):
        counts = [vlm.chat.visual_tokens(view) for view in r.views]
        assert [len(one.tokens_ND) for one in found] == counts


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 200))
def test_batches_cover_all_and_respect_the_limit(lengths: list[int], max_tokens: int) -> None:
    batches = list(by_length(lengths, max_tokens))
    assert sorted(k for batch in batches for k in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = max(lengths[k] for k in batch) * len(batch)
        assert batch
        assert padded <= max_tokens or len(batch) == 1
    flat = [lengths[k] for batch in batches for k in batch]
    assert flat == sorted(flat)


@pytest.fixture
def group(vlm: VLM, sources: SourceCache, make_question: MakeQuestion) -> list[Rollout]:
    """Return rollouts of one question, of which some look, in three modes."""
    other = LOOK.replace("500, 500", "400, 700")
    said = [(LOOK, r"\boxed{K7}"), (r"\boxed{left}",), (other, "red", ""), (LOOK, r"\boxed{A}")]
    texts = {
        (mode, k): turns
        for mode in (Mode.FORCED, Mode.PROHIBITED, Mode.ADAPTIVE)
        for k, turns in enumerate(said if mode is not Mode.PROHIBITED else said[1:2] * 4)
    }
    policy = ScriptedPolicy(vlm.chat, lambda prompt, turn: texts[prompt.mode, prompt.sample][turn])
    text = "What code is on the sign, " + "left of red, " * 8 + "is it?"
    question = make_question("group", text=text)
    return rollout(policy, [(question, mode) for mode, _ in texts], sources)


def loss_and_gradients(
    vlm: VLM,
    rollouts: list[Rollout],
    sources: SourceCache,
    make_question: MakeQuestion,
    **how: bool,
) -> tuple[float, dict[str, torch.Tensor]]:
    """Return the weighted sum of all log-probabilities with its gradients."""
    of = [sources.get(make_question("group").image)] * len(rollouts)
    vlm.model.zero_grad()
    found = replay(vlm, rollouts, features_of(vlm, None, rollouts, of), 0.7, **how)
    assert found.mask_BT.sum() == sum(r.sampled_tokens for r in rollouts)
    weights_B1 = torch.linspace(-1, 1, len(rollouts))[:, None]
    loss = (found.logprobs_BT * weights_B1).sum()
    loss.backward()
    named = vlm.model.named_parameters()
    return loss.item(), {name: p.grad.clone() for name, p in named if p.grad is not None}


def assert_same_gradients(
    ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], tolerance: float = 1e-4
) -> None:
    assert ours.keys() == theirs.keys()
    largest = max(float(grad.norm()) for grad in theirs.values())
    for name, grad in theirs.items():
        error = float((ours[name] - grad).norm())
        assert error <= tolerance * float(grad.norm()) + 1e-7 * largest, name


def test_shared_prefixes_change_neither_loss_nor_gradients(
    own_vlm: VLM, group: list[Rollout], sources: SourceCache, make_question: MakeQuestion
) -> None:
    """Against one rollout after the other, images included."""
    loss, gradients = loss_and_gradients(own_vlm, group, sources, make_question)
    total, summed = 0.0, {name: torch.zeros_like(grad) for name, grad in gradients.items()}
    weights = torch.linspace(-1, 1, len(group)).tolist()
    for r, weight in zip(group, weights, strict=True):
        # A single row has weight -1.
        alone, own = loss_and_gradients(own_vlm, [r], sources, make_question, share_prefixes=False)
        total -= weight * alone
        for name in summed:
            summed[name] -= weight * own[name]
    assert loss == pytest.approx(total, rel=1e-4)
    assert_same_gradients(gradients, summed)


def test_a_prefix_and_each_picture_go_through_the_model_once(
    own_vlm: VLM,
    group: list[Rollout],
    sources: SourceCache,
    make_question: MakeQuestion,
    image_batches: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packed: list[int] = []
    forward = VLM.forward_packed

    def spy(self: VLM, forest: Forest) -> torch.Tensor:
        packed.append(len(forest))
        return forward(self, forest)

    monkeypatch.setattr(VLM, "forward_packed", spy)
    loss_and_gradients(own_vlm, group, sources, make_question)
    assert image_batches == [3]  # the overview and two crops
    prefix = own_vlm.chat.prompt(
        group[0].views[0],
        "What code is on the sign, " + "left of red, " * 8 + "is it?",
        Mode.FORCED,
    )[0]
    lengths = [len(r.token_ids) for r in group]
    [length] = packed
    tails = sum(lengths) - len(group) * len(prefix)
    assert length <= len(prefix) + tails + len(group) * GRAIN
    assert length < sum(lengths) / 2


def test_logits_in_chunks_change_nothing(
    own_vlm: VLM,
    group: list[Rollout],
    sources: SourceCache,
    make_question: MakeQuestion,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = loss_and_gradients(own_vlm, group, sources, make_question)
    rows: list[int] = []
    logits = VLM.logits

    def spy(self: VLM, hidden_D: torch.Tensor) -> torch.Tensor:
        rows.append(len(hidden_D))
        return logits(self, hidden_D)

    monkeypatch.setattr(VLM, "logits", spy)
    monkeypatch.setattr("lookless.training.replay.MAX_LOGITS", 7 * own_vlm.vocabulary)
    chunked = loss_and_gradients(own_vlm, group, sources, make_question)
    assert max(rows) == 7
    assert chunked[0] == pytest.approx(whole[0], rel=1e-5)
    assert_same_gradients(chunked[1], whole[1], 1e-5)


def test_a_model_that_does_not_see_all_that_is_before_takes_rows(
    own_vlm: VLM, group: list[Rollout], sources: SourceCache, make_question: MakeQuestion
) -> None:
    plain = loss_and_gradients(own_vlm, group, sources, make_question, share_prefixes=False)
    own_vlm.model.model.language_model.config.attention_dropout = 1e-9
    assert not own_vlm.packs
    assert loss_and_gradients(own_vlm, group, sources, make_question)[0] == plain[0]
