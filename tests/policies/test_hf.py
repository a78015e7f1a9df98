from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch

from lookless.episode import TRAINED_MODES, Mode, Question, Rollout, StopReason
from lookless.images import SourceCache
from lookless.policies.hf import HfPolicy, choose
from lookless.policies.policy import Prompt
from lookless.rollout import Limits, rollout
from lookless.training.replay import features_of, replay
from lookless.vlm import VLM, Segment
from policies.played import biased, observation_of, play, prompts_of

MakeQuestion = Callable[..., Question]
LIMITS = Limits(max_turn_tokens=12)


def test_no_request_gives_no_rollout(vlm: VLM, sources: SourceCache) -> None:
    assert rollout(HfPolicy(vlm), [], sources) == []


TURNS = (3, 1, 2, 2, 3, 3)


def test_greedy_batch_equals_rollouts_one_by_one(ending_vlm: VLM, prompts: list[Prompt]) -> None:
    policy = HfPolicy(ending_vlm, temperature=0.0)
    batched = play(policy, policy.chat, prompts, TURNS)
    assert len({r.sampled_tokens for r in batched}) > 2
    for prompt, turns, together in zip(prompts, TURNS, batched, strict=True):
        [alone] = play(policy, policy.chat, [prompt], [turns])
        assert together.token_ids == alone.token_ids
        assert together.is_sampled == alone.is_sampled
        assert together.logprobs == pytest.approx(alone.logprobs, abs=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_sampled_log_probabilities_equal_those_of_replay(
    ending_vlm: VLM, prompts: list[Prompt], temperature: float
) -> None:
    policy = HfPolicy(ending_vlm, temperature, seed=1)
    rollouts = play(policy, policy.chat, prompts, TURNS)
    assert len({len(r.token_ids) for r in rollouts}) > 3
    assert {len(r.views) for r in rollouts} == {1, 2, 3}
    sources = [prompt.overview.source for prompt in prompts]
    with torch.no_grad():
        features = features_of(ending_vlm, None, rollouts, sources)
        logprobs_BT, mask_BT, *_ = replay(ending_vlm, rollouts, features, temperature)
    for b, r in enumerate(rollouts):
        length = len(r.token_ids)
        assert mask_BT[b].tolist()[:length] == list(r.is_sampled)
        assert not mask_BT[b, length:].any()
        torch.testing.assert_close(
            logprobs_BT[b, :length], torch.tensor(r.logprobs), rtol=0, atol=1e-4
        )
        assert logprobs_BT[b, length:].abs().sum() == 0


def sampled_by(vlm: VLM, seed: int, requests: list[tuple[Question, Mode]]) -> list[Rollout]:
    played = rollout(HfPolicy(vlm, seed=seed), requests, SourceCache(), LIMITS)
    return [replace(r, seconds=0.0, latency=0.0) for r in played]


def test_seed_decides_what_is_sampled(ending_vlm: VLM, make_question: MakeQuestion) -> None:
    requests = [(make_question(name), mode) for name in "ab" for mode in TRAINED_MODES]
    first = sampled_by(ending_vlm, 3, requests)
    assert sampled_by(ending_vlm, 3, requests) == first
    assert sampled_by(ending_vlm, 4, requests) != first
    assert all(r.stop is not StopReason.FAULT for r in first)


def test_what_is_drawn_does_not_depend_on_the_batch(
    ending_vlm: VLM, sources: SourceCache, make_question: MakeQuestion
) -> None:
    policy = HfPolicy(ending_vlm, seed=0)
    a, b = make_question("a"), make_question("b")
    together = rollout(policy, [(a, Mode.ADAPTIVE)] * 3 + [(b, Mode.FORCED)], sources, LIMITS)
    assert len({r.token_ids for r in together}) == 4
    [alone] = rollout(policy, [(a, Mode.ADAPTIVE)], sources, LIMITS, samples=[2])
    assert alone.token_ids == together[2].token_ids
    [other] = rollout(policy.seeded("0 1"), [(b, Mode.FORCED)], sources, LIMITS)
    assert other.token_ids != together[3].token_ids


@pytest.mark.parametrize("draw", [0.0, 0.3, 1 - 2**-53])
def test_draws_choose_tokens_by_their_probability(draw: float) -> None:
    """The extremes included: what has no probability is never chosen."""
    probabilities_V = torch.tensor([0.0, 0.2, 0.0, 0.7, 0.1, 0.0])
    draws_B = torch.tensor([draw], dtype=torch.double)
    next_B, logprob_B = choose(probabilities_V.log()[None], draws_B, 1.0)
    expected = {0.0: 1, 0.3: 3, 1 - 2**-53: 4}[draw]
    assert next_B.tolist() == [expected]
    assert logprob_B.exp().tolist() == pytest.approx([probabilities_V[expected].item()])


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_banned_tokens_never_appear_however_likely(
    vlm: VLM, make_question: MakeQuestion, temperature: float
) -> None:
    requests = [(make_question(), Mode.ADAPTIVE)] * 4
    for token in vlm.chat.banned_ids:
        with biased(vlm, token, 1000.0):
            policy = HfPolicy(vlm, temperature)
            for r in rollout(policy, requests, SourceCache(), LIMITS):
                own = [t for t, is_own in zip(r.token_ids, r.is_sampled, strict=True) if is_own]
                assert own
                assert not set(own) & set(vlm.chat.banned_ids)
                assert all(value > -50 for value in r.logprobs)


@pytest.fixture
def forwarded(vlm: VLM, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list of how many rows each pass over segments had, as it grows."""
    rows: list[int] = []
    forward = VLM.forward

    def spy(self: VLM, segments: Sequence[Segment], *args: object, **named: object) -> object:
        rows.append(len(segments))
        return forward(self, segments, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(VLM, "forward", spy)
    return rows


def test_shared_prefix_and_overview_are_computed_once(
    vlm: VLM,
    sources: SourceCache,
    make_question: MakeQuestion,
    forwarded: list[int],
    image_batches: list[int],
) -> None:
    a, b = make_question("a"), make_question("b")
    other = replace(a, id="other", text="How many signs are there?")
    prompts = prompts_of(vlm.chat, sources, [a, b, other, a])
    policy = HfPolicy(vlm)
    session = policy.start(prompts)
    assert forwarded == [3]  # three distinct questions, twelve rollouts
    assert sum(image_batches) == 2  # two distinct overviews
    session.step(dict.fromkeys(range(12)), 2)
    assert forwarded == [3, 12]
    policy.start(prompts)
    assert sum(image_batches) == 2


def test_finished_rollouts_leave_the_batch(
    vlm: VLM, prompts: list[Prompt], forwarded: list[int]
) -> None:
    session = HfPolicy(vlm).start(prompts)
    forwarded.clear()
    session.step(dict.fromkeys(range(6)), 3)
    seen = {row: observation_of(vlm.chat, prompts[row], 0) for row in (1, 4, 5)}
    assert set(session.step(seen, 3)) == {1, 4, 5}
    assert set(session.step({4: seen[4]}, 3)) == {4}
    assert forwarded == [6, 3, 1]
    [rows] = session.held
    assert len(rows.names) == rows.mask_BS.shape[0] == 1


def test_turn_ends_at_its_end_token_or_its_limit(ending_vlm: VLM, prompts: list[Prompt]) -> None:
    session = HfPolicy(ending_vlm, seed=2).start(prompts * 4)
    sampled = session.step(dict.fromkeys(range(24)), 10)
    assert {s.is_ended for s in sampled.values()} == {True, False}
    for one in sampled.values():
        assert len(one.token_ids) == len(one.logprobs) <= 10
        assert one.is_ended == (one.token_ids[-1] == ending_vlm.chat.end_id)
        assert one.is_ended or len(one.token_ids) == 10
        assert ending_vlm.chat.end_id not in one.token_ids[:-1]
