import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lookless.chat.chatml import REFUSALS, ChatML
from lookless.chat.dialect import Dialect
from lookless.episode import LookOutcome, Mode, Question, Rollout, StopReason, Turn
from lookless.frames import Box, Frame
from lookless.images import SourceCache
from lookless.policies.policy import Failed, Observation, Policy, Prompt, Sampled, Session
from lookless.policies.scripted import ScriptedPolicy
from lookless.rollout import Limits, rollout

MakeQuestion = Callable[..., Question]
ANSWER = r"\boxed{K7}"


def look(*box: float, image: int = 0) -> str:
    arguments = {"bbox_2d": list(box), "image": image}
    return f"<tool_call>\n{json.dumps({'name': 'zoom_in', 'arguments': arguments})}\n</tool_call>"


LOOK = look(250, 250, 500, 500)
LOOKS = tuple(look(100 * k, 0, 100 * k + 100, 100) for k in range(8))


@pytest.fixture
def play(chat: ChatML, sources: SourceCache, make_question: MakeQuestion) -> Callable[..., Rollout]:
    """Return what plays one scripted rollout."""

    def run(*texts: str, mode: Mode = Mode.ADAPTIVE, limits: Limits | None = None) -> Rollout:
        policy = ScriptedPolicy(chat, lambda prompt, turn: texts[turn])
        [played] = rollout(policy, [(make_question(), mode)], sources, limits)
        return played

    return run


Play = Callable[..., Rollout]


@pytest.mark.parametrize(
    ("texts", "limits", "stop", "answer"),
    [
        ((ANSWER,), Limits(), StopReason.ANSWERED, "K7"),
        ((LOOK, ANSWER), Limits(), StopReason.ANSWERED, "K7"),
        (("K7",), Limits(), StopReason.NO_ANSWER, None),
        (("",), Limits(), StopReason.NO_ANSWER, None),
        ((r"<think>\boxed{K7}</think>",), Limits(), StopReason.NO_ANSWER, None),
        ((LOOK, "K7"), Limits(), StopReason.NO_ANSWER, None),
        ((ANSWER + " red" * 20,), Limits(max_turn_tokens=16), StopReason.TURN_LENGTH, None),
        ((LOOK, ANSWER), Limits(max_context=150), StopReason.CONTEXT_LENGTH, None),
        (("<tool_call>",) * 3, Limits(), StopReason.TOO_MANY_LOOKS, None),
        ((*LOOKS,), Limits(max_looks=2), StopReason.TOO_MANY_LOOKS, None),
        ((LOOK, LOOK, LOOK, LOOK), Limits(), StopReason.TOO_MANY_LOOKS, None),
    ],
)
def test_every_ending_is_reached(
    play: Play, texts: tuple[str, ...], limits: Limits, stop: StopReason, answer: str | None
) -> None:
    played = play(*texts, limits=limits)
    assert (played.stop, played.answer) == (stop, answer)


def test_turn_that_ends_exactly_at_its_limit_is_whole(play: Play, chat: ChatML) -> None:
    length = len(chat.encode(ANSWER)) + 1
    assert play(ANSWER, limits=Limits(max_turn_tokens=length)).stop is StopReason.ANSWERED
    cut = play(ANSWER, limits=Limits(max_turn_tokens=length - 1))
    assert cut.stop is StopReason.TURN_LENGTH
    assert cut.answer is None


def test_context_is_never_exceeded(play: Play) -> None:
    needed = len(play(LOOK, ANSWER).token_ids)
    for max_context in range(needed - 40, needed + 140, 9):
        limits = Limits(max_turn_tokens=64, max_context=max_context)
        played = play(LOOK, ANSWER, limits=limits)
        assert len(played.token_ids) <= max_context
        assert len(played.views) == 1 + (played.stop is StopReason.ANSWERED)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (LOOK, LookOutcome.EXECUTED),
        ("<tool_call>{</tool_call>", LookOutcome.MALFORMED),
        (LOOK.replace("zoom_in", "rotate"), LookOutcome.UNKNOWN_OPERATION),
        (look(0, 0, 1), LookOutcome.BAD_ARGUMENTS),
        (look(0, 0, float("nan"), 500), LookOutcome.NOT_FINITE),
        (look(500, 500, 0, 0), LookOutcome.SWAPPED_CORNERS),
        (look(2000, 2000, 3000, 3000), LookOutcome.OUTSIDE),
        (look(0, 0, 1, 1), LookOutcome.TOO_SMALL),
        (look(0, 0, 500, 500, image=1), LookOutcome.UNKNOWN_IMAGE),
    ],
)
def test_bad_call_is_told_to_the_model_and_not_executed(
    play: Play, text: str, outcome: LookOutcome
) -> None:
    played = play(text, ANSWER)
    assert [one.outcome for one in played.looks] == [outcome]
    is_executed = outcome is LookOutcome.EXECUTED
    assert len(played.views) == 1 + is_executed
    assert played.is_used is is_executed
    assert [turn.role for turn in played.turns] == ["prompt", "model", "observation", "model"]
    told = "<|image_pad|>" if is_executed else REFUSALS[outcome]
    assert told in played.turns[2].text


def test_repeated_look_is_refused(play: Play) -> None:
    played = play(LOOK, LOOK, ANSWER)
    assert [one.outcome for one in played.looks] == [LookOutcome.EXECUTED, LookOutcome.REPEATED]
    assert len(played.views) == 2


@pytest.mark.parametrize("text", [LOOK, "<tool_call>{</tool_call>", look(0, 0, 1)])
def test_prohibited_look_is_refused_whatever_it_says(play: Play, text: str) -> None:
    played = play(text, ANSWER, mode=Mode.PROHIBITED)
    assert [one.outcome for one in played.looks] == [LookOutcome.REFUSED]
    assert played.stop is StopReason.ANSWERED
    assert len(played.views) == 1
    assert REFUSALS[LookOutcome.REFUSED] in played.turns[2].text
    assert "<|image_pad|>" not in played.turns[2].text


@pytest.mark.parametrize("text", [LOOK, "<tool_call>{</tool_call>", look(0, 0, 1)])
def test_look_that_was_never_offered_is_an_unknown_operation(play: Play, text: str) -> None:
    played = play(text, ANSWER, mode=Mode.TOOLFREE)
    assert [one.outcome for one in played.looks] == [LookOutcome.UNKNOWN_OPERATION]
    assert (played.stop, len(played.views)) == (StopReason.ANSWERED, 1)
    assert "zoom_in" not in played.turns[0].text
    assert REFUSALS[LookOutcome.UNKNOWN_OPERATION] in played.turns[2].text


@pytest.mark.parametrize("max_looks", [0, 1, 3])
def test_no_more_looks_than_the_budget_are_executed(play: Play, max_looks: int) -> None:
    played = play(*LOOKS[: max_looks + 1], ANSWER, limits=Limits(max_looks=max_looks))
    assert played.executed_looks == max_looks == len(played.views) - 1
    assert played.looks[-1].outcome is LookOutcome.TOO_MANY
    assert played.stop is StopReason.ANSWERED


def test_refusals_do_not_use_up_the_budget(play: Play) -> None:
    limits = Limits(max_looks=1, max_refusals=1)
    played = play(look(0, 0, 1), LOOK, ANSWER, limits=limits)
    assert played.executed_looks == 1
    assert played.stop is StopReason.ANSWERED


def test_each_executed_look_names_its_view(play: Play) -> None:
    played = play(LOOK, "<tool_call>{</tool_call>", look(0, 0, 500, 500, image=1), ANSWER)
    assert [one.view for one in played.looks] == [1, None, 2]
    assert played.views[1].region.coordinates == (160, 160, 320, 320)
    assert played.views[2].region.coordinates == (160, 160, 240, 240)


def test_loss_mask_counts_the_models_tokens_and_no_others(play: Play, chat: ChatML) -> None:
    texts = ("<think>red</think>\n" + LOOK, look(0, 0, 1), ANSWER)
    played = play(*texts)
    sampled = [t for t, own in zip(played.token_ids, played.is_sampled, strict=True) if own]
    assert sampled == [t for text in texts for t in (*chat.encode(text), chat.end_id)]
    assert played.sampled_tokens == played.generated_tokens == len(sampled)
    assert not set(sampled) & set(chat.banned_ids)


def test_all_tokens_decode_to_the_turns_in_order(play: Play, chat: ChatML) -> None:
    played = play(LOOK, look(0, 0, 1), ANSWER)
    spoken = [t.text + ("<|im_end|>" if t.role == "model" else "") for t in played.turns]
    assert chat.decode(list(played.token_ids)) == "".join(spoken)


def test_image_tokens_are_those_of_the_views(play: Play, chat: ChatML) -> None:
    played = play(LOOK, look(0, 0, 1000, 300), ANSWER)
    assert len(played.views) == 3
    assert played.visual_tokens == played.token_ids.count(chat.image_pad_id)
    assert played.visual_tokens == sum(map(chat.visual_tokens, played.views))


def test_log_probabilities_belong_to_sampled_tokens_only(
    chat: ChatML, sources: SourceCache, make_question: MakeQuestion
) -> None:
    class Sure(ScriptedPolicy):
        def start(self, prompts: Sequence[Prompt]) -> Session:  # type: ignore[override]
            inner = super().start(prompts)

            class Wrapped:
                def step(
                    self, appended: Mapping[int, Observation | None], max_tokens: int
                ) -> dict[int, Sampled]:
                    turns = inner.step(appended, max_tokens)
                    return {
                        row: replace(s, logprobs=tuple(-1.0 - k for k in range(len(s.token_ids))))
                        for row, s in turns.items()
                    }

            return Wrapped()

    texts = (LOOK, ANSWER)
    policy = Sure(chat, lambda prompt, turn: texts[turn])
    [played] = rollout(policy, [(make_question(), Mode.ADAPTIVE)], sources)
    assert [own for own in played.is_sampled] == [value < 0 for value in played.logprobs]
    lengths = [len(chat.encode(text)) + 1 for text in texts]
    expected = [-1.0 - k for length in lengths for k in range(length)]
    assert [v for v in played.logprobs if v] == expected


def script_for(prompt: Prompt, turn: int) -> str:
    """Play another story for each question: from one turn to many, good and bad."""
    stories = {
        "a": (ANSWER,),
        "b": (LOOK, ANSWER),
        "c": (look(0, 0, 1), LOOK, look(500, 500, 900, 900, image=1), ANSWER),
        "d": ("no answer",),
        "e": ("<tool_call>",) * 3,
    }
    return stories[prompt.question.id][turn]


def untimed(played: Rollout) -> Rollout:
    return replace(played, seconds=0.0, latency=0.0)


def test_batched_rollouts_equal_rollouts_run_one_by_one(
    chat: ChatML, sources: SourceCache, make_question: MakeQuestion
) -> None:
    policy = ScriptedPolicy(chat, script_for)
    requests = [(make_question(name), mode) for name in "edcba" for mode in Mode]
    batched = rollout(policy, requests, sources)
    assert [(r.question_id, r.mode) for r in batched] == [(q.id, mode) for q, mode in requests]
    for request, together in zip(requests, batched, strict=True):
        [alone] = rollout(policy, [request], sources)
        assert untimed(together) == untimed(alone)


def test_no_request_gives_no_rollout(chat: ChatML, sources: SourceCache) -> None:
    assert rollout(ScriptedPolicy(chat, script_for), [], sources) == []


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), OSError("connection lost")])
def test_fault_spares_what_is_finished(
    chat: ChatML, sources: SourceCache, make_question: MakeQuestion, error: Exception
) -> None:
    def script(prompt: Prompt, turn: int) -> str:
        if turn == 1:
            raise error
        return script_for(prompt, turn)

    requests = [(make_question(name), Mode.ADAPTIVE) for name in "abd"]
    finished, faulted, other = rollout(ScriptedPolicy(chat, script), requests, sources)
    assert (finished.stop, finished.answer) == (StopReason.ANSWERED, "K7")
    assert other.stop is StopReason.NO_ANSWER
    assert (faulted.stop, faulted.answer) == (StopReason.FAULT, None)
    assert len(faulted.token_ids) == len(faulted.is_sampled) == len(faulted.logprobs)


@dataclass(frozen=True)
class Remote:
    """Plays scripts as a server would: some turns fail, each has its own time and count."""

    scripted: ScriptedPolicy
    failing: str
    seconds: float | None = None
    pause: float = 0.0

    @property
    def chat(self) -> Dialect:
        return self.scripted.chat

    def start(self, prompts: Sequence[Prompt]) -> Session:
        inner, policy = self.scripted.start(prompts), self

        class Failing:
            def step(
                self, appended: Mapping[int, Observation | None], max_tokens: int
            ) -> dict[int, Sampled | Failed]:
                time.sleep(policy.pause)
                told = {
                    row: replace(turn, generated_tokens=7, seconds=policy.seconds)
                    for row, turn in inner.step(appended, max_tokens).items()
                }
                return {
                    row: Failed("HTTP 500: no") if prompts[row].question.id == policy.failing else t
                    for row, t in told.items()
                }

        return Failing()


def test_failed_turn_ends_its_own_rollout_only(
    chat: ChatML, sources: SourceCache, make_question: MakeQuestion
) -> None:
    policy = Remote(ScriptedPolicy(chat, script_for), failing="b")
    requests = [(make_question(name), Mode.ADAPTIVE) for name in "abc"]
    first, failed, other = rollout(policy, requests, sources)
    assert [r.stop for r in (first, failed, other)] == [
        StopReason.ANSWERED,
        StopReason.FAULT,
        StopReason.ANSWERED,
    ]
    assert (failed.answer, failed.generated_tokens) == (None, 0)
    assert failed.turns[1:] == (Turn("fault", "HTTP 500: no"),)
    assert other.executed_looks == 2


def test_tokens_and_seconds_are_those_of_the_server_where_it_counts(
    chat: ChatML, sources: SourceCache, make_question: MakeQuestion
) -> None:
    policy = Remote(ScriptedPolicy(chat, script_for), failing="", seconds=100.0)
    requests = [(make_question(name), Mode.ADAPTIVE) for name in "abc"]
    played = rollout(policy, requests, sources)
    assert [r.latency for r in played] == [100.0, 200.0, 400.0]
    assert [r.generated_tokens for r in played] == [7, 14, 28]
    assert all(r.sampled_tokens != r.generated_tokens for r in played)


def test_latency_grows_with_the_steps_that_a_rollout_takes(
    chat: ChatML, sources: SourceCache, make_question: MakeQuestion
) -> None:
    policy = Remote(ScriptedPolicy(chat, script_for), failing="", pause=0.02)
    requests = [(make_question(name), Mode.ADAPTIVE) for name in "abc"]
    one, two, four = (r.latency for r in rollout(policy, requests, sources))
    assert 0.02 <= one < one + 0.02 <= two < two + 0.04 <= four


def test_prompt_that_does_not_fit_never_reaches_the_policy(
    chat: ChatML, sources: SourceCache, make_question: MakeQuestion
) -> None:
    asked: list[str] = []

    def script(prompt: Prompt, turn: int) -> str:
        asked.append(prompt.question.id)
        return r"\boxed{K7}"

    long = replace(make_question("long"), text="what? " * 2000)
    requests = [(make_question("a"), Mode.ADAPTIVE), (long, Mode.ADAPTIVE)]
    requests += [(make_question("b"), Mode.ADAPTIVE)]
    done = rollout(ScriptedPolicy(chat, script), requests, sources)
    assert [r.stop for r in done] == [
        StopReason.ANSWERED,
        StopReason.CONTEXT_LENGTH,
        StopReason.ANSWERED,
    ]
    assert [r.question_id for r in done] == ["a", "long", "b"]
    assert asked == ["a", "b"]


def test_policy_that_cannot_start_faults_all(
    chat: ChatML, sources: SourceCache, make_question: MakeQuestion
) -> None:
    class Broken:
        chat: ChatML

        def start(self, prompts: Sequence[Prompt]) -> Session:
            raise RuntimeError("no device")

    broken = Broken()
    broken.chat = chat
    policy: Policy = broken
    requests = [(make_question(name), Mode.ADAPTIVE) for name in "ab"]
    assert [r.stop for r in rollout(policy, requests, sources)] == [StopReason.FAULT] * 2


def test_programming_error_is_not_hidden_as_a_fault(
    chat: ChatML, sources: SourceCache, make_question: MakeQuestion
) -> None:
    def script(prompt: Prompt, turn: int) -> str:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        rollout(ScriptedPolicy(chat, script), [(make_question(), Mode.ADAPTIVE)], sources)


def test_missing_image_is_the_users_mistake(chat: ChatML, sources: SourceCache) -> None:
    question = Question("q", Path("missing.png"), "?", "K7")
    with pytest.raises(Exception, match=r"missing\.png"):
        rollout(ScriptedPolicy(chat, script_for), [(question, Mode.ADAPTIVE)], sources)


@pytest.mark.parametrize(
    ("mode", "texts", "is_obedient"),
    [
        (Mode.FORCED, (LOOK, ANSWER), True),
        (Mode.FORCED, (ANSWER,), False),
        (Mode.FORCED, (look(0, 0, 1), ANSWER), False),
        (Mode.PROHIBITED, (ANSWER,), True),
        (Mode.PROHIBITED, (LOOK, ANSWER), False),
        (Mode.ADAPTIVE, (ANSWER,), True),
        (Mode.ADAPTIVE, (LOOK, ANSWER), True),
        (Mode.TOOLFREE, (ANSWER,), True),
        (Mode.TOOLFREE, (LOOK, ANSWER), False),
    ],
)
def test_obedience_is_about_what_was_done(
    play: Play, mode: Mode, texts: tuple[str, ...], is_obedient: bool
) -> None:
    assert play(*texts, mode=mode).is_obedient is is_obedient


@pytest.mark.parametrize("size", [(640, 16), (9, 700), (1500, 20), (8, 8)])
def test_image_of_extreme_shape_can_be_looked_at(
    chat: ChatML, sources: SourceCache, make_question: MakeQuestion, size: tuple[int, int]
) -> None:
    policy = ScriptedPolicy(chat, lambda prompt, turn: (look(0, 0, 1000, 1000), ANSWER)[turn])
    [played] = rollout(policy, [(make_question(size=size), Mode.ADAPTIVE)], sources)
    assert played.stop is StopReason.ANSWERED
    assert played.executed_looks == 1
    assert played.visual_tokens == played.token_ids.count(chat.image_pad_id)


PIECES = st.sampled_from(
    [
        *LOOKS[:3],
        LOOK,
        look(0, 0, 1),
        ANSWER,
        "<tool_call>",
        "</tool_call>",
        "<think>",
        "</think>",
        r"\boxed{",
        "}",
        "red",
        "<|im_end|>",
        "<|image_pad|>",
        "{",
        '"',
        "\n",
        "é",
    ]
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.lists(PIECES, max_size=5).map("".join), min_size=20, max_size=20),
    mode=st.sampled_from(Mode),
)
def test_no_output_of_a_model_raises(play: Play, texts: list[str], mode: Mode) -> None:
    played = play(*texts, mode=mode)
    assert len(played.token_ids) == len(played.is_sampled) == len(played.logprobs)
    assert played.executed_looks == len(played.views) - 1
    assert (played.answer is not None) == (played.stop is StopReason.ANSWERED)
    assert played.stop is not StopReason.FAULT
    assert mode not in (Mode.PROHIBITED, Mode.TOOLFREE) or not played.is_used


def test_a_question_may_begin_with_a_part_of_the_image(
    chat: ChatML, sources: SourceCache, make_question: Callable[..., Question]
) -> None:
    part = Box(160, 160, 320, 320, Frame.SOURCE)
    question = replace(make_question(), region=part)
    texts = (look(0, 0, 500, 500), r"\boxed{K7}")
    policy = ScriptedPolicy(chat, lambda prompt, turn: texts[turn])
    [done] = rollout(policy, [(question, Mode.ADAPTIVE)], sources)
    assert [view.region for view in done.views] == [part, Box(160, 160, 240, 240, Frame.SOURCE)]
