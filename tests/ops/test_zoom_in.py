import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookless.episode import Look, LookOutcome
from lookless.frames import Box, Frame, View
from lookless.ops.zoom_in import MIN_SIDE_PX, declaration, region_of, validate

OVERVIEW = View(Box(0, 0, 1000, 500, Frame.SOURCE), 160, 96)
CROP = View(Box(200, 100, 600, 300, Frame.SOURCE), 160, 96)
VIEWS = (OVERVIEW, CROP)


def judge(text: str, frame: Frame = Frame.PERMILLE, views: tuple[View, ...] = VIEWS) -> Look:
    return validate(json.loads(text), frame, views)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ('{"bbox_2d": [0, 0, 500, 500]}', LookOutcome.EXECUTED),
        ('{"bbox_2d": [0, 0, 500, 500], "image": 0}', LookOutcome.EXECUTED),
        ('{"bbox_2d": [0.5, 1e1, 500.25, 5E2], "image": 1}', LookOutcome.EXECUTED),
        ('{"bbox_2d": [-500, -500, 100, 100]}', LookOutcome.EXECUTED),
        ('{"bbox_2d": [900, 900, 99999, 1e300]}', LookOutcome.EXECUTED),
        ('{"bbox_2d": [-1e308, -1e308, 1e308, 1e308]}', LookOutcome.EXECUTED),
        ("null", LookOutcome.BAD_ARGUMENTS),
        ("[0, 0, 500, 500]", LookOutcome.BAD_ARGUMENTS),
        ('"bbox_2d"', LookOutcome.BAD_ARGUMENTS),
        ("{}", LookOutcome.BAD_ARGUMENTS),
        ('{"image": 0}', LookOutcome.BAD_ARGUMENTS),
        ('{"bbox": [0, 0, 500, 500]}', LookOutcome.BAD_ARGUMENTS),
        ('{"bbox_2d": [0, 0, 500, 500], "label": "sign"}', LookOutcome.BAD_ARGUMENTS),
        ('{"bbox_2d": null}', LookOutcome.BAD_ARGUMENTS),
        ('{"bbox_2d": "0, 0, 500, 500"}', LookOutcome.BAD_ARGUMENTS),
        ('{"bbox_2d": {"0": 0, "1": 0, "2": 5, "3": 5}}', LookOutcome.BAD_ARGUMENTS),
        ('{"bbox_2d": []}', LookOutcome.BAD_ARGUMENTS),
        ('{"bbox_2d": [0, 0, 500]}', LookOutcome.BAD_ARGUMENTS),
        ('{"bbox_2d": [0, 0, 500, 500, 500]}', LookOutcome.BAD_ARGUMENTS),
        ('{"bbox_2d": [[0, 0, 500, 500]]}', LookOutcome.BAD_ARGUMENTS),
        ('{"bbox_2d": [[0, 0], [500, 500], 1, 1]}', LookOutcome.BAD_ARGUMENTS),
        ('{"bbox_2d": [0, 0, "500", 500]}', LookOutcome.BAD_ARGUMENTS),
        ('{"bbox_2d": [0, 0, true, 500]}', LookOutcome.BAD_ARGUMENTS),
        ('{"bbox_2d": [0, 0, null, 500]}', LookOutcome.BAD_ARGUMENTS),
        ('{"bbox_2d": [0, 0, 500, 500], "image": "0"}', LookOutcome.BAD_ARGUMENTS),
        ('{"bbox_2d": [0, 0, 500, 500], "image": true}', LookOutcome.BAD_ARGUMENTS),
        ('{"bbox_2d": [0, 0, 500, 500], "image": 0.0}', LookOutcome.BAD_ARGUMENTS),
        ('{"bbox_2d": [0, 0, 500, 500], "image": null}', LookOutcome.BAD_ARGUMENTS),
        ('{"bbox_2d": [NaN, 0, 500, 500]}', LookOutcome.NOT_FINITE),
        ('{"bbox_2d": [0, -Infinity, 500, 500]}', LookOutcome.NOT_FINITE),
        ('{"bbox_2d": [0, 0, Infinity, 500]}', LookOutcome.NOT_FINITE),
        ('{"bbox_2d": [0, 0, 1e999, 500]}', LookOutcome.NOT_FINITE),
        (f'{{"bbox_2d": [0, 0, 1{"0" * 400}, 500]}}', LookOutcome.NOT_FINITE),
        ('{"bbox_2d": [0, 0, 500, 500], "image": 2}', LookOutcome.UNKNOWN_IMAGE),
        ('{"bbox_2d": [0, 0, 500, 500], "image": -1}', LookOutcome.UNKNOWN_IMAGE),
        (f'{{"bbox_2d": [0, 0, 9, 9], "image": 1{"0" * 400}}}', LookOutcome.UNKNOWN_IMAGE),
        ('{"bbox_2d": [500, 0, 0, 500]}', LookOutcome.SWAPPED_CORNERS),
        ('{"bbox_2d": [0, 500, 500, 0]}', LookOutcome.SWAPPED_CORNERS),
        ('{"bbox_2d": [1000, 0, 2000, 500]}', LookOutcome.OUTSIDE),
        ('{"bbox_2d": [-20, -20, -10, -10]}', LookOutcome.OUTSIDE),
        ('{"bbox_2d": [300, 300, 300, 300]}', LookOutcome.TOO_SMALL),
        ('{"bbox_2d": [0, 300, 500, 300]}', LookOutcome.TOO_SMALL),
        ('{"bbox_2d": [0, 0, 7.9, 500]}', LookOutcome.TOO_SMALL),
        ('{"bbox_2d": [0, 0, 500, 15]}', LookOutcome.TOO_SMALL),
        ('{"bbox_2d": [-500, 0, 5, 500]}', LookOutcome.TOO_SMALL),
        ('{"bbox_2d": [200, 200, 600, 600]}', LookOutcome.REPEATED),
        ('{"bbox_2d": [201, 200, 600, 599]}', LookOutcome.REPEATED),
        ('{"bbox_2d": [-9, -9, 1009, 1009], "image": 1}', LookOutcome.REPEATED),
    ],
)
def test_call_has_the_right_outcome(text: str, outcome: LookOutcome) -> None:
    assert judge(text).outcome is outcome


@given(
    left=st.integers(0, 980), top=st.integers(0, 980), width=st.integers(9, 400),
    height=st.integers(9, 400),
)  # fmt: skip
def test_the_same_box_again_is_repeated_however_small(
    left: int, top: int, width: int, height: int
) -> None:
    overview = View(Box(0, 0, 1024, 1024, Frame.SOURCE), 160, 160)
    text = json.dumps({"bbox_2d": [left, top, left + width, top + height]})
    look = judge(text, views=(overview,))
    assert look.outcome is LookOutcome.EXECUTED
    seen = View(region_of(look, (overview,)).outward(), 160, 160)
    assert judge(text, views=(overview, seen)).outcome is LookOutcome.REPEATED


def test_whole_overview_may_be_looked_at_once() -> None:
    text = '{"bbox_2d": [0, 0, 1000, 1000]}'
    assert judge(text, views=(OVERVIEW,)).outcome is LookOutcome.EXECUTED
    assert judge(text, views=(OVERVIEW, OVERVIEW)).outcome is LookOutcome.REPEATED


def test_box_beyond_its_image_is_clipped_to_it() -> None:
    look = judge('{"bbox_2d": [-500, 500, 100, 5000]}')
    assert region_of(look, VIEWS).coordinates == (0, 250, 100, 500)


def test_crop_of_a_crop_is_cut_from_the_source() -> None:
    look = judge('{"bbox_2d": [500, 500, 1000, 1000], "image": 1}')
    assert region_of(look, VIEWS).coordinates == (400, 200, 600, 300)
    assert look.image == 1


def test_crop_of_a_crop_cannot_reach_outside_it() -> None:
    look = judge('{"bbox_2d": [-1000, 0, 500, 1000], "image": 1}')
    assert region_of(look, VIEWS).coordinates == (200, 100, 400, 300)


def test_same_numbers_mean_another_region_in_another_frame() -> None:
    text = '{"bbox_2d": [0, 0, 80, 48]}'
    assert region_of(judge(text, Frame.RESIZED), VIEWS).coordinates == (0, 0, 500, 250)
    assert region_of(judge(text, Frame.PERMILLE), VIEWS).coordinates == (0, 0, 80, 24)


def test_look_keeps_the_box_as_the_model_gave_it() -> None:
    look = judge('{"bbox_2d": [-500, 500, 100, 5000]}')
    assert look.box == Box(-500, 500, 100, 5000, Frame.PERMILLE)


@pytest.mark.parametrize("text", ['{"bbox_2d": [500, 0, 0, 500]}', "{}"])
def test_bad_look_has_no_region(text: str) -> None:
    with pytest.raises(ValueError, match="executed"):
        region_of(judge(text), VIEWS)


def test_smallest_allowed_side_is_executed() -> None:
    edge = MIN_SIDE_PX  # the overview is 1000 px wide, so one unit is one pixel
    look = validate({"bbox_2d": [100, 0, 100 + edge, 500]}, Frame.PERMILLE, VIEWS)
    assert look.outcome is LookOutcome.EXECUTED


def test_schema_declares_what_is_accepted() -> None:
    parameters = declaration(Frame.PERMILLE)["function"]["parameters"]
    assert set(parameters["properties"]) == {"bbox_2d", "image"}
    assert parameters["required"] == ["bbox_2d"]
    box = parameters["properties"]["bbox_2d"]
    assert box["minItems"] == box["maxItems"] == 4


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.sampled_from(["bbox_2d", "image", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)
NUMBERS = st.integers(-(10**400), 10**400) | st.integers(-200, 1200) | st.floats()
CALLS = st.fixed_dictionaries(
    {"bbox_2d": st.lists(NUMBERS, min_size=4, max_size=4)},
    optional={"image": st.integers(-1, 3)},
)
SIDES = st.integers(1, 4000)


@given(arguments=JSON | CALLS, frame=st.sampled_from([Frame.UNIT, Frame.PERMILLE, Frame.RESIZED]))
def test_no_json_raises(arguments: Any, frame: Frame) -> None:
    assert isinstance(validate(arguments, frame, VIEWS), Look)


@given(
    numbers=st.lists(st.integers(-200, 1200) | st.floats(-2000, 2000), min_size=4, max_size=4),
    image=st.integers(0, 1),
    left=st.integers(0, 500),
    top=st.integers(0, 500),
    width=SIDES,
    height=SIDES,
    frame=st.sampled_from([Frame.PERMILLE, Frame.RESIZED]),
)
def test_executed_region_lies_in_its_view_and_is_large_enough(
    numbers: list[float], image: int, left: int, top: int, width: int, height: int, frame: Frame
) -> None:
    crop = View(Box(left, top, left + width, top + height, Frame.SOURCE), 160, 160)
    views = (View(Box(0, 0, 5000, 5000, Frame.SOURCE), 160, 160), crop)
    look = validate({"bbox_2d": numbers, "image": image}, frame, views)
    if look.outcome is not LookOutcome.EXECUTED:
        return
    region, outer = region_of(look, views), views[image].region
    assert outer.left <= region.left < region.right <= outer.right
    assert outer.top <= region.top < region.bottom <= outer.bottom
    assert min(region.width, region.height) >= MIN_SIDE_PX


@given(st.lists(st.floats(0, 1000), min_size=4, max_size=4))
def test_ordered_large_box_is_always_executed(numbers: list[float]) -> None:
    x, y = sorted(numbers[:2]), sorted(numbers[2:])
    if x[1] - x[0] < 10 or y[1] - y[0] < 20:
        return
    look = validate({"bbox_2d": [x[0], y[0], x[1], y[1]]}, Frame.PERMILLE, (OVERVIEW,))
    assert look.outcome is LookOutcome.EXECUTED
    assert all(map(math.isfinite, region_of(look, (OVERVIEW,)).coordinates))
