from collections.abc import Callable

from lookless.chat.chatml import ChatML
from lookless.episode import Mode, Question
from lookless.images import SourceCache
from lookless.picture import Picture
from lookless.policies.policy import Prompt
from lookless.policies.scripted import ScriptedPolicy


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
