from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from lookless.chat.chatml import ChatML
from lookless.episode import Mode, Question
from lookless.evaluation.answered import Answered
from lookless.evaluation.audit import (
    GREY,
    Swapped,
    auditable,
    changes,
    first_crop,
    is_same_until_crop,
    swaps,
)
from lookless.frames import Box, Frame
from lookless.grading.verdict import Verdict
from lookless.images import SourceCache
from lookless.picture import Picture
from lookless.policies.policy import Observation, Prompt, Sampled
from lookless.policies.scripted import ScriptedPolicy
from lookless.rollout import rollout

MakeQuestion = Callable[..., Question]
LOOK = '<tool_call>{"name": "zoom_in", "arguments": {"bbox_2d": [250, 250, 500, 500]}}</tool_call>'
BAD = "<tool_call>{}</tool_call>"
ANSWER = r"\boxed{K7}"


def played(
    chat: ChatML, sources: SourceCache, question: Question, *texts: str, grade: float = 1.0
) -> Answered:
    policy = ScriptedPolicy(chat, lambda prompt, turn: texts[turn])
    [done] = rollout(policy, [(question, Mode.ADAPTIVE)], sources)
    return Answered(question, done, Verdict(done.answer or "", grade))


@dataclass(frozen=True)
class Seeing:
    """Looks once, notes the colour in the middle of the crop, and answers."""

    chat: ChatML
    seen: list[object] = field(default_factory=list)

    def start(self, prompts: Sequence[Prompt]) -> "Seeing":
        return self

    def step(
        self, appended: Mapping[int, Observation | None], max_tokens: int
    ) -> dict[int, Sampled]:
        turns = {}
        for row, observation in appended.items():
            text = LOOK
            if observation is not None and observation.picture is not None:
                image, view = observation.picture.pixels, observation.picture.view
                assert image.size == (view.width_px, view.height_px)
                self.seen.append(image.getpixel((image.width // 2, image.height // 2)))
                text = r"\boxed{K7}"
            ids = (*self.chat.encode(text), self.chat.end_id)
            turns[row] = Sampled(ids, (0.0,) * len(ids), True)
        return turns


def test_crops_are_swapped_for_grey_and_for_those_of_others(
    chat: ChatML, sources: SourceCache, make_question: MakeQuestion
) -> None:
    questions = [make_question(name) for name in "ab"]
    audited = [played(chat, sources, question, LOOK, ANSWER) for question in questions]
    found = {}
    for kind, swap in swaps(audited, sources).items():
        policy = Seeing(chat)
        rollout(Swapped(policy, swap), [(questions[0], Mode.ADAPTIVE)], sources)
        found[kind] = policy.seen
    other = Picture(sources.get(questions[1].image), audited[1].rollout.views[1]).pixels
    assert found["same"] == [(255, 0, 0)]  # the red square of every drawn image
    assert found["blank"] == [GREY]
    assert found["shuffled"] == [other.getpixel((other.width // 2, other.height // 2))]


def test_a_shuffled_crop_is_of_another_image_or_grey(
    chat: ChatML, sources: SourceCache, make_question: MakeQuestion
) -> None:
    one = make_question("a")
    audited = [played(chat, sources, replace(one, id=name), LOOK, ANSWER) for name in "xy"]
    policy = Seeing(chat)
    swap = swaps(audited, sources)["shuffled"]
    rollout(Swapped(policy, swap), [(audited[0].question, Mode.ADAPTIVE)], sources)
    assert policy.seen == [GREY]


def test_first_crop_is_where_the_first_executed_look_was(
    chat: ChatML, sources: SourceCache, make_question: MakeQuestion
) -> None:
    done = played(chat, sources, make_question(), BAD, LOOK, ANSWER).rollout
    assert first_crop(done) == Box(160, 160, 320, 320, Frame.SOURCE)


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ([LOOK, ANSWER], [LOOK, r"\boxed{other}"], True),
        ([LOOK, LOOK, ANSWER], [LOOK, ANSWER], True),
        ([BAD, LOOK, ANSWER], [BAD, LOOK, r"\boxed{other}"], True),
        ([BAD, LOOK, ANSWER], [LOOK, ANSWER], False),
        ([LOOK, ANSWER], [ANSWER], False),
        (["I look. " + LOOK, ANSWER], [LOOK, ANSWER], False),
    ],
)
def test_only_what_was_said_before_the_first_crop_has_to_agree(
    chat: ChatML,
    sources: SourceCache,
    make_question: MakeQuestion,
    first: list[str],
    second: list[str],
    is_same: bool,
) -> None:
    question = make_question()
    done = [played(chat, sources, question, *texts).rollout for texts in (first, second)]
    assert is_same_until_crop(*done) is is_same


def test_changes_of_known_answers(
    chat: ChatML, sources: SourceCache, make_question: MakeQuestion
) -> None:
    question = make_question()

    def one(*texts: str, grade: float) -> Answered:
        return played(chat, sources, question, *texts, grade=grade)

    right, wrong = one(LOOK, ANSWER, grade=1.0), one(LOOK, r"\boxed{other}", grade=0.0)
    unrepeated = one(BAD, LOOK, ANSWER, grade=1.0)
    before = [right, right, wrong, wrong, right]
    after = [right, wrong, right, wrong, unrepeated]
    found = changes(before, after)
    assert (found["n"], found["not_repeated"]) == (4, 1)
    assert (found["changed"], found["to_wrong"], found["to_right"]) == (0.5, 0.25, 0.25)
    assert found["accuracy"] == 0.5
    nothing = changes([right], [unrepeated])
    assert (nothing["n"], nothing["not_repeated"], nothing["changed"]) == (0, 1, None)


def test_audited_are_answers_with_a_look_at_most_so_many_and_always_the_same(
    chat: ChatML, sources: SourceCache, make_question: MakeQuestion
) -> None:
    looked = [played(chat, sources, make_question(name), LOOK, ANSWER) for name in "abcdef"]
    plain = [played(chat, sources, make_question(name), ANSWER) for name in "gh"]
    assert auditable([*plain, *looked], 10, seed=0) == looked
    some = auditable([*plain, *looked], 3, seed=0)
    assert len(some) == 3
    assert some == auditable([*plain, *looked], 3, seed=0)
    assert [looked.index(one) for one in some] == sorted(looked.index(one) for one in some)
