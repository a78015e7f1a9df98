from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from lookless.lookworld.render import BAR_RGB, chart_bars, plate_polygon, render
from lookless.lookworld.scene import COLOURS, PLATES, VALUES, Content, Kind, Scene, Sign


def scene_with(content: Content, plate: str = "square", background: str = "gradient") -> Scene:
    sign = Sign("orange", COLOURS["orange"], plate, 0.45, 0.55, 0.4, content)
    return Scene((sign,), background, 7)


def content_of(kind: Kind, value: str, variant: int = 3) -> Content:
    return Content(kind, value, 0.42, 0.58, 0.2, variant)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


KINDS = [(kind, value) for kind in Kind for value in VALUES[kind][:6]]


@pytest.mark.parametrize(("kind", "value"), KINDS)
def test_content_changes_its_box_and_nothing_outside(kind: Kind, value: str) -> None:
    content = content_of(kind, value)
    blank = scene_with(replace(content, size=0.001, x=0.6, y=0.4, kind=Kind.MARK, value="disc"))
    changed = (
        np.abs(pixels(render(scene_with(content), 400)) - pixels(render(blank, 400))).max(-1) > 8
    )
    changed[155:165, 235:245] = False  # where the other picture has its speck
    rows, columns = np.nonzero(changed)
    left, top, right, bottom = (v * 400 for v in content.corners)
    assert len(rows) > 0.05 * 80 * 80
    slack = 0.12 * 80  # a bold code is somewhat wider than its square
    assert left - slack <= columns.min() < columns.max() <= right + slack
    assert top - slack <= rows.min() < rows.max() <= bottom + slack


@pytest.mark.parametrize("kind", list(Kind))
def test_every_value_looks_different(kind: Kind) -> None:
    values = VALUES[kind][:8]
    drawn = [pixels(render(scene_with(content_of(kind, value)), 200)) for value in values]
    for k, a in enumerate(drawn):
        for b in drawn[:k]:
            assert (np.abs(a - b).max(-1) > 60).sum() > 20


@pytest.mark.parametrize("kind", [Kind.MARK, Kind.ARROW, Kind.DOTS, Kind.PAIR])
def test_every_value_has_the_same_ink(kind: Kind) -> None:
    inks = []
    for value in VALUES[kind]:
        drawn = pixels(render(scene_with(content_of(kind, value)), 800, (0.32, 0.48, 0.52, 0.68)))
        inks.append((drawn.max(-1) < 120).sum())
    assert 0 < max(inks) < 1.06 * min(inks)


@pytest.mark.parametrize("value", VALUES[Kind.CHART])
def test_every_bar_has_the_same_ink(value: str) -> None:
    region = (0.32, 0.48, 0.52, 0.68)
    drawn = pixels(render(scene_with(content_of(Kind.CHART, value)), 1600, region))
    inks = [(np.abs(drawn - rgb).max(-1) < 30).sum() for rgb in BAR_RGB.values()]
    assert 0 < max(inks) < 1.08 * min(inks)


@pytest.mark.parametrize("background", ["clouds", "stripes", "photo:coffee.png", "photo:grass.png"])
@pytest.mark.parametrize("plate", PLATES)
def test_region_is_the_same_as_cut_from_the_whole(background: str, plate: str) -> None:
    scene = scene_with(content_of(Kind.CODE, "K7"), plate, background)
    whole = pixels(render(scene, 1024))
    # The region cuts through the sign.
    part = pixels(render(scene, 1024, (0.25, 0.5, 0.5, 0.875)))
    cut = whole[512:896, 256:512]
    if background.startswith("photo:"):
        assert np.abs(part - cut).max() <= 1  # the photograph's resampling may round differently
    else:
        assert (part == cut).all()


def test_detail_is_sharper_in_a_larger_render_than_in_an_enlarged_small_one() -> None:
    content = replace(content_of(Kind.CODE, "K7"), size=0.03)
    scene = scene_with(content)
    box = (0.4, 0.56, 0.44, 0.6)
    near = render(scene, 4000, box).resize((160, 160))
    far = render(scene, 160).resize((160, 160), box=(64, 89.6, 70.4, 96))
    steepest = [np.abs(np.diff(pixels(image), axis=1)).max() for image in (near, far)]
    assert steepest[0] > 3 * steepest[1]


def test_same_scene_is_drawn_the_same() -> None:
    scene = scene_with(content_of(Kind.CHART, "red"), background="photo:coffee.png")
    assert (pixels(render(scene, 300)) == pixels(render(scene, 300))).all()


def test_sign_outside_the_region_leaves_no_trace() -> None:
    scene = scene_with(content_of(Kind.MARK, "star"))
    region = (0.75, 0.0, 1.0, 0.25)
    without = Scene((), scene.background, scene.seed)
    assert (pixels(render(scene, 400, region)) == pixels(render(without, 400, region))).all()


@pytest.mark.parametrize("variant", range(40))
def test_tallest_bar_is_the_answer_by_a_clear_margin(variant: int) -> None:
    for value in VALUES[Kind.CHART]:
        bars = chart_bars(content_of(Kind.CHART, value, variant))
        heights = dict(bars)
        assert len(bars) == len(heights) == 3
        assert heights.pop(value) > 1.3 * max(heights.values())


@pytest.mark.parametrize("colour", list(COLOURS))
def test_contents_are_black_on_white_whatever_the_plate(colour: str) -> None:
    scene = scene_with(content_of(Kind.MARK, "square"))
    sign = replace(scene.signs[0], colour=colour, rgb=COLOURS[colour])
    panel = pixels(
        render(Scene((sign,), scene.background, scene.seed), 400, (0.34, 0.5, 0.5, 0.66))
    )
    assert (panel[:3] > 240).all()
    assert (panel[28:36, 28:36] < 25).all()


@pytest.mark.parametrize("plate", PLATES)
def test_plate_fits_its_circle(plate: str) -> None:
    points = np.array(plate_polygon(plate, 50, 60, 40))
    assert np.abs(points - [50, 60]).max() <= 40 + 1e-9
