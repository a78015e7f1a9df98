"""Opening images safely, once each, and cutting views out of them at full resolution.

Nothing is decoded before its size is known from the header and found acceptable. Sources are kept by
reference; their decoded pixels are bounded by the cache that holds them.
"""

import io
import math
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from PIL import Image, ImageOps, UnidentifiedImageError

from lookless.errors import ImageError
from lookless.frames import Box, Frame, View

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
"""What is opened; of animations and stacks the first frame."""
MAX_ASPECT = 200
"""Longest side over shortest that a view may have, as in Qwen's `smart_resize`."""
_ORIENTATION = 0x0112
_BYTES_PER_PIXEL = 3

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What an image file may be at most, checked before decoding."""

    max_bytes: int = 256 * 2**20
    max_pixels: int = 200_000_000
    max_side: int = 65_535


DEFAULT_LIMITS = ImageLimits()


def open_image(source: Path | bytes, limits: ImageLimits = DEFAULT_LIMITS) -> Image.Image:
    """Return an image as RGB, upright after its EXIF orientation, transparency on white.

    Args:
        source: A file, or the bytes of one.
        limits: Checked on the file's size and on the header's dimensions before decoding.

    Raises:
        ImageError: If it cannot be read, is too large, is of no known format, or is broken.
    """

    def decode(image: Image.Image) -> Image.Image:
        image.load()
        return _as_rgb(ImageOps.exif_transpose(image))

    return _with_header(source, limits, decode)


def image_size(source: Path | bytes, limits: ImageLimits = DEFAULT_LIMITS) -> tuple[int, int]:
    """Return (width, height) after EXIF orientation, from the header alone.

    Raises:
        ImageError: As `open_image`, as far as the header shows it.
    """

    def measure(image: Image.Image) -> tuple[int, int]:
        width, height = image.size
        is_turned = image.getexif().get(_ORIENTATION) in (5, 6, 7, 8)
        return (height, width) if is_turned else (width, height)

    return _with_header(source, limits, measure)


def _with_header(
    source: Path | bytes, limits: ImageLimits, use: Callable[[Image.Image], T]
) -> T:
    """Return what `use` makes of an opened, checked, not yet decoded image."""
    name = repr(str(source)) if isinstance(source, Path) else f"{len(source)} bytes"
    data = _read(source, name, limits)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(data, formats=FORMATS) as image:
                _check(image, name, limits)
                return use(image)
    except ImageError:
        raise
    except UnidentifiedImageError:
        known = "PNG, JPEG, WEBP, BMP, GIF or TIFF"
        raise ImageError(f"image must be {known}, got {name} which is none of them") from None
    except Image.DecompressionBombError:
        raise ImageError(_too_many_pixels(name, limits)) from None
    except MemoryError:
        raise ImageError(f"image must fit into memory, got {name}; use a smaller one") from None
    except Exception as error:  # Pillow's decoders raise anything on broken files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(
            f"image must be whole and well-formed, got {name}: {reason}; save or download it again"
        ) from None


def _read(source: Path | bytes, name: str, limits: ImageLimits) -> io.BytesIO:
    """Return the file's bytes, if there are not too many."""
    too_large = f"image file must have at most {limits.max_bytes} bytes, got {name}; use a smaller one"
    if isinstance(source, bytes):
        if len(source) > limits.max_bytes:
            raise ImageError(too_large)
        return io.BytesIO(source)
    try:
        if not source.is_file():
            raise ImageError(f"image must be a file, got {name}; check the path")
        with source.open("rb") as stream:
            data = stream.read(limits.max_bytes + 1)
    except (OSError, ValueError) as error:
        raise ImageError(f"image must be readable, got {name}: {error}; check the path") from None
    if len(data) > limits.max_bytes:
        raise ImageError(too_large)
    return io.BytesIO(data)


def _check(image: Image.Image, name: str, limits: ImageLimits) -> None:
    """Raise unless the header's dimensions are within the limits."""
    width, height = image.size
    if width < 1 or height < 1 or max(width, height) > limits.max_side:
        raise ImageError(
            f"image sides must be 1 to {limits.max_side} pixels, got {width}x{height} in {name}; "
            "use a smaller one"
        )
    if width * height > limits.max_pixels:
        raise ImageError(_too_many_pixels(name, limits))


def _too_many_pixels(name: str, limits: ImageLimits) -> str:
    return f"image must have at most {limits.max_pixels} pixels, got {name} with more; use a smaller one"


def _as_rgb(image: Image.Image) -> Image.Image:
    """Return an image of any mode as RGB."""
    if image.mode.startswith("I;16"):
        image = image.point(lambda value: value / 256).convert("L")
    elif image.mode in ("I", "F"):
        low, high = image.getextrema()
        is_wide = isinstance(high, int | float) and high > 255
        image = image.point(lambda value: value / 256 if is_wide else value).convert("L")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


@dataclass(frozen=True, slots=True)
class PixelBudget:
    """How many pixels a view may have, and what its sides must be multiples of."""

    min_pixels: int
    max_pixels: int
    factor: int
    """Side in pixels of one visual token: patch size times merge size."""

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Return the (width, height) that a view of this size is resized to.

        Both are multiples of `factor`, their product is within the budget as far as that allows, and
        the aspect ratio is kept as closely as possible.

        Raises:
            ImageError: If one side is more than 200 times the other.

        Example:
            >>> PixelBudget(56 * 56, 1280 * 28 * 28, 28).resized(7680, 4320)
            (1316, 728)

        Source: `smart_resize` of Qwen2-VL's image processor in transformers; equal to it.
        """
        if max(width, height) > MAX_ASPECT * min(width, height):
            raise ImageError(
                f"image sides must differ by at most a factor of {MAX_ASPECT}, got {width}x{height}; "
                "cut or pad the image"
            )
        factor = self.factor
        new_width, new_height = (round(v / factor) * factor for v in (width, height))
        if new_width * new_height > self.max_pixels:
            shrink = math.sqrt(width * height / self.max_pixels)
            new_width, new_height = (
                max(factor, math.floor(v / shrink / factor) * factor) for v in (width, height)
            )
        elif new_width * new_height < self.min_pixels:
            grow = math.sqrt(self.min_pixels / (width * height))
            new_width, new_height = (math.ceil(v * grow / factor) * factor for v in (width, height))
        return new_width, new_height


class Source:
    """An image kept by reference: its size is read from the header, its pixels when first needed."""

    def __init__(
        self,
        path: Path,
        limits: ImageLimits = DEFAULT_LIMITS,
        on_decode: Callable[["Source"], None] = lambda source: None,
    ) -> None:
        self.path = path
        self.limits = limits
        self._on_decode = on_decode
        self._decoded: Image.Image | None = None

    @cached_property
    def size(self) -> tuple[int, int]:
        """Return (width, height) in pixels after EXIF orientation.

        Raises:
            ImageError: If the file cannot be opened safely.
        """
        return image_size(self.path, self.limits)

    @cached_property
    def key(self) -> str:
        """Return what identifies the file as it is now: path, time of change, and bytes.

        Raises:
            ImageError: If there is no such file.
        """
        try:
            status = self.path.stat()
        except OSError:
            raise ImageError(f"image must be a file, got {str(self.path)!r}; check the path") from None
        return f"{self.path.resolve()}:{status.st_mtime_ns}:{status.st_size}"

    @property
    def decoded_bytes(self) -> int:
        """Return the memory that the decoded pixels take now."""
        image = self._decoded
        return 0 if image is None else image.width * image.height * _BYTES_PER_PIXEL

    def full_view(self, budget: PixelBudget) -> View:
        """Return the view of the whole image: the overview."""
        width, height = self.size
        return View(Box(0, 0, width, height, Frame.SOURCE), *budget.resized(width, height))

    def view(self, region: Box, budget: PixelBudget) -> View:
        """Return the view of a region, rounded outward to whole pixels and clipped to the image.

        Raises:
            ValueError: If `region` is not in source pixels, or nothing of it lies in the image.
            ImageError: If it is more than 200 times as long as wide.
        """
        if region.frame is not Frame.SOURCE:
            raise ValueError(f"region must be in source pixels, got {region.frame}")
        width, height = self.size
        left, top = max(math.floor(region.left), 0), max(math.floor(region.top), 0)
        right, bottom = min(math.ceil(region.right), width), min(math.ceil(region.bottom), height)
        if left >= right or top >= bottom:
            raise ValueError(f"region must overlap the image of {width}x{height}, got {region}")
        return View(
            Box(left, top, right, bottom, Frame.SOURCE), *budget.resized(right - left, bottom - top)
        )

    def pixels(self, view: View) -> Image.Image:
        """Return a view's pixels, cut from the full-resolution image and resized (bicubic).

        Raises:
            ImageError: If the file cannot be opened safely.
        """
        image = self._decode()
        return image.resize(
            (view.width_px, view.height_px), Image.Resampling.BICUBIC, box=view.region.coordinates
        )

    def _decode(self) -> Image.Image:
        image = self._decoded
        if image is None:
            image = self._decoded = open_image(self.path, self.limits)
        self._on_decode(self)
        return image

    def release(self) -> None:
        """Drop the decoded pixels; they are decoded again when needed."""
        self._decoded = None


class SourceCache:
    """One `Source` per file, with a bound on all decoded pixels: the least recently used go first."""

    def __init__(self, max_bytes: int = 2**30, limits: ImageLimits = DEFAULT_LIMITS) -> None:
        self.max_bytes = max_bytes
        self.limits = limits
        self._sources: dict[Path, Source] = {}
        self._decoded: OrderedDict[Source, int] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path) -> Source:
        """Return the source of a file; always the same one for the same path."""
        with self._lock:
            if path not in self._sources:
                self._sources[path] = Source(path, self.limits, self._used)
            return self._sources[path]

    @property
    def decoded_bytes(self) -> int:
        """Return the memory that all decoded pixels take; at most `max_bytes`, or one image."""
        with self._lock:
            return sum(self._decoded.values())

    def _used(self, source: Source) -> None:
        """Note that a source's pixels were just used; make room."""
        with self._lock:
            self._decoded[source] = source.decoded_bytes
            self._decoded.move_to_end(source)
            total = sum(self._decoded.values())
            while total > self.max_bytes and len(self._decoded) > 1:
                oldest, held = self._decoded.popitem(last=False)
                oldest.release()
                total -= held
