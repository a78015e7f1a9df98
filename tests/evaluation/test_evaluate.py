from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lookless.chat.chatml import ChatML
from lookless.episode import Look, LookOutcome, Mode, Question, Rollout, StopReason
from lookless.errors import PolicyError
from lookless.evaluation.evaluate import Answered, evaluate, protocol_hash, summary
from lookless.images import SourceCache
from lookless.policies.policy import Prompt
from lookless.policies.scripted import ScriptedPolicy
from lookless.rollout import Limits

MakeQuestion = Callable[..., Question]
DIRECT = Rollout(
    "q", Mode.ADAPTIVE, (1, 2), (False, True), (0.0, 0.0), (), (), (), "K7", StopReason.ANSWERED,
    visual_tokens=25, seconds=0.5,
)  # fmt: skip
LOOKED = replace(
    DIRECT, looks=(Look(LookOutcome.EXECUTED),) * 2, is_sampled=(True, True), visual_tokens=75
)
REFUSED = replace(DIRECT, looks=(Look(LookOutcome.REFUSED),))
FAULT = replace(DIRECT, stop=StopReason.FAULT, answer=None)


def answered(needs_look: bool | None, r: Rollout, grade: float | None, kind: str = "") -> Answered:
    question = Question("q", Path("i.png"), "?", "K7", kind=kind, needs_look=needs_look)
    return Answered(question, r, grade)


def test_summary_of_known_answers() -> None:
    row = summary(
        [
            answered(True, LOOKED, 1.0),
            answered(True, DIRECT, 0.0),
            answered(False, LOOKED, 1.0),
            answered(False, REFUSED, 1.0),
        ]
    )
    assert row["accuracy"] == 0.75
    assert row["look_rate"] == 0.5
    assert row["attempted_look_rate"] == 0.75
    assert row["looks_per_sample"] == 1.0
    assert row["visual_tokens_per_sample"] == 50
    assert row["generated_tokens_per_sample"] == 1.5
    assert row["seconds_per_sample"] == 0.5
    assert row["undecided"] == 0
    assert row["necessity"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "mcc": 0.0}


def test_undecided_answers_are_counted_and_left_out_of_the_accuracy() -> None:
    row = summary([answered(True, DIRECT, 1.0), answered(True, DIRECT, None)])
    assert row["accuracy"] == 1.0
    assert row["accuracy_ci"] == [1.0, 1.0]
    assert row["undecided"] == 1


def test_faults_count_for_nothing() -> None:
    with_fault = summary([answered(True, LOOKED, 1.0), answered(True, FAULT, None)])
    assert with_fault["undecided"] == 1
    for name in ("accuracy", "look_rate", "looks_per_sample", "visual_tokens_per_sample"):
        assert with_fault[name] == summary([answered(True, LOOKED, 1.0)])[name]
    assert with_fault["necessity"]["recall"] == 1.0


def test_necessity_is_unknown_without_ground_truth() -> None:
    assert summary([answered(None, DIRECT, 1.0), answered(True, DIRECT, 1.0)])["necessity"] is None


def test_summary_of_nothing_is_empty() -> None:
    row = summary([])
    assert (row["accuracy"], row["undecided"], row["necessity"]) == (0.0, 0, None)


def test_interval_is_by_image() -> None:
    some = [answered(True, DIRECT, float(k % 2)) for k in range(20)]
    assert summary(some)["accuracy_ci"] == [0.5, 0.5]  # one image only


@pytest.mark.parametrize("batch", [1, 2, 96])
def test_every_question_is_answered_in_order_whatever_the_batch(
    chat: ChatML, sources: SourceCache, make_question: MakeQuestion, batch: int
) -> None:
    asked = [make_question(name, answer=f"K{k}") for k, name in enumerate("abcab")]
    policy = ScriptedPolicy(chat, lambda prompt, turn: rf"\boxed{{{prompt.question.answer}}}")
    done: list[int] = []
    found = evaluate(policy, asked, Mode.PROHIBITED, sources, Limits(), batch, done.append)
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
        evaluate(ScriptedPolicy(chat, broken), asked, Mode.FORCED, sources, Limits())


def test_hash_depends_on_questions_images_and_settings_but_not_on_where_images_lie(
    tmp_path: Path,
) -> None:
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(content)
    asked = [Question("q", tmp_path / "a", "?", "K7")]
    settings = {"seed": 0, "mode": Mode.FORCED}
    first = protocol_hash(asked, settings)
    assert len(first) == 12
    elsewhere = [replace(asked[0], image=tmp_path / "b")]
    assert protocol_hash(elsewhere, {"mode": Mode.FORCED, "seed": 0}) == first
    assert protocol_hash(asked, settings | {"seed": 1}) != first
    assert protocol_hash([replace(asked[0], image=tmp_path / "c")], settings) != first
    assert protocol_hash([replace(asked[0], text="!")], settings) != first
    assert protocol_hash([replace(asked[0], answer="K8")], settings) != first
