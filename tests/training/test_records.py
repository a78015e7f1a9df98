import json
from collections.abc import Callable

from lookless.chat.chatml import ChatML
from lookless.episode import Mode, Question
from lookless.evaluation.evaluate import Answered
from lookless.images import SourceCache
from lookless.necessity import NecessityPool
from lookless.policies.scripted import ScriptedPolicy
from lookless.rollout import rollout
from lookless.runs import plain
from lookless.training.records import answered_record, group_record
from lookless.training.rl import RlConfig, grouped, reward_alone, score

LOOK = '<tool_call>{"name": "zoom_in", "arguments": {"bbox_2d": [250, 250, 500, 500]}}</tool_call>'
TEXTS = (LOOK, "<tool_call>", r"\boxed{K7}")


def test_records_hold_all_that_a_report_draws(
    chat: ChatML, sources: SourceCache, make_question: Callable[..., Question]
) -> None:
    question = make_question(needs_look=True)
    policy = ScriptedPolicy(chat, lambda prompt, turn: TEXTS[turn])
    [played] = rollout(policy, [(question, Mode.ADAPTIVE)], sources)
    parts = reward_alone(question, played, 1.0, RlConfig())
    text = json.dumps(answered_record(Answered(question, played, 1.0), parts), default=plain)
    record = json.loads(text)
    assert record["grade"] == 1.0
    assert record["parts"] == {"accuracy": 1.0, "align": 0.5, "agree": 0.1, "price": 0.0}
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


def test_group_record_has_a_row_for_each_rollout(
    chat: ChatML, sources: SourceCache, make_question: Callable[..., Question]
) -> None:
    question = make_question()
    policy = ScriptedPolicy(chat, lambda prompt, turn: r"\boxed{K7}")
    rollouts = rollout(policy, [(question, mode) for mode in Mode], sources)
    [group] = grouped([question], rollouts, 3)
    config = RlConfig(forced=1, prohibited=1, adaptive=1)
    scored = score(group, NecessityPool(), config)
    record = json.loads(json.dumps(group_record(scored), default=plain))
    assert [r["mode"] for r in record["rollouts"]] == list(Mode)
    assert [r["grade"] for r in record["rollouts"]] == [1.0] * 3
    assert record["rollouts"][0]["parts"]["instruction"] == 0
    assert (record["p_look"], record["p_no_look"]) == (1.0, 1.0)
