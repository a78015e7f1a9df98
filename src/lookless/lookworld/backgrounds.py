"""What lies behind the signs: generated textures and real photographs, at any scale."""

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image

from lookless.images import open_image

TEXTURES = ("clouds", "stripes", "checks", "grain", "gradient")
SHIFTED_TEXTURES = ("rings", "bricks")
PHOTOS = ("coffee.png", "chelsea.png", "astronaut.png", "grass.png", "rocket.jpg", "retina.jpg")
SHIFTED_PHOTOS = ("motorcycle_left.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png")
TRAIN_BACKGROUNDS = TEXTURES + tuple(f"photo:{name}" for name in PHOTOS)
SHIFTED_BACKGROUNDS = SHIFTED_TEXTURES + tuple(f"photo:{name}" for name in SHIFTED_PHOTOS)
PHOTO_SIDE = 512


@dataclass(frozen=True, slots=True)
class Background:
    """A square picture that stands for the whole scene; any part of it can be had at any size."""

    image: Image.Image

    def resize_region(
        self, region: tuple[float, float, float, float], size_px: tuple[int, int]
    ) -> Image.Image:
        """Return the part `region` (units) resized to `size_px` (width, height)."""
        left, top, right, bottom = region
        w, h = self.image.size
        box = (max(left * w, 0), max(top * h, 0), min(right * w, w), min(bottom * h, h))
        return self.image.resize(size_px, Image.Resampling.BILINEAR, box=box)


def background_image(name: str, seed: int, photos: Path | None = None) -> Background:
    """Return the background `name` (a texture, or `photo:FILE`) as varied by `seed`.

    Photographs are a random square of the file; files come from `photos` or from scikit-image.
    """
    rng = np.random.default_rng(seed)
    if name.startswith("photo:"):
        photo = _load_photo(name.removeprefix("photo:"), photos)
        side = int(min(photo.size) * rng.uniform(0.5, 1.0))
        left = int(rng.integers(photo.width - side + 1))
        top = int(rng.integers(photo.height - side + 1))
        return Background(photo.crop((left, top, left + side, top + side)))
    return Background(Image.fromarray(_texture(name, rng)))


@lru_cache(maxsize=64)
def _load_photo(file: str, folder: Path | None) -> Image.Image:
    if folder is None:
        folder = Path(str(resources.files("skimage"))) / "data"
    photo = open_image(folder / file)
    photo.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
    return photo


def _texture(name: str, rng: np.random.Generator) -> np.ndarray:
    """Return an array of uint8, 128 x 128 x 3."""
    side = 128
    yy, xx = np.mgrid[0:side, 0:side] / side
    low, high = np.sort(rng.uniform(40, 215, (2, 3)), axis=0)
    angle = rng.uniform(0, np.pi)
    along = xx * np.cos(angle) + yy * np.sin(angle)
    if name == "clouds":
        mix = sum(_noise(rng, cells, side) / 2**k for k, cells in enumerate((4, 8, 16))) / 1.75
    elif name == "stripes":
        mix = 0.5 + 0.5 * np.sin(along * rng.uniform(20, 70))
    elif name == "checks":
        n = rng.integers(5, 14)
        mix = ((xx * n).astype(int) + (yy * n).astype(int)) % 2 * 0.6 + 0.2
    elif name == "grain":
        mix = _noise(rng, 128, side)
    elif name == "gradient":
        mix = (along - along.min()) / np.ptp(along)
    elif name == "rings":
        cx, cy = rng.uniform(0, 1, 2)
        mix = 0.5 + 0.5 * np.sin(np.hypot(xx - cx, yy - cy) * rng.uniform(30, 80))
    elif name == "bricks":
        rows = (yy * 12).astype(int)
        cols = (xx * 6 + 0.5 * (rows % 2)).astype(int)
        mix = rng.uniform(0.2, 0.9, (12, 8))[rows, cols]
    else:
        raise ValueError(f"background must be a texture or photo:FILE, got {name!r}")
    array = low + np.asarray(mix)[..., None] * (high - low) + rng.normal(0, 4, (side, side, 1))
    pixels: np.ndarray = np.clip(array, 0, 255).astype(np.uint8)
    return pixels


def _noise(rng: np.random.Generator, cells: int, side: int) -> np.ndarray:
    """Return smooth noise in 0..1 of `cells` x `cells` bumps, `side` x `side`."""
    grid = Image.fromarray(rng.random((cells, cells)).astype(np.float32))
    return np.asarray(grid.resize((side, side), Image.Resampling.BICUBIC)).clip(0, 1)
