import re
from dataclasses import replace

import numpy as np
import pytest

from lookless.lookworld.questions import (
    DETAIL_PHRASES,
    FAMILY_OF,
    LEGIBLE_PX,
    OVERVIEW_PHRASES,
    SHIFTED_DETAIL_PHRASES,
    SHIFTED_OVERVIEW_PHRASES,
    Family,
    detail_question,
    overview_question,
)  # fmt: skip
from lookless.lookworld.scene import FEATURE, Content, Kind, Scene, Sign

TRAIN = [p for d in (DETAIL_PHRASES, OVERVIEW_PHRASES) for phrases in d.values() for p in phrases]
SHIFTED = [
    p
    for d in (SHIFTED_DETAIL_PHRASES, SHIFTED_OVERVIEW_PHRASES)
    for phrases in d.values()
    for p in phrases
]


def sign_at(colour: str, x: float, y: float, size: float = 0.15) -> Sign:
    content = Content(Kind.CODE, "K7", x, y, 0.05, 0)
    return Sign(colour, (200, 30, 30), "square", x, y, size, content)


def ask(scene: Scene, family: Family) -> tuple[str, str]:
    """Return text and answer of the first question of a family."""
    for seed in range(200):
        question = overview_question(scene, np.random.default_rng(seed))
        if question.family is family:
            return question.text, question.answer
    raise AssertionError(f"no {family} question in 200")


def test_every_kind_and_family_has_phrases_in_both_sets() -> None:
    assert set(DETAIL_PHRASES) == set(SHIFTED_DETAIL_PHRASES) == set(Kind) == set(FAMILY_OF)
    assert set(OVERVIEW_PHRASES) == set(SHIFTED_OVERVIEW_PHRASES)


def test_no_shifted_phrase_is_a_training_phrase() -> None:
    assert not set(SHIFTED) & set(TRAIN)
    assert len(set(SHIFTED)) == len(SHIFTED)


def test_shifted_phrases_use_words_of_training_only() -> None:
    def words(phrases: list[str]) -> set[str]:
        return {word for phrase in phrases for word in re.findall(r"\w+", phrase.lower())}

    assert words(SHIFTED) <= words(TRAIN)


def test_detail_question_is_about_the_content_of_its_sign() -> None:
    sign = sign_at("red", 0.3, 0.3)
    question = detail_question(sign, np.random.default_rng(0))
    assert "red sign" in question.text
    assert "{" not in question.text
    assert question.answer == "K7"
    assert question.boxes == (sign.content.corners,)
    assert question.detail == pytest.approx(0.05 * FEATURE[Kind.CODE])
    assert question.choices == 48


def test_overview_is_too_coarse_below_the_legibility_rule() -> None:
    question = detail_question(sign_at("red", 0.3, 0.3), np.random.default_rng(0))
    just = LEGIBLE_PX / 160
    assert replace(question, detail=just * 0.99).needs_look(160)
    assert not replace(question, detail=just).needs_look(160)
    assert not replace(question, detail=just * 0.99).needs_look(320)


@pytest.mark.parametrize(
    ("x", "y", "side"),
    [(0.1, 0.5, "left"), (0.9, 0.5, "right"), (0.5, 0.1, "above"), (0.5, 0.9, "below")],
)
def test_relation_says_where_the_first_sign_lies(x: float, y: float, side: str) -> None:
    opposite = {"left": "right", "right": "left", "above": "below", "below": "above"}[side]
    scene = Scene((sign_at("red", x, y), sign_at("blue", 0.5, 0.5)), "clouds", 0)
    for seed in range(50):
        question = overview_question(scene, np.random.default_rng(seed))
        if question.family is Family.RELATION:
            assert question.answer == (side if question.targets[0] == "red" else opposite)
            assert question.boxes[0] == scene.signs[question.targets[0] != "red"].corners


def test_comparison_names_the_larger_sign() -> None:
    scene = Scene((sign_at("red", 0.2, 0.2, 0.3), sign_at("blue", 0.7, 0.7, 0.15)), "clouds", 0)
    text, answer = ask(scene, Family.COMPARISON)
    assert answer == "red"
    assert "red" in text
    assert "blue" in text


def test_unclear_pairs_are_not_asked_about() -> None:
    scene = Scene((sign_at("red", 0.3, 0.3), sign_at("blue", 0.7, 0.7)), "clouds", 0)
    for seed in range(50):
        question = overview_question(scene, np.random.default_rng(seed))
        assert (question.family, question.answer) == (Family.COUNTING, "2")


def test_single_sign_can_only_be_counted() -> None:
    scene = Scene((sign_at("red", 0.3, 0.3),), "clouds", 0)
    for seed in range(20):
        assert overview_question(scene, np.random.default_rng(seed)).answer == "1"
