import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookless.lookworld import speech
from lookless.lookworld.dataset import Split, questions
from lookless.lookworld.questions import Box
from lookless.lookworld.scene import VALUES

WORLDS = list(questions(Split.TRAIN, 300))
UNIT = st.floats(0, 1)


def contains(outer: Box, inner: Box, slack: float = 1e-9) -> bool:
    return (
        outer[0] <= inner[0] + slack
        and outer[1] <= inner[1] + slack
        and outer[2] >= inner[2] - slack
        and outer[3] >= inner[3] - slack
    )


@given(st.tuples(UNIT, UNIT, UNIT, UNIT))
def test_spoken_box_is_a_valid_box_in_steps(box: Box) -> None:
    left, top, right, bottom = json.loads(f"[{speech.spoken_box(box)}]")
    assert 0 <= left < right <= 1000
    assert 0 <= top < bottom <= 1000
    assert all(v % speech.STEP == 0 for v in (left, top, right, bottom))
    step = speech.STEP / 1000
    if box[2] - box[0] > step and box[3] - box[1] > step:
        spoken = [v / 1000 for v in (left, top, right, bottom)]
        assert spoken == pytest.approx(box, abs=step / 2 + 1e-9)


@given(st.floats(0, 1000))
def test_spoken_size_is_the_nearest_in_the_logarithm(pixels: float) -> None:
    said = int(speech.spoken_size(pixels))
    assert said in speech.SIZES
    if 1 <= pixels <= 64:
        assert max(said / pixels, pixels / said) <= 1.5


def test_thought_names_each_target_and_its_size() -> None:
    for w in WORLDS:
        said = speech.thought(w.scene, w.question, 160)
        assert all(colour in said for colour in w.question.targets)
        assert said.endswith(f"Detail {speech.spoken_size(w.question.detail * 160)} px.")


def test_thought_does_not_depend_on_what_the_signs_show() -> None:
    for w in WORLDS:
        signs = tuple(
            replace(s, content=replace(s.content, value=VALUES[s.content.kind][0]))
            for s in w.scene.signs
        )
        other = speech.thought(replace(w.scene, signs=signs), replace(w.question, answer="?"), 160)
        assert other == speech.thought(w.scene, w.question, 160)


def test_look_shows_all_of_the_evidence() -> None:
    for w in WORLDS:
        box = speech.look_box(w.question)
        assert contains((0, 0, 1, 1), box)
        assert min(box[2] - box[0], box[3] - box[1]) >= speech.MIN_LOOK - 1e-9
        assert all(contains(speech.rounded(box), evidence) for evidence in w.question.boxes)


def test_look_makes_small_details_legible() -> None:
    for w in WORLDS:
        if w.question.needs_look(160):
            box = speech.rounded(speech.look_box(w.question))
            assert not w.question.needs_look(round(160 / max(box[2] - box[0], box[3] - box[1])))


def test_wrong_look_shows_none_of_the_evidence() -> None:
    rng = np.random.default_rng(0)
    details = [w.question for w in WORLDS if w.question.kind != "overview"]
    for question in details:
        box = speech.rounded(speech.wrong_box(question, rng))
        assert contains((0, 0, 1, 1), box)
        (b,) = question.boxes
        assert box[2] <= b[0] or b[2] <= box[0] or box[3] <= b[1] or b[3] <= box[1]


@given(UNIT, UNIT, st.floats(0.01, 2))
def test_square_stays_inside_the_scene(x: float, y: float, side: float) -> None:
    box = speech.square_around(x, y, side)
    assert contains((0, 0, 1, 1), box)
    assert box[2] - box[0] == pytest.approx(min(side, 1))
    assert contains(box, (x, y, x, y))
