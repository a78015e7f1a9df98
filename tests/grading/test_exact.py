from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookless.chat.chatml import ChatML
from lookless.episode import Mode, Question, StopReason
from lookless.grading import exact_match, grade
from lookless.grading.exact import boxed_exact
from lookless.grading.verdict import UNPARSED, Verdict
from lookless.images import SourceCache
from lookless.policies.scripted import ScriptedPolicy
from lookless.rollout import rollout


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("left", "left", 1.0),
        ("Left", "left", 1.0),
        ("  left \n", "left", 1.0),
        ("left.", "left", 1.0),
        (r"\text{Left}", "left", 1.0),
        (r"\text {Left}.", "left", 1.0),
        ("two  words", "two words", 1.0),
        ("K7", "k7", 1.0),
        ("K7", "K8", 0.0),
        ("K 7", "K7", 0.0),
        ("left or right", "left", 0.0),
        ("", "left", 0.0),
        ("12", "1", 0.0),
        ("-1", "1", 0.0),
        ("STRASSE", "straße", 1.0),
    ],
)
def test_answer_is_compared_after_normalising(answer: str, reference: str, expected: float) -> None:
    assert exact_match(answer, reference) == expected


@given(st.text())
def test_every_answer_matches_itself(text: str) -> None:
    assert exact_match(text, text) == 1.0


@pytest.mark.parametrize(
    ("said", "expected"),
    [(r"\boxed{k7}", 1.0), (r"\boxed{K8}", 0.0), ("K7", 0.0), (r"\boxed{}", 0.0)],
)
def test_only_the_boxed_answer_is_graded(
    chat: ChatML,
    sources: SourceCache,
    make_question: Callable[..., Question],
    said: str,
    expected: float,
) -> None:
    question = make_question(answer="K7")
    [played] = rollout(
        ScriptedPolicy(chat, lambda prompt, turn: said), [(question, Mode.ADAPTIVE)], sources
    )
    assert grade(question, played) == expected
    assert grade(question, replace(played, stop=StopReason.FAULT)) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"So it is \boxed{K7}.", Verdict("K7", 1.0)),
        (r"\boxed{K8} or rather \boxed{\text{k7}}", Verdict(r"\text{k7}", 1.0)),
        (r"\boxed{K8}", Verdict("K8", 0.0)),
        ("K7", UNPARSED),
        (r"<think>\boxed{K7}</think> K7", UNPARSED),
        (r"\boxed{}", UNPARSED),
        (r"\boxed{K7", UNPARSED),
        ("", UNPARSED),
    ],
)
def test_only_what_is_in_a_box_is_an_answer(text: str, expected: Verdict) -> None:
    assert boxed_exact(Question("q", Path(), "?", "K7"), text) == expected
