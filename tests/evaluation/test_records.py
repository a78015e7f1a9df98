import json
from collections.abc import Callable
from dataclasses import replace

from lookless.chat.chatml import ChatML
from lookless.episode import Mode, Question
from lookless.evaluation.answered import Answered
from lookless.evaluation.records import answered_of, answered_record, question_of, question_record
from lookless.frames import Box, Frame
from lookless.grading.verdict import UNPARSED, Verdict
from lookless.images import SourceCache
from lookless.policies.scripted import ScriptedPolicy
from lookless.rollout import rollout
from lookless.runs import plain

LOOK = '<tool_call>{"name": "zoom_in", "arguments": {"bbox_2d": [250, 250, 500, 500]}}</tool_call>'
TEXTS = (LOOK, "<tool_call>", r"\boxed{K7}")


def test_records_hold_all_that_a_report_draws(
    chat: ChatML, sources: SourceCache, make_question: Callable[..., Question]
) -> None:
    question = make_question(needs_look=True)
    policy = ScriptedPolicy(chat, lambda prompt, turn: TEXTS[turn])
    [played] = rollout(policy, [(question, Mode.ADAPTIVE)], sources)
    one = Answered(question, played, Verdict("K7", 1.0))
    text = json.dumps(answered_record(one), default=plain)
    record = json.loads(text)
    assert record["grade"] == 1.0
    assert record["prediction"] == r"\boxed{K7}"
    assert record["question"]["image"] == str(question.image)
    assert record["question"]["needs_look"] is True
    kept = record["rollout"]
    assert (kept["mode"], kept["stop"], kept["answer"]) == ("adaptive", "answered", "K7")
    assert [turn["role"] for turn in kept["turns"]] == [turn.role for turn in played.turns]
    assert kept["looks"][0] == {
        "outcome": "executed", "image": 0, "box": [250, 250, 500, 500], "frame": "permille", "view":
        1,
    }  # fmt: skip
    assert kept["looks"][1]["outcome"] == "malformed"
    assert kept["looks"][1]["box"] is None
    assert [view["region"] for view in kept["views"]] == [[0, 0, 640, 640], [160, 160, 320, 320]]
    assert kept["visual_tokens"] == played.visual_tokens
    assert kept["generated_tokens"] == played.sampled_tokens
    assert "token_ids" not in text


def test_what_is_read_back_is_what_was_written_but_for_tokens(
    chat: ChatML, sources: SourceCache, make_question: Callable[..., Question]
) -> None:
    question = replace(
        make_question(needs_look=False),
        boxes=(Box(1, 2, 3.5, 4, Frame.SOURCE),),
        options=("a", "b"),
        references=("K7", "k7"),
        cluster="scene",
    )
    policy = ScriptedPolicy(chat, lambda prompt, turn: TEXTS[turn])
    [played] = rollout(policy, [(question, Mode.FORCED)], sources)
    kept = replace(played, token_ids=(), is_sampled=(), logprobs=())
    for verdict in (Verdict("K7", 0.5), UNPARSED, None):
        one = Answered(question, played, verdict, sample=2)
        record = json.loads(json.dumps(answered_record(one), default=plain))
        assert answered_of(record) == replace(one, rollout=kept)
    assert question_of(json.loads(json.dumps(question_record(question)))) == question
