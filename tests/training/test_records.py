import json
from collections.abc import Callable

from lookless.chat.chatml import ChatML
from lookless.episode import TRAINED_MODES, Group, Question
from lookless.grading import grade
from lookless.images import SourceCache
from lookless.necessity import NecessityPool, necessity_grades
from lookless.policies.scripted import ScriptedPolicy
from lookless.rollout import rollout
from lookless.runs import plain
from lookless.training.records import group_record
from lookless.training.rl_config import RlConfig
from lookless.training.scoring import score


def test_group_record_has_a_row_for_each_rollout(
    chat: ChatML, sources: SourceCache, make_question: Callable[..., Question]
) -> None:
    question = make_question()
    policy = ScriptedPolicy(chat, lambda prompt, turn: r"\boxed{K7}")
    rollouts = rollout(policy, [(question, mode) for mode in TRAINED_MODES], sources)
    group = Group(question, tuple(rollouts), tuple(grade(question, r) for r in rollouts))
    config = RlConfig(forced=1, prohibited=1, adaptive=1)
    pool = NecessityPool()
    pool.add(question.id, *necessity_grades(group))
    scored = score(group, pool, config)
    record = json.loads(json.dumps(group_record(scored), default=plain))
    assert [r["mode"] for r in record["rollouts"]] == list(TRAINED_MODES)
    assert [r["grade"] for r in record["rollouts"]] == [1.0] * 3
    assert record["rollouts"][0]["parts"]["instruction"] == 0
    assert (record["p_look"], record["p_no_look"]) == (1.0, 1.0)
