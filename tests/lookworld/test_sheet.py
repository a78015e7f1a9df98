from pathlib import Path

import pytest
from PIL import Image, ImageColor

from lookless.episode import Question
from lookless.frames import Box, Frame
from lookless.lookworld.sheet import SIDE_PX, draw_sheet


def ask(folder: Path, name: str, needs_look: bool | None, text: str = "What is it?") -> Question:
    image = Image.new("RGB", (640, 640), (90, 90, 90))
    image.paste((200, 10, 10), (320, 320, 480, 480))
    image.save(folder / f"{name}.png")
    box = Box(320, 320, 480, 480, Frame.SOURCE)
    return Question(
        name, folder / f"{name}.png", text, "red",
        family="attribute", needs_look=needs_look, detail_px=3.0, boxes=(box,),
    )  # fmt: skip


def colours(image: Image.Image) -> set[tuple[int, ...]]:
    found = image.getcolors(image.width * image.height) or []
    return {colour for _, colour in found if isinstance(colour, tuple)}


@pytest.mark.parametrize(
    ("needs_look", "present", "absent"),
    [(False, "#35d07f", "#ff8c1a"), (True, "#ff8c1a", "#35d07f")],
)
def test_the_evidence_is_green_where_it_is_legible_and_orange_where_not(
    tmp_path: Path, needs_look: bool, present: str, absent: str
) -> None:
    drawn = colours(draw_sheet([ask(tmp_path, "q", needs_look)]))
    assert ImageColor.getrgb(present) in drawn
    assert ImageColor.getrgb(absent) not in drawn


def test_the_box_runs_around_its_place_on_the_left_picture(tmp_path: Path) -> None:
    sheet = draw_sheet([ask(tmp_path, "q", False)])
    left, top = 24 + SIDE_PX // 2, 24 + SIDE_PX // 2  # margin, and 320 of 640 source pixels
    green = ImageColor.getrgb("#35d07f")
    assert sheet.getpixel((left - 3, top + 20)) == green
    assert sheet.getpixel((left + 20, top - 3)) == green
    assert sheet.getpixel((left + 10, top + 10)) != green


def test_the_overview_is_enlarged_pixel_by_pixel(tmp_path: Path) -> None:
    sheet = draw_sheet([ask(tmp_path, "q", False)])
    corner = 24 + SIDE_PX + 8
    overview = sheet.crop((corner, 24, corner + SIDE_PX, 24 + SIDE_PX))
    halved = overview.resize((SIDE_PX // 2, SIDE_PX // 2), Image.Resampling.NEAREST)
    again = halved.resize(overview.size, Image.Resampling.NEAREST)
    assert again.tobytes() == overview.tobytes()
    assert len(colours(overview)) > 1


def test_questions_stand_three_in_a_row(tmp_path: Path) -> None:
    asked = [ask(tmp_path, f"q{k}", None) for k in range(4)]
    one, three, four = (draw_sheet(asked[:n]).size for n in (1, 3, 4))
    assert one[1] == three[1] < four[1]
    assert one[0] < three[0] == four[0]


def test_a_long_question_changes_no_size(tmp_path: Path) -> None:
    long = ask(tmp_path, "q", True, "word " * 500)
    assert draw_sheet([long]).size == draw_sheet([ask(tmp_path, "q", True)]).size


def test_no_question_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one, got none"):
        draw_sheet([])
