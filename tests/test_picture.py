from collections.abc import Callable

from lookless.episode import Question
from lookless.frames import Box, Frame, View
from lookless.images import SourceCache
from lookless.picture import Picture


def test_pixels_have_the_size_of_the_view_and_come_from_its_region(
    sources: SourceCache, make_question: Callable[..., Question]
) -> None:
    source = sources.get(make_question().image)
    inside = View(Box(170, 170, 310, 310, Frame.SOURCE), 96, 64)
    pixels = Picture(source, inside).pixels
    assert pixels.size == (96, 64)
    assert set(pixels.get_flattened_data()) == {(255, 0, 0)}


def test_pictures_are_told_apart_by_source_and_view(
    sources: SourceCache, make_question: Callable[..., Question]
) -> None:
    views = [View(Box(0, 0, side, side, Frame.SOURCE), 160, 160) for side in (100, 200)]
    keys = {
        Picture(sources.get(make_question(name).image), view).key
        for name in ("a", "b", "a")
        for view in views
    }
    assert len(keys) == 4
