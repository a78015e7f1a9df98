from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lookless.chat.chatml import ChatML
from lookless.episode import Question, Rollout
from lookless.images import SourceCache
from lookless.training.decision import MIN_OTHER, arm_logprobs, decision_index, decision_loss
from lookless.training.replay import features_of, replay
from lookless.vlm import VLM

MakeQuestion = Callable[..., Question]
Say = Callable[..., Rollout]
LOOK = '<tool_call>{"name": "zoom_in", "arguments": {"bbox_2d": [0, 0, 500, 500]}}</tool_call>'


@pytest.mark.parametrize("thought", [r"<think>red \boxed{K7}", f"<think>red {LOOK}"])
def test_what_is_only_thought_decides_nothing(chat: ChatML, say: Say, thought: str) -> None:
    assert decision_index(chat, say(thought)) is None


def test_a_call_that_was_cut_off_decides_nothing(chat: ChatML, say: Say) -> None:
    r = say("<think>red</think>" + LOOK, r"\boxed{K7}")
    assert decision_index(chat, r) is not None
    assert decision_index(chat, replace(r, looks=())) is None


@pytest.mark.parametrize(
    ("texts", "decision"),
    [
        ((rf"<think>red</think>{chr(10)}\boxed{{K7}}",), "\\boxed{"),
        ((r"<think>red</think>\boxed{K7}",), "\\boxed{"),
        ((r"\boxed{K7}",), "\\boxed{"),
        ((r"red \boxed{K7}",), "red"),
        (("<think>red</think>\n\n" + LOOK, r"\boxed{K7}"), "<tool_call>"),
        (("<think>red</think>red " + LOOK, r"\boxed{K7}"), "<tool_call>"),
        ((LOOK, LOOK, r"\boxed{K7}"), "<tool_call>"),
        ((rf"<think>red {LOOK}</think>\boxed{{K7}}",), "\\boxed{"),
        (("<think>red</think>",), "<|im_end|>"),
        (("",), "<|im_end|>"),
    ],
)
def test_decision_is_the_first_call_or_the_first_word_after_thinking(
    chat: ChatML, say: Say, texts: tuple[str, ...], decision: str
) -> None:
    r = say(*texts)
    place = decision_index(chat, r)
    assert place is not None
    assert chat.decode([r.token_ids[place]]) == decision
    assert r.is_sampled[place]
    first_turn = r.is_sampled.index(True) + len(chat.encode(texts[0])) + 1
    assert place < first_turn


def test_nothing_sampled_decides_nothing(chat: ChatML, say: Say) -> None:
    r = say(r"\boxed{K7}")
    assert decision_index(chat, replace(r, is_sampled=(False,) * len(r.token_ids))) is None


def arms(
    vlm: VLM, make_question: MakeQuestion, sources: SourceCache, rollouts: Sequence[Rollout],
    left_out: Sequence[int] = (),
) -> tuple[list[float], torch.Tensor]:  # fmt: skip
    """Return the rollouts' arms and the log-probabilities of their tokens."""
    source = sources.get(make_question().image)
    with torch.no_grad():
        features = features_of(vlm, None, rollouts, [source] * len(rollouts))
        replayed = replay(vlm, rollouts, features, 0.6)
        places = [
            None if b in left_out else decision_index(vlm.chat, r) for b, r in enumerate(rollouts)
        ]
        return arm_logprobs(vlm, replayed, rollouts, places, 0.6).tolist(), replayed.logprobs_BT


def test_arms_are_calling_and_saying_anything_else(
    vlm: VLM, make_question: MakeQuestion, say: Say, sources: SourceCache
) -> None:
    thought = "<think>red</think>\n"
    texts = [(thought + LOOK, r"\boxed{K7}"), (thought + r"\boxed{K7}",), (thought + "red",)]
    rollouts = [say(*t) for t in texts]
    (call, boxed, red), logprobs_BT = arms(vlm, make_question, sources, rollouts)
    place = decision_index(vlm.chat, rollouts[0])
    assert call == pytest.approx(logprobs_BT[0, place].item(), abs=1e-4)
    assert boxed == pytest.approx(red, abs=1e-4)
    assert torch.tensor([call, boxed]).exp().sum().item() == pytest.approx(1.0, abs=1e-4)
    some, _ = arms(vlm, make_question, sources, rollouts, left_out=[1])
    assert some == pytest.approx([call, red], abs=1e-4)


@given(
    odds=st.floats(-3.5, 3.5), looked=st.booleans(), credit=st.floats(-5, 5),
    tokens=st.integers(1, 1000),
)  # fmt: skip
def test_credit_is_the_gradient_on_the_log_odds(
    odds: float, looked: bool, credit: float, tokens: int
) -> None:
    z_N = torch.tensor([odds], dtype=torch.float64, requires_grad=True)
    arm_N = torch.nn.functional.logsigmoid(z_N if looked else -z_N)
    decision_loss(arm_N, arm_N.detach(), [credit], 0.2, 0.28, tokens).backward()
    assert z_N.grad is not None
    towards = credit if looked else -credit
    assert -z_N.grad.item() == pytest.approx(towards / tokens, rel=1e-4, abs=1e-9)


def test_push_fades_where_the_other_arm_is_out_of_reach() -> None:
    chance = MIN_OTHER / 10
    z_N = torch.logit(torch.tensor([chance])).requires_grad_()
    arm_N = torch.nn.functional.logsigmoid(-z_N)
    decision_loss(arm_N, arm_N.detach(), [1.0], 0.2, 0.28, 1.0).backward()
    assert z_N.grad is not None
    assert z_N.grad.item() == pytest.approx(0.1, rel=1e-3)


def test_arms_of_certain_policies_stay_finite(
    vlm: VLM,
    make_question: MakeQuestion,
    say: Say,
    sources: SourceCache,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    r = say(r"\boxed{K7}")
    call = vlm.chat.encode("<tool_call>")[0]
    features = features_of(vlm, None, [r], [sources.get(make_question().image)])
    replayed = replay(vlm, [r], features)
    logits_NV = torch.zeros(1, 1000)
    logits_NV[0, call] = 1e4
    logits_NV.requires_grad_()
    monkeypatch.setattr(VLM, "logits", lambda self, hidden_ND: logits_NV)
    [arm] = arm_logprobs(vlm, replayed, [r], [decision_index(vlm.chat, r)])
    arm.backward()
    assert torch.isfinite(arm)
    assert logits_NV.grad is not None
    assert torch.isfinite(logits_NV.grad).all()
