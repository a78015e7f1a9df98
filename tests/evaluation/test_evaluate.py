from collections.abc import Callable

import pytest

from lookless.chat.chatml import ChatML
from lookless.episode import Mode, Question
from lookless.errors import PolicyError
from lookless.evaluation.evaluate import evaluate
from lookless.grading.exact import boxed_exact
from lookless.images import SourceCache
from lookless.policies.policy import Prompt
from lookless.policies.scripted import ScriptedPolicy
from lookless.rollout import Limits

MakeQuestion = Callable[..., Question]


@pytest.mark.parametrize("batch", [1, 2, 96])
def test_every_question_is_answered_in_order_whatever_the_batch(
    chat: ChatML, sources: SourceCache, make_question: MakeQuestion, batch: int
) -> None:
    asked = [make_question(name, answer=f"K{k}") for k, name in enumerate("abcab")]
    policy = ScriptedPolicy(chat, lambda prompt, turn: rf"\boxed{{{prompt.question.answer}}}")
    done: list[int] = []
    found = evaluate(
        policy, asked, Mode.PROHIBITED, sources, Limits(), boxed_exact, batch, done.append
    )
    assert [one.question for one in found] == asked
    assert [one.grade for one in found] == [1.0] * 5
    assert {one.rollout.mode for one in found} == {Mode.PROHIBITED}
    assert done == [min(k, 5) for k in range(batch, 5 + batch, batch)]


def test_evaluation_ends_with_what_was_said_if_nothing_works(
    chat: ChatML, sources: SourceCache, make_question: MakeQuestion
) -> None:
    def broken(prompt: Prompt, turn: int) -> str:
        raise RuntimeError("out of memory")

    asked = [make_question(name) for name in "ab"]
    with pytest.raises(PolicyError, match=r"2 rollouts must work.*RuntimeError: out of memory"):
        evaluate(ScriptedPolicy(chat, broken), asked, Mode.FORCED, sources, Limits(), boxed_exact)
