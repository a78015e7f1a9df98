import numpy as np
import pytest

from lookless.lookworld.scene import (
    COLOURS,
    FEATURE,
    GRADED_STYLE,
    INNER,
    SHIFTED_STYLE,
    VALUES,
    Kind,
    Scene,
    SceneStyle,
    sample_scene,
)  # fmt: skip

STYLES = [SceneStyle(), SHIFTED_STYLE, GRADED_STYLE]


def scenes(style: SceneStyle, count: int = 150) -> list[Scene]:
    return [
        sample_scene(np.random.default_rng(k), style, ("clouds", "grain")) for k in range(count)
    ]


@pytest.mark.parametrize("style", STYLES)
def test_same_random_state_gives_the_same_scene(style: SceneStyle) -> None:
    assert scenes(style, 20) == scenes(style, 20)
    assert len(set(scenes(style, 20))) == 20


@pytest.mark.parametrize("style", STYLES)
def test_signs_lie_apart_inside_the_scene_in_colours_of_their_own(style: SceneStyle) -> None:
    for scene in scenes(style):
        assert 1 <= len(scene.signs) <= style.signs[1]
        assert len({sign.colour for sign in scene.signs}) == len(scene.signs)
        for k, a in enumerate(scene.signs):
            assert 0 < a.corners[0] < a.corners[2] < 1
            assert 0 < a.corners[1] < a.corners[3] < 1
            for b in scene.signs[:k]:
                assert max(abs(a.x - b.x), abs(a.y - b.y)) > (a.size + b.size) / 2


@pytest.mark.parametrize("style", STYLES)
def test_content_lies_in_the_inner_square_of_its_plate(style: SceneStyle) -> None:
    for scene in scenes(style):
        for sign in scene.signs:
            left, top, right, bottom = sign.content.corners
            reach = INNER * sign.size / 2 + 1e-9
            assert sign.x - reach <= left < right <= sign.x + reach
            assert sign.y - reach <= top < bottom <= sign.y + reach


@pytest.mark.parametrize("style", STYLES)
def test_values_are_those_of_the_kind(style: SceneStyle) -> None:
    contents = [sign.content for scene in scenes(style) for sign in scene.signs]
    assert {content.kind for content in contents} == set(Kind)
    assert all(content.value in VALUES[content.kind] for content in contents)
    assert all(content.detail == content.size * FEATURE[content.kind] for content in contents)


def test_colour_names_stay_the_nearest_name_of_most_signs() -> None:
    signs = [sign for scene in scenes(SceneStyle(), 300) for sign in scene.signs]

    def nearest(rgb: tuple[int, int, int]) -> str:
        return min(
            COLOURS, key=lambda c: sum((x - y) ** 2 for x, y in zip(COLOURS[c], rgb, strict=True))
        )

    assert np.mean([nearest(sign.rgb) == sign.colour for sign in signs]) > 0.97


def test_about_half_of_the_contents_are_small() -> None:
    contents = [sign.content for scene in scenes(SceneStyle(), 400) for sign in scene.signs]
    assert 0.4 < np.mean([content.detail < 0.03 for content in contents]) < 0.6
