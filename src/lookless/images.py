"""Safe decoding, pixel budgets, and crops cut from a source that is decoded only once.

Images come from users and data sets, so nothing about a file is believed: its size and its header
are checked before a pixel is decoded, and whatever is wrong with it is one `ImageError`. Decoded
pixels are the largest thing in memory; a `SourceCache` bounds them.
"""

import io
import math
import os
import stat
import struct
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from weakref import WeakValueDictionary

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from lookless.errors import ConfigError, ImageError
from lookless.frames import Box, Frame, View

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
"""What is opened; of several frames the first. A JPEG with further pictures (MPO) is a JPEG."""
MAX_ASPECT_RATIO = 200
"""Longest over shortest side of what a Qwen model can be shown."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_EXIF_BYTES = 1 << 20
_BYTES_PER_PIXEL = 4  # Pillow pads RGB to four bytes
_SHRINKS = (8, 4, 2)
"""What a JPEG's sides can be divided by while it is decoded."""
_GAP = 2
"""A shrunken image has at least so many times the pixels a side that a view of it is given."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = frozenset(_TURNS[orientation] for orientation in (5, 6, 7, 8))
_pillow_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """The largest image that is opened."""

    max_bytes: int = 256 * 2**20
    """Of the file."""
    max_pixels: int = 200_000_000
    """Width times height."""
    max_side: int = 65_535
    """Of width and of height, in pixels."""


DEFAULT_LIMITS = ImageLimits()


def open_image(
    source: Path | bytes, limits: ImageLimits = DEFAULT_LIMITS, shrink: int = 1
) -> Image.Image:
    """Return an image as RGB pixels, upright, without metadata.

    Transparency becomes white, 16 bits per channel become the upper 8, and colour profiles are
    ignored. A damaged EXIF block counts as none. While decoding, up to three copies of the image
    are in memory, at 4 bytes per pixel.

    Args:
        source: A file, or what one holds.
        limits: Checked before any pixel is decoded.
        shrink: 2, 4 or 8 decodes a JPEG to sides divided by that, rounded up, in less time and
            memory; without effect on other formats.

    Raises:
        ImageError: If the file is missing, unreadable, damaged, not one of `FORMATS`, beyond
            `limits`, or has 32 bits per channel.
    """
    with _opened(source, limits) as (image, turn):
        if shrink > 1:
            image.draft(None, (max(image.width // shrink, 1), max(image.height // shrink, 1)))
        image.load()
        rgb = _to_rgb(image)
        if turn is not None:
            rgb = rgb.transpose(turn)
        rgb.info.clear()  # an orientation left in it would be applied again by whoever reads it
        return rgb


class Budget(Protocol):
    """How large a model is shown a view, and what that costs."""

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Return the (width, height) that a region of `width` x `height` pixels is resized to.

        Raises:
            ImageError: If a region of that shape cannot be shown.
        """

    def visual_tokens(self, width: int, height: int) -> int:
        """Return how many tokens a view of `width` x `height` pixels costs."""

    def processor_settings(self) -> dict[str, Any]:
        """Return what the family's image processor must be told to resize as `resized` does."""

    def keeping_settings(self) -> dict[str, Any]:
        """Return what the family's image processor must be told to keep views as they are."""


@dataclass(frozen=True, slots=True)
class PixelBudget:
    """How many pixels a model may be shown of one view; both sides are multiples of `factor`."""

    min_pixels: int
    max_pixels: int
    factor: int
    """Pixels per side of one visual token: patch size times merge size."""

    def __post_init__(self) -> None:
        if not (1 <= self.min_pixels <= self.max_pixels and self.factor >= 1):
            raise ConfigError(
                "pixel budget must have 1 <= min_pixels <= max_pixels and factor >= 1, got "
                f"{self.min_pixels}, {self.max_pixels} and {self.factor}; change it"
            )

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Return the (width, height) that a region of `width` x `height` pixels is resized to.

        The aspect ratio is kept as nearly as multiples of `factor` allow; the shorter side of a
        very long region is held at `factor`, so that its area can exceed `max_pixels`.

        Raises:
            ImageError: If a side is below 1 or the aspect ratio above `MAX_ASPECT_RATIO`.

        Example:
            >>> PixelBudget(56 * 56, 1280 * 28 * 28, 28).resized(4000, 3000)
            (1148, 840)

        Source: Bai et al. 2025 (Qwen2.5-VL, arXiv 2502.13923); the numbers are those of
        `smart_resize` in transformers 5.23. Differs in taking and returning the width first.
        """
        if min(width, height) < 1 or max(width, height) > MAX_ASPECT_RATIO * min(width, height):
            raise ImageError(
                f"an image or region must have an aspect ratio of at most {MAX_ASPECT_RATIO}, "
                f"got {width}x{height} pixels; use a less elongated one"
            )
        to_width, to_height = self._multiple(round, width), self._multiple(round, height)
        if to_width * to_height > self.max_pixels:
            shrink = math.sqrt(height * width / self.max_pixels)
            to_width = max(self.factor, self._multiple(math.floor, width / shrink))
            to_height = max(self.factor, self._multiple(math.floor, height / shrink))
        elif to_width * to_height < self.min_pixels:
            grow = math.sqrt(self.min_pixels / (height * width))
            to_width = self._multiple(math.ceil, width * grow)
            to_height = self._multiple(math.ceil, height * grow)
        return to_width, to_height

    def __str__(self) -> str:
        return f"{self.min_pixels} to {self.max_pixels} pixels in squares of {self.factor}"

    def visual_tokens(self, width: int, height: int) -> int:
        """Return how many tokens a view of `width` x `height` pixels costs: one each square."""
        return (width // self.factor) * (height // self.factor)

    def processor_settings(self) -> dict[str, Any]:
        """Return what the family's image processor must be told to resize as `resized` does."""
        return {"size": {"shortest_edge": self.min_pixels, "longest_edge": self.max_pixels}}

    def keeping_settings(self) -> dict[str, Any]:
        """Return what the family's image processor must be told to keep views as they are.

        Where `min_pixels` is close to `max_pixels`, rounding to multiples of the factor can leave a
        view outside of both; shown to the processor once more, it would be resized again.
        """
        sides = math.sqrt(self.min_pixels) * (MAX_ASPECT_RATIO + 1) / math.sqrt(MAX_ASPECT_RATIO)
        enlarged = math.ceil(self.min_pixels + self.factor * sides + self.factor**2)
        most = max(self.max_pixels, enlarged)
        return {"size": {"shortest_edge": self.factor**2, "longest_edge": most}}

    def _multiple(self, rounding: Callable[[float], int], side: float) -> int:
        return rounding(side / self.factor) * self.factor


@dataclass(frozen=True, slots=True)
class _Header:
    """What a file says of its image before any pixel."""

    size: tuple[int, int]
    """(width, height) in pixels, upright."""
    can_shrink: bool
    """Whether the image can be shrunk while it is decoded."""
    format: str
    is_plain: bool
    """Whether any reader shows the same pixels: upright, and RGB or grey of 8 bits."""


class Source:
    """One image file, kept by reference: its header is read when asked for, its pixels once.

    Safe to share between threads. A source made by a `SourceCache` can lose its pixels to another
    one and decodes them again when next asked.
    """

    def __init__(
        self, path: Path, limits: ImageLimits = DEFAULT_LIMITS, pool: "PixelPool | None" = None
    ) -> None:
        """Refer to a file.

        Args:
            path: Must exist; nothing of it is read yet.
            limits: Checked before decoding.
            pool: Keeps the decoded pixels; by default they stay as long as this source.

        Raises:
            ImageError: If `path` is missing or not a file.
        """
        self.path = path
        self.limits = limits
        self.key = _identity(path)
        """What tells sources apart without reading them: resolved path, time of change, size."""
        self._pool = PixelPool() if pool is None else pool
        self._lock = threading.Lock()
        self._header: _Header | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Return (width, height) in pixels, upright; no pixel is decoded for it.

        Raises:
            ImageError: As `open_image`.
        """
        return self._read_header().size

    @property
    def format(self) -> str:
        """Return what the file is, one of `FORMATS`; no pixel is decoded for it.

        Raises:
            ImageError: As `open_image`.
        """
        return self._read_header().format

    @property
    def is_plain(self) -> bool:
        """Return whether any reader of the file shows the pixels that are shown here.

        Not so for images that are turned by their metadata, or are not RGB or grey of 8 bits.

        Raises:
            ImageError: As `open_image`.
        """
        return self._read_header().is_plain

    def _read_header(self) -> "_Header":
        if self._header is None:
            with _opened(self.path, self.limits) as (image, turn):
                width, height = image.size
                # Turned, a pixel that the edge has cut would lie at the left or the top.
                is_whole = not (width % max(_SHRINKS) or height % max(_SHRINKS))
                kind = "JPEG" if image.format == "MPO" else str(image.format)
                can_shrink = kind == "JPEG" and (turn is None or is_whole)
                # Pillow turns TIFFs while it loads them, which others do not.
                is_plain = turn is None and image.mode in ("RGB", "L") and kind != "TIFF"
            size = (height, width) if turn in _SIDEWAYS else (width, height)
            self._header = _Header(size, can_shrink, kind, is_plain)
        return self._header

    def full_view(self, budget: Budget) -> View:
        """Return the view of the whole image.

        Raises:
            ImageError: As `open_image` and `Budget.resized`.
        """
        width, height = self.size
        return View(Box(0, 0, width, height, Frame.SOURCE), *budget.resized(width, height))

    def view(self, region: Box, budget: Budget) -> View:
        """Return the view of a part of the image.

        Args:
            region: In `Frame.SOURCE`; clipped to the image, then taken `outward`.
            budget: Gives the view's size.

        Raises:
            ValueError: If `region` is not in source pixels.
            ImageError: If nothing of `region` lies in the image; as `open_image` and
                `Budget.resized`.
        """
        width, height = self.size
        inside = region.intersection(Box(0, 0, width, height, Frame.SOURCE))
        if not (region.is_finite and inside.area > 0):
            raise ImageError(
                f"region must overlap the image of {width}x{height} pixels, "
                f"got {region.coordinates}; use left < right and top < bottom within it"
            )
        cut = inside.outward()
        # A sliver at the far edge would be rounded out of the image.
        left, top = min(cut.left, width - 1), min(cut.top, height - 1)
        right, bottom = min(cut.right, width), min(cut.bottom, height)
        to_width, to_height = budget.resized(int(right - left), int(bottom - top))
        return View(Box(left, top, right, bottom, Frame.SOURCE), to_width, to_height)

    def pixels(self, view: View) -> Image.Image:
        """Return a view's pixels: RGB, `view.width_px` x `view.height_px`, the caller's own.

        They are cut from the full-resolution source, whatever the view was that showed the region,
        and resized bicubically with antialiasing; a view of its region's size is an exact copy. Of
        a JPEG that is much larger, twice the resolution of the view is decoded, or more: pixels
        then differ a little from those of the whole image (docs/performance.md).

        Raises:
            ImageError: If the region does not consist of whole pixels of this image, or the file
                has changed; as `open_image`.
        """
        width, height = self.size
        left, top, right, bottom = view.region.coordinates
        is_whole = all(float(v).is_integer() for v in view.region.coordinates)
        if not (is_whole and 0 <= left < right <= width and 0 <= top < bottom <= height):
            raise ImageError(
                f"view must show whole pixels of an image of {width}x{height}, "
                f"got {view.region.coordinates}; make it with Source.view"
            )
        shrink = self._shrink(right - left, bottom - top, view)
        image = self._image(shrink)
        if shrink > 1:
            box = (left / shrink, top / shrink, right / shrink, bottom / shrink)
            return image.resize((view.width_px, view.height_px), Image.Resampling.BICUBIC, box)
        if (left, top, right, bottom) != (0, 0, width, height):
            # Image.crop would apply Pillow's own pixel limit, and warn
            cut = Image.new("RGB", (int(right - left), int(bottom - top)))
            cut.paste(image, (-int(left), -int(top)))
            image = cut
        return image.resize((view.width_px, view.height_px), Image.Resampling.BICUBIC)

    def _shrink(self, width: float, height: float, view: View) -> int:
        """Return what the image's sides are divided by when a region of this size is to be seen.

        It depends on nothing else, such as what is decoded already: pixels are always the same.
        """
        can_shrink = self._read_header().can_shrink
        fitting = [
            by
            for by in _SHRINKS
            if width >= by * _GAP * view.width_px and height >= by * _GAP * view.height_px
        ]
        return fitting[0] if fitting and can_shrink else 1

    def _image(self, shrink: int) -> Image.Image:
        """Return the decoded source; it is shared and must not be changed."""
        key = f"{self.key}|{shrink}"
        with self._lock:
            image = self._pool.find(key)
            if image is None:
                image = open_image(self.path, self.limits, shrink)
                if _identity(self.path) != self.key:
                    raise ImageError(
                        "image must not change while in use, "
                        f"got another {str(self.path)!r}; start again"
                    )
                self._pool.keep(key, image)
            return image


class PixelPool:
    """Decoded images by key; the least recently used are dropped to stay within `max_bytes`.

    An image larger than `max_bytes` is never kept.
    """

    def __init__(self, max_bytes: float = math.inf) -> None:
        self.max_bytes = max_bytes
        self._images: OrderedDict[str, Image.Image] = OrderedDict()
        self._lock = threading.Lock()
        self._decoded_bytes = 0

    @property
    def decoded_bytes(self) -> int:
        """Return what the kept images take in memory, in bytes."""
        return self._decoded_bytes

    def find(self, key: str) -> Image.Image | None:
        """Return the image kept under `key`, if it still is, and mark it as used."""
        with self._lock:
            if key in self._images:
                self._images.move_to_end(key)
            return self._images.get(key)

    def keep(self, key: str, image: Image.Image) -> None:
        """Keep an image that is not kept yet, and drop others if it takes their place."""
        if _bytes_of(image) > self.max_bytes:
            return
        with self._lock:
            self._images[key] = image
            self._decoded_bytes += _bytes_of(image)
            while self._decoded_bytes > self.max_bytes:
                _, dropped = self._images.popitem(last=False)
                self._decoded_bytes -= _bytes_of(dropped)


class SourceCache:
    """Sources by path, with one bound on the decoded pixels of all of them.

    Safe to share between threads.
    """

    def __init__(self, max_bytes: int = 2**29, limits: ImageLimits = DEFAULT_LIMITS) -> None:
        """Start empty.

        Args:
            max_bytes: Of decoded pixels, at 4 bytes each. An image being decoded or cut is held by
                that call beyond the bound. An image larger than this is decoded for every view.
            limits: For every source.
        """
        self.limits = limits
        self._pool = PixelPool(max_bytes)
        self._sources: WeakValueDictionary[str, Source] = WeakValueDictionary()
        self._lock = threading.Lock()

    @property
    def decoded_bytes(self) -> int:
        """Return what the decoded pixels take in memory, in bytes; never above the bound."""
        return self._pool.decoded_bytes

    def get(self, path: Path) -> Source:
        """Return the source of a file; the same one while it is in use and the file unchanged.

        Raises:
            ImageError: If `path` is missing or not a file.
        """
        source = Source(path, self.limits, self._pool)
        with self._lock:
            return self._sources.setdefault(source.key, source)


@contextmanager
def _opened(
    source: Path | bytes, limits: ImageLimits
) -> Iterator[tuple[Image.Image, Image.Transpose | None]]:
    """Give an image whose header is within `limits`, and the turn that makes its pixels upright.

    Whatever Pillow raises inside becomes an `ImageError`.
    """
    name = f"{len(source)} bytes" if isinstance(source, bytes) else repr(str(source))
    try:
        with _file(source, name, limits) as file, _pillow_within(limits):
            exif = _png_exif(file)
            with Image.open(file, formats=FORMATS) as image:
                _check_size(image.size, name, limits)
                if exif is not None:
                    image.info["exif"] = exif
                yield image, _turn(image)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"image must have at most {limits.max_pixels} pixels, got more in {name}; shrink it"
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"image must be one of {', '.join(FORMATS)}, got {name} with other or damaged content; "
            "convert it"
        ) from error
    except Exception as error:  # a damaged file can make Pillow raise nearly anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ImageError(
            f"image must be readable and undamaged, got {name} ({reason}); get or save it again"
        ) from error


def _file(source: Path | bytes, name: str, limits: ImageLimits) -> BinaryIO:
    """Return an open file that is known to be neither empty nor too large."""
    size = len(source) if isinstance(source, bytes) else _regular(source).st_size
    if size == 0:
        raise ImageError(f"image must not be empty, got {name} of 0 bytes; get or save it again")
    if size > limits.max_bytes:
        raise ImageError(
            f"image must have at most {limits.max_bytes} bytes, got {name} of {size}; shrink it"
        )
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _regular(path: Path) -> os.stat_result:
    """Return the status of a regular file; opening a pipe would wait forever."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise ImageError(
            f"image must be an existing file, got {str(path)!r}; check the path"
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"image must be a regular file, got {str(path)!r}; name the image itself")
    return status


def _identity(path: Path) -> str:
    status = _regular(path)
    return f"{path.resolve()}|{status.st_mtime_ns}|{status.st_size}"


@contextmanager
def _pillow_within(limits: ImageLimits) -> Iterator[None]:
    """Let Pillow open images up to `limits` in silence.

    Its warnings and its own pixel limit are settings of the process: both are set under a lock, for
    as long as one image is read, and Pillow's limit is only ever raised, to where it meets ours.
    """
    with _pillow_lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        theirs = Image.MAX_IMAGE_PIXELS
        if theirs is not None:  # Pillow refuses images of more than twice this
            Image.MAX_IMAGE_PIXELS = max(theirs, math.ceil(limits.max_pixels / 2))
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = theirs


def _check_size(size: tuple[int, int], name: str, limits: ImageLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        raise ImageError(
            f"image must have at most {limits.max_pixels} pixels, "
            f"got {width}x{height} in {name}; shrink it"
        )
    if max(size) > limits.max_side:
        raise ImageError(
            f"image must have at most {limits.max_side} pixels a side, "
            f"got {width}x{height} in {name}; shrink it"
        )


def _png_exif(file: BinaryIO) -> bytes | None:
    """Return a PNG's EXIF block; Pillow finds one behind the pixels only by decoding them."""
    if file.read(len(_PNG_SIGNATURE)) != _PNG_SIGNATURE:
        return None
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name == b"eXIf":
            return b"Exif\0\0" + file.read(min(length, _MAX_EXIF_BYTES))
        file.seek(length + 4, os.SEEK_CUR)
    return None


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return what makes the pixels upright once they are loaded, None if they will be."""
    if image.format == "TIFF":  # Pillow turns these itself
        return None
    try:
        # the base class's method: that of PNG decodes the pixels
        return _TURNS.get(Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged metadata, in whatever way, leaves the pixels good
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return a new RGB image, transparent parts white."""
    if image.mode in ("I", "F"):
        raise ImageError(
            "image must have 8 or 16 bits per channel, got 32, whose range is unknown; convert it"
        )
    if image.mode.startswith("I;16"):
        values_H_W = np.asarray(image)
        if "transparency" in image.info:
            values_H_W = np.where(values_H_W == image.info["transparency"], 0xFFFF, values_H_W)
        image = Image.fromarray((values_H_W >> 8).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image if image.mode == "RGBA" else image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(layer, mask=layer)
    return white


def _bytes_of(image: Image.Image) -> int:
    return image.width * image.height * _BYTES_PER_PIXEL
