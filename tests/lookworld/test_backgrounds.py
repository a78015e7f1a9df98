import numpy as np
import pytest

from lookless.lookworld.backgrounds import (
    SHIFTED_BACKGROUNDS,
    TRAIN_BACKGROUNDS,
    background_image,
)  # fmt: skip

WHOLE = (0.0, 0.0, 1.0, 1.0)


@pytest.mark.parametrize("name", TRAIN_BACKGROUNDS + SHIFTED_BACKGROUNDS)
def test_background_is_a_square_that_its_seed_decides(name: str) -> None:
    def draw(seed: int) -> np.ndarray:
        return np.asarray(background_image(name, seed).resize_region(WHOLE, (64, 64)))

    assert background_image(name, 0).image.width == background_image(name, 0).image.height
    assert draw(0).shape == (64, 64, 3)
    assert (draw(0) == draw(0)).all()
    assert (draw(0) != draw(1)).any()


def test_training_and_shifted_backgrounds_are_disjoint() -> None:
    assert not set(TRAIN_BACKGROUNDS) & set(SHIFTED_BACKGROUNDS)


def test_unknown_background_is_named() -> None:
    with pytest.raises(ValueError, match="'marble'"):
        background_image("marble", 0)
