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
    logprobs_BT, mask_BT, _ = replay(vlm, rollouts, features_of(vlm, None, rollouts, of))
    return logprobs_BT, mask_BT


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
    before_BT, mask_BT, _ = replay(vlm, [r], [[overview, crop]])
    after_BT, _, _ = replay(vlm, [r], [[overview, other]])
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
