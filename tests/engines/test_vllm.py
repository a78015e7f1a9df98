"""Rollouts by vLLM are those of transformers: tokens, log-probabilities, after new weights too."""

import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

from lookless.episode import Question, Rollout, StopReason
from lookless.images import SourceCache
from lookless.policies.hf import HfPolicy
from lookless.policies.policy import Prompt
from lookless.rollout import Limits, rollout
from lookless.training.replay import features_of, replay
from lookless.vlm import VLM, load_vlm
from lookless.vlm.families import NO_LIMITS, PixelLimits
from policies.played import play, prompts_of
from real.parts import FAMILIES, checkpoint

pytestmark = pytest.mark.engine
vllm = pytest.importorskip("vllm")

from lookless.policies.vllm import VllmPolicy, VllmSettings  # noqa: E402

TURNS = (3, 1, 2, 2, 3, 3)
SETTINGS = VllmSettings(max_rollouts=8, dtype="float32", eager=True)


@dataclass
class Case:
    """One family's checkpoint in both engines, and prompts for them."""

    folder: Path
    vlm: VLM
    vllm: VllmPolicy
    prompts: list[Prompt]

    def transformers(self, temperature: float = 0.0) -> list[Rollout]:
        """Return rollouts with observations in between, by transformers."""
        return play(HfPolicy(self.vlm, temperature), self.vlm.chat, self.prompts, TURNS)

    def by_vllm(self, temperature: float = 0.0) -> list[Rollout]:
        """Return the same by vLLM."""
        policy = self.vllm.seeded(3)
        policy.temperature = temperature
        return play(policy, self.vllm.chat, self.prompts, TURNS)


@pytest.fixture(scope="module", params=FAMILIES)
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Case]:
    place = tmp_path_factory.mktemp("engines")
    folder = checkpoint(request.param, place)
    asked = []
    for name, size in (("a", (640, 640)), ("b", (700, 500))):
        image = Image.effect_noise(size, 90).convert("RGB")
        ImageDraw.Draw(image).rectangle((100, 100, 300, 300), fill="red")
        image.save(place / f"{name}.png")
        asked.append(Question(name, place / f"{name}.png", "What code is on the red sign?", "K7"))
    vlm = load_vlm(folder)
    policy = VllmPolicy(folder, SETTINGS)
    yield Case(folder, vlm, policy, prompts_of(vlm.chat, SourceCache(), asked))
    del policy
    gc.collect()


def assert_same(ours: Sequence[Rollout], theirs: Sequence[Rollout]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert one.token_ids == other.token_ids
        assert one.is_sampled == other.is_sampled
        assert other.logprobs == pytest.approx(one.logprobs, abs=1e-3)


def test_greedy_rollouts_and_log_probabilities_are_the_same(case: Case) -> None:
    assert_same(case.transformers(), case.by_vllm())


def test_sampled_log_probabilities_are_those_of_replay(case: Case) -> None:
    sampled = case.by_vllm(temperature=0.7)
    assert [r.token_ids for r in case.by_vllm(0.7)] == [r.token_ids for r in sampled]
    assert len({r.token_ids[-9:] for r in sampled}) == len(sampled)
    seen = [prompt.overview.source for prompt in case.prompts]
    with torch.no_grad():
        features = features_of(case.vlm, None, sampled, seen)
        logprobs_BT = replay(case.vlm, sampled, features, 0.7).logprobs_BT
    for b, r in enumerate(sampled):
        assert logprobs_BT[b, : len(r.logprobs)].tolist() == pytest.approx(r.logprobs, abs=1e-3)


def test_prefixes_and_images_are_found_in_the_caches(case: Case) -> None:
    case.vllm.forget()
    case.by_vllm()
    rates = case.vllm.hit_rates()
    assert rates["prefix_cache"] > 0.5
    assert rates["mm_cache"] > 0.5


@pytest.mark.parametrize("temperature", [0.0, 2.0])
def test_tokens_for_pixels_are_never_sampled_however_likely(
    case: Case, monkeypatch: pytest.MonkeyPatch, temperature: float
) -> None:
    banned = set(case.vlm.chat.banned_ids)
    bias = dict.fromkeys(banned, 100.0)
    monkeypatch.setattr(vllm, "SamplingParams", partial(vllm.SamplingParams, logit_bias=bias))
    for r in case.by_vllm(temperature):
        own = [t for t, is_own in zip(r.token_ids, r.is_sampled, strict=True) if is_own]
        assert own
        assert not banned & set(own)


def test_image_that_is_resized_in_another_way_is_a_fault(case: Case, tmp_path: Path) -> None:
    """Such as where the engine was set up with other pixel limits than the dialect."""
    other = case.vllm.seeded(0)
    tiles = hasattr(case.vlm.chat.budget, "max_tiles")
    limits = PixelLimits(max_tiles=12) if tiles else PixelLimits(max_pixels=512 * 512)
    other.chat = load_vlm(case.folder, limits=limits).chat
    Image.effect_noise((2400, 400), 90).convert("RGB").save(tmp_path / "wide.png")
    asked = Question("wide", tmp_path / "wide.png", "What is it?", "x")
    assert limits != NO_LIMITS
    [prompt, *_] = prompts_of(other.chat, SourceCache(), [asked])
    [done] = rollout(other, [(asked, prompt.mode)], SourceCache(), Limits(max_turn_tokens=4))
    assert done.stop is StopReason.FAULT
    assert "vLLM must see the prompt of" in done.turns[-1].text


def test_new_weights_replace_the_old_ones_and_all_that_was_computed_with_them(case: Case) -> None:
    before = case.by_vllm()
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in case.vlm.model.parameters():
            noise = torch.randn(weight.shape, generator=draw)
            weight.add_(0.3 * weight.std().nan_to_num() * noise)
    case.vllm.load_weights(case.vlm.model.state_dict().items())
    after = case.by_vllm()
    assert any(a.token_ids != b.token_ids for a, b in zip(before, after, strict=True))
    assert_same(case.transformers(), after)
