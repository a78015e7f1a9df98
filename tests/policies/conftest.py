from collections.abc import Callable, Iterator

import pytest

from lookless.episode import Question
from lookless.images import SourceCache
from lookless.policies.policy import Prompt
from lookless.vlm import VLM
from policies.played import biased, prompts_of

MakeQuestion = Callable[..., Question]


@pytest.fixture
def prompts(vlm: VLM, sources: SourceCache, make_question: MakeQuestion) -> list[Prompt]:
    """Return the three modes' prompts of two questions of unequal length about unequal images."""
    questions = [
        make_question("a"),
        make_question("b", text="Is the dot left or right?", size=(700, 500)),
    ]
    return prompts_of(vlm.chat, sources, questions)


@pytest.fixture
def ending_vlm(vlm: VLM) -> Iterator[VLM]:
    """Return the untrained model, inclined to end its turns, so that their lengths differ."""
    with biased(vlm, vlm.chat.end_id, 3.5):
        yield vlm
