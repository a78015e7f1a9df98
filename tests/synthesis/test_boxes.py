from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.layouts import HEIGHT, WIDTH, picture
from lookless.chat.tiny import WORDING
from lookless.demonstrations import Played
from lookless.episode import Mode, Question
from lookless.errors import ConfigError
from lookless.frames import Box, Frame
from lookless.images import SourceCache
from lookless.lookworld.base import base_folder
from lookless.mixture import Mixture
from lookless.synthesis.boxes import BoxesConfig, Made, from_boxes, holds_answer
from lookless.synthesis.phrases import FIELDS, Phrases, filled, read_phrases
from lookless.vlm.families import load_parts

SOURCES = SourceCache()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return picture(tmp_path_factory.mktemp("boxes") / "a.jpg")


def question(image: Path, name: str, box: tuple[float, float, float, float], answer: str = "7",
             options: tuple[str, ...] = ()) -> Question:  # fmt: skip
    return Question(
        name, image, "Which digit?", answer, boxes=(Box(*box, Frame.SOURCE),), options=options
    )


sides = st.tuples(st.floats(0, 0.97), st.floats(0, 0.97), st.floats(0.01, 1), st.floats(0.01, 1))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    place=sides,
    name=st.text(min_size=1, max_size=8),
    seed=st.integers(0, 99),
    grid=st.sampled_from([1, 5, 25]),
    answer=st.sampled_from(["7", "left", "upper left", "500", "What", "%"]),
    mixture=st.sampled_from(
        [Mixture(0, 0, 1, 1, 0), Mixture(0, 0, 1, 0, 1), Mixture(0, 0, 1, 0, 0), Mixture()]
    ),
)
def test_demonstrations_look_at_the_evidence_and_give_nothing_away(
    image: Path,
    place: tuple[float, float, float, float],
    name: str,
    seed: int,
    grid: int,
    answer: str,
    mixture: Mixture,
) -> None:
    left, top, width, height = place
    box = (
        left * WIDTH,
        top * HEIGHT,
        min(left + width, 1) * WIDTH,
        min(top + height, 1) * HEIGHT,
    )
    asked = question(image, name, box, answer)
    config = BoxesConfig(seed=seed, grid=grid, mixture=mixture)
    [shown] = from_boxes([asked], config, Phrases(), SOURCES, Made())
    assert list(from_boxes([asked], config, Phrases(), SOURCES, Made())) == [shown]
    region = Box(0, 0, 1, 1, Frame.UNIT)
    evidence = Box(box[0] / WIDTH, box[1] / HEIGHT, box[2] / WIDTH, box[3] / HEIGHT, Frame.UNIT)
    regions = [region]
    for turn in shown.turns[:-1]:
        assert not holds_answer(turn.say, asked)
        assert turn.look is not None
        inner = Box(*turn.look.box, Frame.UNIT)
        assert 0 <= inner.left < inner.right <= 1 + 1e-9
        assert 0 <= inner.top < inner.bottom <= 1 + 1e-9
        seen = regions[turn.look.image]
        regions.append(
            Box(
                seen.left + inner.left * seen.width,
                seen.top + inner.top * seen.height,
                seen.left + inner.right * seen.width,
                seen.top + inner.bottom * seen.height,
                Frame.UNIT,
            )
        )
        if turn.look.is_mistake:
            assert regions[-1].intersection(evidence).area == 0
    if len(regions) > 1:
        last, slack = regions[-1], 1e-6
        assert last.left <= evidence.left + slack
        assert last.top <= evidence.top + slack
        assert last.right >= evidence.right - slack
        assert last.bottom >= evidence.bottom - slack
    thought = shown.turns[0].say.partition("</think>")[0]
    assert not holds_answer(thought, asked)
    assert shown.turns[-1].say.endswith(f"\\boxed{{{answer}}}")


def test_ways_and_modes_follow_the_mixture_and_nothing_else(image: Path) -> None:
    small, large = (10.0, 10.0, 20.0, 20.0), (10.0, 10.0, 350.0, 180.0)
    looked = []
    for box in (small, large):
        asked = [question(image, str(k), box) for k in range(1500)]
        made = Made()
        shown = list(from_boxes(asked, BoxesConfig(), Phrases(), SOURCES, made))
        modes = [one.mode for one in shown]
        assert modes.count(Mode.FORCED) / 1500 == pytest.approx(0.2, abs=0.04)
        assert modes.count(Mode.PROHIBITED) / 1500 == pytest.approx(0.2, abs=0.04)
        adaptive = [len(one.turns) > 1 for one in shown if one.mode is Mode.ADAPTIVE]
        assert sum(adaptive) / len(adaptive) == pytest.approx(0.75, abs=0.05)
        assert made.looks.total() == made.demonstrations == 1500
        looked.append([len(one.turns) > 1 for one in shown])
    # Whether one looks says nothing of how small the evidence is.
    assert looked[0] == looked[1]


def test_the_wording_is_varied_and_the_way_does_not_show_in_the_first_thought(image: Path) -> None:
    asked = [question(image, str(k), (10, 10, 20, 20)) for k in range(400)]
    shown = list(from_boxes(asked, BoxesConfig(), Phrases(), SOURCES, Made()))
    thoughts = {True: set(), False: set()}  # type: dict[bool, set[str]]
    for one in shown:
        thoughts[len(one.turns) > 1].add(one.turns[0].say.partition("</think>")[0])
    assert thoughts[True] == thoughts[False]
    assert len(thoughts[True]) == len(Phrases().thought)


def test_demonstrations_can_be_played_by_the_tiny_model(image: Path) -> None:
    parts = load_parts(base_folder())
    assert parts.chat.wording == WORDING
    asked = [question(image, str(k), (10.0 + k, 10, 20.0 + k, 20)) for k in range(60)]
    mixture = Mixture(0.2, 0.2, 0.75, 0.4, 0.3)
    config = BoxesConfig(mixture=mixture, grid=25)
    shown = list(from_boxes(asked, config, Phrases(), SOURCES, Made()))
    assert len(list(Played(parts.chat, shown, SOURCES))) == 60


def test_with_options_the_letter_is_said_and_the_text_is_not_given_away(image: Path) -> None:
    asked = question(image, "1", (10, 10, 20, 20), "B", options=("right", "upper left"))
    config = BoxesConfig(mixture=Mixture(0, 0, 1))
    shown = [
        one
        for k in range(40)
        for one in from_boxes(
            [Question(str(k), image, asked.text, "B", boxes=asked.boxes, options=asked.options)],
            config, Phrases(), SOURCES, Made(),
        )
    ]  # fmt: skip
    assert all("upper left" not in one.turns[0].say for one in shown)
    assert all(one.turns[-1].say.endswith("\\boxed{B}") for one in shown)


def test_questions_without_boxes_or_image_are_counted(image: Path, tmp_path: Path) -> None:
    made = Made()
    asked = [
        Question("1", image, "?", "1"),
        question(tmp_path / "gone.jpg", "2", (1, 1, 2, 2)),
    ]
    assert not list(from_boxes(asked, BoxesConfig(), Phrases(), SOURCES, made))
    assert made.left_out.total() == 2
    assert made.left_out["no boxes"] == 1


def test_phrases_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "phrases.toml"
    file.write_text('thought = ["See {each}."]\neach = "{left}, {top}"\n')
    phrases = read_phrases(file)
    boxes = [Box(0.1, 0.2, 0.3, 0.4, Frame.UNIT), Box(0.52, 0, 1, 1, Frame.UNIT)]
    assert filled(phrases.thought[0], boxes, phrases.each, 25) == "See 100, 200 525, 0."
    for wrong in (
        'thought = ["See {where}."]',
        'thought = ["{"]',
        "thought = []",
        'each = "{each}"',
        'thought = ["{left.__class__}"]',
        'say = ["x"]',
    ):
        file.write_text(wrong)
        with pytest.raises(ConfigError):
            read_phrases(file)


def test_every_field_has_a_value() -> None:
    template = " ".join(f"{{{name}}}" for name in sorted(FIELDS))
    assert "{" not in filled(template, [Box(0, 0, 1, 1, Frame.UNIT)], "{x}", 1)
