"""A contact sheet of LookWorld: what is in each image, and what the VLM sees of it at first."""

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from lookless.episode import Question
from lookless.frames import Box, Frame, View
from lookless.images import Source
from lookless.lookworld.tiny import VIEW_PX

SIDE_PX = 2 * VIEW_PX
"""Side of both pictures of a question; the overview is enlarged by a whole number."""
COLUMNS = 3
_GAP_PX = 8
_MARGIN_PX = 24
_FONT_PX = 15
_TEXT_LINES = 4
_LETTERS = 78
_SEEN_LINE, _UNSEEN_LINE = "#35d07f", "#ff8c1a"
_SEEN_INK, _UNSEEN_INK, _INK, _PAPER = "#14703c", "#a85200", "#1b1b1b", "#ffffff"


def draw_sheet(questions: Sequence[Question]) -> Image.Image:
    """Return a sheet with two pictures and the facts of each question, three in a row.

    On the left the image, with the evidence in green where no look is needed and in orange where
    one is; on the right the overview of 160 px that the VLM sees, its pixels enlarged; below,
    question, answer, size of the needed detail in overview pixels, and whether it needs a look.

    Raises:
        ValueError: If there is no question.
        ImageError: If an image cannot be opened.
    """
    if not questions:
        raise ValueError("questions must be at least one, got none")
    columns = min(COLUMNS, len(questions))
    rows = -(-len(questions) // columns)
    width = 2 * SIDE_PX + _GAP_PX + _MARGIN_PX
    height = SIDE_PX + _GAP_PX + _TEXT_LINES * (_FONT_PX + 4) + _MARGIN_PX
    sheet = Image.new("RGB", (columns * width + _MARGIN_PX, rows * height + _MARGIN_PX), _PAPER)
    for place, question in enumerate(questions):
        row, column = divmod(place, columns)
        corner = (_MARGIN_PX + column * width, _MARGIN_PX + row * height)
        _draw_question(sheet, question, corner)
    return sheet


def _draw_question(sheet: Image.Image, question: Question, corner: tuple[int, int]) -> None:
    x, y = corner
    line, ink = (_UNSEEN_LINE, _UNSEEN_INK) if question.needs_look else (_SEEN_LINE, _SEEN_INK)
    source = Source(question.image)
    image = _at(source, SIDE_PX)
    draw = ImageDraw.Draw(image)
    scale_x, scale_y = SIDE_PX / source.size[0], SIDE_PX / source.size[1]
    for box in question.boxes:
        left, right = box.left * scale_x, box.right * scale_x
        top, bottom = box.top * scale_y, box.bottom * scale_y
        draw.rectangle((left - 4, top - 4, right + 3, bottom + 3), outline=_INK, width=4)
        draw.rectangle((left - 3, top - 3, right + 2, bottom + 2), outline=line, width=2)
    sheet.paste(image, (x, y))
    overview = _at(source, VIEW_PX).resize((SIDE_PX, SIDE_PX), Image.Resampling.NEAREST)
    sheet.paste(overview, (x + SIDE_PX + _GAP_PX, y))
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=_FONT_PX)
    for place, text in enumerate(facts := _facts(question)):
        top = y + SIDE_PX + _GAP_PX + place * (_FONT_PX + 4)
        pen.text((x, top), text, font=font, fill=ink if place == len(facts) - 1 else _INK)


def _at(source: Source, side_px: int) -> Image.Image:
    """Return the whole image as a square of `side_px`."""
    whole = Box(0, 0, *source.size, Frame.SOURCE)
    return source.pixels(View(whole, side_px, side_px))


def _facts(question: Question) -> list[str]:
    """Return the lines under a question's pictures, at most _TEXT_LINES."""
    need = {True: "needs a look", False: "no look needed", None: "need unknown"}
    size = "size unknown" if question.detail_px is None else f"detail {question.detail_px:.1f} px"
    return [
        *textwrap.wrap(question.text, _LETTERS, max_lines=2, placeholder=" ..."),
        textwrap.shorten(f"answer: {question.answer}", _LETTERS, placeholder=" ..."),
        f"{question.family}, {size}, {need[question.needs_look]}",
    ]
