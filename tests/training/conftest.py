from collections.abc import Callable

import pytest

from lookless.chat.chatml import ChatML
from lookless.episode import Mode, Question, Rollout
from lookless.images import SourceCache
from lookless.policies.scripted import ScriptedPolicy
from lookless.rollout import rollout


@pytest.fixture
def say(chat: ChatML, make_question: Callable[..., Question]) -> Callable[..., Rollout]:
    """Return a maker of rollouts that say these texts, one a turn."""

    def play(*texts: str, mode: Mode = Mode.ADAPTIVE) -> Rollout:
        policy = ScriptedPolicy(chat, lambda prompt, turn: texts[turn])
        [played] = rollout(policy, [(make_question(), mode)], SourceCache())
        return played

    return play
