import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookless.frames import Box, Frame, View
from lookless.images import PixelBudget

RELATIVE = (Frame.UNIT, Frame.PERMILLE, Frame.RESIZED)
QWEN2_5_VL = PixelBudget(56 * 56, 1280 * 28 * 28, 28)
QWEN3_VL = PixelBudget(64 * 64, 1280 * 32 * 32, 32)


def whole(width: int, height: int, budget: PixelBudget = QWEN2_5_VL) -> View:
    return View(Box(0, 0, width, height, Frame.SOURCE), *budget.resized(width, height))


@st.composite
def views(draw: st.DrawFn) -> View:
    left, top = draw(st.integers(0, 8000)), draw(st.integers(0, 8000))
    width, height = draw(st.integers(1, 8000)), draw(st.integers(1, 8000))
    region = Box(left, top, left + width, top + height, Frame.SOURCE)
    return View(region, draw(st.integers(1, 4000)), draw(st.integers(1, 4000)))


@st.composite
def source_boxes(draw: st.DrawFn) -> Box:
    left, top, right, bottom = (draw(st.floats(-1e4, 2e4)) for _ in range(4))
    return Box(left, top, right, bottom, Frame.SOURCE)


def fractions() -> st.SearchStrategy[tuple[float, float, float, float]]:
    return st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))


@given(views(), source_boxes(), st.sampled_from(list(Frame)))
def test_a_box_survives_the_way_into_any_frame_and_back(view: View, box: Box, frame: Frame) -> None:
    there = view.from_source(box, frame)
    assert there.frame is frame
    back = view.to_source(there)
    assert back.frame is Frame.SOURCE
    assert back.coordinates == pytest.approx(box.coordinates, rel=1e-9, abs=1e-6)


@given(views(), source_boxes(), st.sampled_from(RELATIVE), st.sampled_from(RELATIVE))
def test_two_relative_frames_differ_by_their_extents_only(
    view: View, box: Box, one: Frame, other: Frame
) -> None:
    extents = {
        Frame.UNIT: (1, 1),
        Frame.PERMILLE: (1000, 1000),
        Frame.RESIZED: (view.width_px, view.height_px),
    }
    scales = [there / here for here, there in zip(extents[one], extents[other], strict=True)] * 2
    scaled = [v * s for v, s in zip(view.from_source(box, one).coordinates, scales, strict=True)]
    assert view.from_source(box, other).coordinates == pytest.approx(scaled, rel=1e-9, abs=1e-6)


@given(views(), st.sampled_from(RELATIVE))
def test_a_view_spans_the_extent_of_each_of_its_frames(view: View, frame: Frame) -> None:
    extent = {
        Frame.UNIT: (1.0, 1.0),
        Frame.PERMILLE: (1000.0, 1000.0),
        Frame.RESIZED: (view.width_px, view.height_px),
    }[frame]
    box = view.from_source(view.region, frame)
    assert box.coordinates == pytest.approx((0, 0, *extent))


@given(views(), fractions(), fractions())
def test_a_crop_of_a_crop_is_a_part_of_the_source_as_their_composition_says(
    outer: View,
    one: tuple[float, float, float, float],
    two: tuple[float, float, float, float],
) -> None:
    left, right = sorted((one[0], one[1]))
    top, bottom = sorted((one[2], one[3]))
    region = outer.to_source(Box(left, top, right, bottom, Frame.UNIT))
    inner = View(region, 100, 100)
    nested = inner.to_source(Box(*two, Frame.UNIT))
    composed = Box(
        left + two[0] * (right - left),
        top + two[1] * (bottom - top),
        left + two[2] * (right - left),
        top + two[3] * (bottom - top),
        Frame.UNIT,
    )
    assert nested.coordinates == pytest.approx(outer.to_source(composed).coordinates, abs=1e-6)


def test_a_crop_of_a_crop_in_numbers() -> None:
    first = whole(4000, 3000).to_source(Box(500, 500, 1000, 1000, Frame.PERMILLE))
    assert first.coordinates == (2000, 1500, 4000, 3000)
    crop = View(first, *QWEN3_VL.resized(2000, 1500))
    second = crop.to_source(Box(0, 0, 500, 500, Frame.PERMILLE))
    assert second.coordinates == (2000, 1500, 3000, 2250)
    innermost = View(second, *QWEN3_VL.resized(1000, 750))
    assert innermost.to_source(Box(0.5, 0.5, 1, 1, Frame.UNIT)).coordinates == (
        2500,
        1875,
        3000,
        2250,
    )


# The resized sizes are those of transformers' smart_resize with each family's patches.
@pytest.mark.parametrize(
    ("size", "resized", "box", "source"),
    [
        ((4000, 3000), (1148, 840), (287, 210, 574, 420), (1000, 750, 2000, 1500)),
        ((7680, 4320), (1316, 728), (329, 182, 658, 364), (1920, 1080, 3840, 2160)),
        ((7680, 4320), (1316, 728), (987, 546, 1316, 728), (5760, 3240, 7680, 4320)),
    ],
)
def test_qwen2_5_vl_names_pixels_of_the_resized_image(
    size: tuple[int, int],
    resized: tuple[int, int],
    box: tuple[float, float, float, float],
    source: tuple[float, float, float, float],
) -> None:
    view = whole(*size, QWEN2_5_VL)
    assert (view.width_px, view.height_px) == resized
    assert view.to_source(Box(*box, Frame.RESIZED)).coordinates == pytest.approx(source)
    assert view.from_source(Box(*source, Frame.SOURCE), Frame.RESIZED).coordinates == pytest.approx(
        box
    )


@pytest.mark.parametrize(
    ("size", "box", "source"),
    [
        ((4000, 3000), (250, 250, 500, 500), (1000, 750, 2000, 1500)),
        ((4000, 3000), (0, 0, 1000, 1000), (0, 0, 4000, 3000)),
        ((7680, 4320), (250, 250, 500, 500), (1920, 1080, 3840, 2160)),
        ((7680, 4320), (999, 999, 1000, 1000), (7672.32, 4315.68, 7680, 4320)),
    ],
)
def test_qwen3_vl_names_thousandths_whatever_the_resized_size(
    size: tuple[int, int],
    box: tuple[float, float, float, float],
    source: tuple[float, float, float, float],
) -> None:
    for view in (whole(*size, QWEN3_VL), View(whole(*size).region, 32, 32)):
        assert view.to_source(Box(*box, Frame.PERMILLE)).coordinates == pytest.approx(source)


@pytest.mark.parametrize(
    ("frame", "source"),
    [
        (Frame.UNIT, (3000, 2250, 4000, 3000)),
        (Frame.PERMILLE, (3, 2.25, 4, 3)),
        (Frame.RESIZED, (3000 / 1148, 2250 / 840, 4000 / 1148, 3000 / 840)),
        (Frame.SOURCE, (0.75, 0.75, 1.0, 1.0)),
    ],
)
def test_small_numbers_mean_what_their_frame_says(
    frame: Frame, source: tuple[float, float, float, float]
) -> None:
    """[0.75, 0.75, 1.0, 1.0] is where guessing the frame by magnitude goes wrong."""
    box = whole(4000, 3000).to_source(Box(0.75, 0.75, 1.0, 1.0, frame))
    assert box.coordinates == pytest.approx(source)


def test_source_pixels_of_any_view_are_the_same() -> None:
    box = Box(-5, 10, 20, 9999, Frame.SOURCE)
    assert whole(4000, 3000).to_source(box) == box
    assert whole(4000, 3000).from_source(box, Frame.SOURCE) == box


@pytest.mark.parametrize("frame", RELATIVE)
def test_from_source_refuses_a_box_that_is_not_in_source_pixels(frame: Frame) -> None:
    with pytest.raises(ValueError, match="source pixels"):
        whole(4000, 3000).from_source(Box(0, 0, 1, 1, frame), Frame.UNIT)


@given(source_boxes(), source_boxes())
def test_an_intersection_is_mutual_and_lies_in_both(one: Box, other: Box) -> None:
    common = one.intersection(other)
    assert common == other.intersection(one)
    assert common.area <= min(one.area, other.area)
    if common.area:
        assert one.left <= common.left < common.right <= one.right
        assert other.top <= common.top < common.bottom <= other.bottom


def test_an_intersection_in_numbers() -> None:
    one, other = Box(0, 0, 10, 10, Frame.SOURCE), Box(4, -3, 20, 6, Frame.SOURCE)
    assert one.intersection(other) == Box(4, 0, 10, 6, Frame.SOURCE)
    assert one.intersection(Box(10, 0, 20, 10, Frame.SOURCE)).area == 0
    assert one.intersection(Box(30, 30, 40, 40, Frame.SOURCE)).area == 0


def test_boxes_of_two_frames_have_no_intersection() -> None:
    with pytest.raises(ValueError, match="share a frame"):
        Box(0, 0, 1, 1, Frame.UNIT).intersection(Box(0, 0, 1, 1, Frame.PERMILLE))


@pytest.mark.parametrize("corners", [(10, 0, 0, 10), (0, 10, 10, 0), (10, 10, 0, 0), (5, 0, 5, 10)])
def test_swapped_or_coinciding_corners_have_no_area(
    corners: tuple[float, float, float, float],
) -> None:
    assert Box(*corners, Frame.SOURCE).area == 0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("position", range(4))
def test_a_box_with_one_wild_number_is_not_finite(value: float, position: int) -> None:
    left, top, right, bottom = (value if k == position else float(k > 1) for k in range(4))
    box = Box(left, top, right, bottom, Frame.UNIT)
    assert not box.is_finite
    assert not whole(4000, 3000).to_source(box).is_finite


def test_a_box_beyond_its_image_is_finite() -> None:
    assert Box(-1e300, 0, 1e300, 1, Frame.UNIT).is_finite
