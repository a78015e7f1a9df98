from collections.abc import Callable
from dataclasses import replace

from lookless.chat.chatml import ChatML
from lookless.chat.remote import RemoteChat
from lookless.episode import Mode, Question
from lookless.frames import Box, Frame, View
from lookless.images import SourceCache
from lookless.picture import Picture
from lookless.policies.policy import Prompt
from lookless.policies.scripted import SCRIPTS, ScriptedPolicy
from lookless.rollout import Limits, rollout

SOURCE = Frame.SOURCE


def test_script_is_played_turn_by_turn_for_each_row(
    chat: ChatML, sources: SourceCache, make_question: Callable[..., Question]
) -> None:
    policy = ScriptedPolicy(chat, lambda prompt, turn: f"{prompt.question.id}{turn}")
    prompts = []
    for name in "ab":
        question = make_question(name)
        source = sources.get(question.image)
        overview = Picture(source, source.full_view(chat.budget))
        prompts.append(Prompt(question, Mode.ADAPTIVE, (), overview, ()))
    session = policy.start(prompts)
    first = session.step({0: None, 1: None}, 50)
    second = session.step({1: None}, 50)
    assert [chat.decode(list(first[row].token_ids)) for row in (0, 1)] == [
        "a0<|im_end|>", "b0<|im_end|>",
    ]  # fmt: skip
    assert {row: chat.decode(list(s.token_ids)) for row, s in second.items()} == {1: "b1<|im_end|>"}
    assert first[0].is_ended
    assert set(first[0].logprobs) == {0.0}


def test_long_turn_is_cut_at_its_limit(
    chat: ChatML, sources: SourceCache, make_question: Callable[..., Question]
) -> None:
    question = make_question()
    source = sources.get(question.image)
    overview = Picture(source, source.full_view(chat.budget))
    policy = ScriptedPolicy(chat, lambda prompt, turn: "red blue green")
    session = policy.start([Prompt(question, Mode.ADAPTIVE, (), overview, ())])
    [cut] = session.step({0: None}, 2).values()
    assert len(cut.token_ids) == 2
    assert not cut.is_ended


def test_gold_knows_the_answer_and_looks_where_it_is_needed(
    sources: SourceCache, make_question: Callable[..., Question]
) -> None:
    policy = ScriptedPolicy(RemoteChat(), SCRIPTS["gold"](RemoteChat(), 0))
    needed = replace(make_question("a", needs_look=True), boxes=(Box(300, 300, 340, 320, SOURCE),))
    other = make_question("b", needs_look=False)
    asked = [(question, mode) for question in (needed, other) for mode in Mode]
    done = rollout(policy, asked, sources, Limits(max_context=32_768))
    assert {r.answer for r in done} == {"K7"}
    looked = [(r.question_id, r.mode) for r in done if r.is_used]
    assert looked == [("a", Mode.FORCED), ("a", Mode.ADAPTIVE), ("b", Mode.FORCED)]
    left, top, right, bottom = done[0].views[1].region.coordinates
    assert left <= 300 < 340 <= right
    assert top <= 300 < 320 <= bottom
    assert done[4].views[1].region == Box(160, 160, 480, 480, SOURCE)  # the middle of 640 x 640


def test_chance_draws_by_seed_question_and_sample(
    sources: SourceCache, make_question: Callable[..., Question]
) -> None:
    question = make_question()
    asked = [replace(question, id=str(k), options=("w", "x", "y", "z")) for k in range(1000)]

    def letters(seed: int, sample: int) -> list[str]:
        script = SCRIPTS["chance"](RemoteChat(), seed)
        overview = Picture(sources.get(question.image), View(Box(0, 0, 9, 9, SOURCE), 9, 9))
        return [script(Prompt(q, Mode.ADAPTIVE, (), overview, (), sample), 0) for q in asked]

    first = letters(0, 0)
    assert letters(0, 0) == first
    for other in (letters(1, 0), letters(0, 1), first[1:] + first[:1]):
        same = sum(a == b for a, b in zip(first, other, strict=True))
        assert 200 < same < 300  # a quarter, as by chance


def test_chance_picks_one_option_of_each_question_and_the_same_one_again(
    sources: SourceCache, make_question: Callable[..., Question]
) -> None:
    policy = ScriptedPolicy(RemoteChat(), SCRIPTS["chance"](RemoteChat(), 0))
    asked = [replace(make_question(), id=str(k), options=("x", "y", "z")) for k in range(60)]
    picked = [
        [r.answer for r in rollout(policy, [(q, Mode.ADAPTIVE) for q in asked], sources)]
        for _ in range(2)
    ]
    assert picked[0] == picked[1]
    assert min(picked[0].count(letter) for letter in "ABC") > 10
    [open_ended] = rollout(policy, [(make_question(), Mode.FORCED)], sources)
    assert (open_ended.answer, open_ended.looks) == (None, ())
