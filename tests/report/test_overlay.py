from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageColor

from lookless.episode import Look, LookOutcome, Mode, Rollout, StopReason
from lookless.frames import Box, Frame, View
from lookless.images import Source
from lookless.report.overlay import (
    EVIDENCE_COLOUR,
    FAILED_COLOUR,
    LOOK_COLOUR,
    Mark,
    draw_looks,
    draw_marks,
    evidence_marks,
    fitted,
    look_marks,
)

GREY = (128, 128, 128)
OVERVIEW = View(Box(0, 0, 400, 200, Frame.SOURCE), 160, 80)


def rollout(looks: tuple[Look, ...], views: tuple[View, ...]) -> Rollout:
    return Rollout(
        "q", Mode.ADAPTIVE, (), (), (), views, looks, (), None, StopReason.NO_ANSWER, 0
    )  # fmt: skip


def grey_source(folder: Path, size: tuple[int, int]) -> Source:
    Image.new("RGB", size, GREY).save(folder / "grey.png")
    return Source(folder / "grey.png")


def pixels_of(image: Image.Image, colour: str) -> set[tuple[int, int]]:
    wanted = ImageColor.getrgb(colour)
    return {
        (x, y)
        for x in range(image.width)
        for y in range(image.height)
        if image.getpixel((x, y)) == wanted
    }


def test_the_line_runs_right_around_the_box_and_not_over_it() -> None:
    marks = [Mark(Box(100, 40, 200, 120, Frame.SOURCE), "", EVIDENCE_COLOUR)]
    drawn = draw_marks(Image.new("RGB", (400, 200), GREY), marks, (400, 200))
    line = pixels_of(drawn, EVIDENCE_COLOUR)
    assert (min(x for x, _ in line), min(y for _, y in line)) == (96, 36)
    assert (max(x for x, _ in line), max(y for _, y in line)) == (203, 123)
    assert drawn.crop((100, 40, 200, 120)).getcolors() == [(8000, GREY)]


def test_boxes_are_scaled_from_the_source_to_the_drawn_image() -> None:
    marks = [Mark(Box(1000, 400, 2000, 1200, Frame.SOURCE), "", EVIDENCE_COLOUR)]
    drawn = draw_marks(Image.new("RGB", (400, 200), GREY), marks, (4000, 2000))
    line = pixels_of(drawn, EVIDENCE_COLOUR)
    assert (min(x for x, _ in line), max(y for _, y in line)) == (96, 123)


def test_the_given_image_is_left_alone() -> None:
    image = Image.new("RGB", (50, 50), GREY)
    draw_marks(image, [Mark(Box(9, 9, 30, 30, Frame.SOURCE), "1", LOOK_COLOUR)], (50, 50))
    assert image.getcolors() == [(2500, GREY)]


def test_an_executed_look_is_drawn_where_its_view_was_cut(tmp_path: Path) -> None:
    seen = View(Box(100, 50, 200, 150, Frame.SOURCE), 80, 80)
    look = Look(LookOutcome.EXECUTED, 0, Box(250, 250, 500, 750, Frame.PERMILLE), 1)
    drawn = draw_looks(grey_source(tmp_path, (400, 200)), rollout((look,), (OVERVIEW, seen)))
    line = pixels_of(drawn, LOOK_COLOUR)
    assert drawn.size == (400, 200)
    assert {(97, 100), (202, 100), (150, 47), (150, 152)} <= line
    assert not pixels_of(drawn, FAILED_COLOUR)


def test_a_large_image_is_drawn_at_1600_pixels(tmp_path: Path) -> None:
    drawn = draw_looks(grey_source(tmp_path, (3200, 800)), rollout((), (OVERVIEW,)))
    assert drawn.size == (1600, 400)


def test_a_look_that_was_not_executed_is_dashed_in_another_colour(tmp_path: Path) -> None:
    look = Look(LookOutcome.TOO_MANY, 0, Box(250, 250, 750, 750, Frame.PERMILLE))
    drawn = draw_looks(grey_source(tmp_path, (400, 200)), rollout((look,), (OVERVIEW,)))
    line = pixels_of(drawn, FAILED_COLOUR)
    assert {(x, 48) in line for x in range(130, 300)} == {True, False}
    assert not pixels_of(drawn, LOOK_COLOUR)


@pytest.mark.parametrize(
    "look",
    [
        Look(LookOutcome.MALFORMED),
        Look(LookOutcome.UNKNOWN_IMAGE, 7, Box(0, 0, 9, 9, Frame.PERMILLE)),
        Look(LookOutcome.UNKNOWN_IMAGE, -1, Box(0, 0, 9, 9, Frame.PERMILLE)),
    ],
)
def test_a_look_without_a_place_is_not_marked_but_counted(look: Look) -> None:
    placed = Look(LookOutcome.OUTSIDE, 0, Box(0, 0, 9, 9, Frame.PERMILLE))
    (mark,) = look_marks([look, placed], [OVERVIEW])
    assert mark.label == "2"


def test_a_look_into_a_crop_is_placed_in_the_source() -> None:
    crop = View(Box(100, 0, 200, 100, Frame.SOURCE), 160, 160)
    look = Look(LookOutcome.REPEATED, 1, Box(0, 500, 500, 1000, Frame.PERMILLE))
    (mark,) = look_marks([look], [OVERVIEW, crop])
    assert mark.box.coordinates == (100, 50, 150, 100)
    assert mark.is_dashed


def test_evidence_has_its_own_colour_and_no_number() -> None:
    (mark,) = evidence_marks([Box(1, 2, 3, 4, Frame.SOURCE)])
    assert (mark.colour, mark.label) == (EVIDENCE_COLOUR, "")


@given(st.lists(st.floats(-1e300, 1e300), min_size=4, max_size=4), st.booleans())
def test_any_box_can_be_drawn(numbers: list[float], is_dashed: bool) -> None:
    left, top, right, bottom = numbers
    mark = Mark(Box(left, top, right, bottom, Frame.SOURCE), "1", FAILED_COLOUR, is_dashed)
    drawn = draw_marks(Image.new("RGB", (40, 30), GREY), [mark], (400, 300))
    assert drawn.size == (40, 30)
    assert pixels_of(drawn, FAILED_COLOUR)


def test_swapped_corners_are_drawn_as_the_same_box() -> None:
    mark = Mark(Box(10, 12, 30, 28, Frame.SOURCE), "1", LOOK_COLOUR)
    swapped = replace(mark, box=Box(30, 28, 10, 12, Frame.SOURCE))
    image = Image.new("RGB", (60, 60), GREY)
    one, other = (draw_marks(image, [m], (60, 60)) for m in (mark, swapped))
    assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize(
    ("size", "expected"),
    [((100, 50), (100, 50)), ((3200, 1600), (1600, 800)), ((100_000, 10), (1600, 1))],
)
def test_images_are_made_smaller_only(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert fitted(size, 1600) == expected
