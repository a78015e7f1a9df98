"""Perceptual hashes: images that look alike have hashes that differ in few bits.

An image becomes 64 x 64 grey pixels, of their cosine transform the 16 x 16 lowest frequencies are
kept, and each bit says whether one is above the median. Resizing, recompressing and slight changes
of colour turn few bits; docs/data.md says how few, and how far apart different images are.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn  # type: ignore[import-untyped]

from lookless.frames import Box, Frame, View
from lookless.images import Source

BITS = 256
_SIDE, _KEPT = 64, 16
_BANDS = 32
"""Parts of a hash; of two hashes that differ in fewer bits than there are parts, one is equal."""

Hashes = NDArray[np.uint64]
"""(N, 4): 256 bits each."""


def perceptual_hash(file: Path) -> NDArray[np.uint64]:
    """Return the hash (4,) of an image; its pixels are decoded at a reduced size where possible.

    Raises:
        ImageError: As `lookless.images.open_image`.
    """
    source = Source(file)
    width, height = source.size
    view = View(Box(0, 0, width, height, Frame.SOURCE), _SIDE * 4, _SIDE * 4)
    return hash_of(source.pixels(view))


def hash_of(image: Image.Image) -> NDArray[np.uint64]:
    """Return the hash (4,) of pixels."""
    grey = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    lowest = dctn(np.asarray(grey, np.float64), norm="ortho")[:_KEPT, :_KEPT].ravel()
    bits = lowest > np.median(lowest[1:])
    return np.packbits(bits).view(np.uint64)


def distance(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> int:
    """Return in how many of 256 bits two hashes differ."""
    return int(np.bitwise_count(one ^ other).sum())


def near(hashes: Hashes, others: Hashes | None = None, most: int = 24) -> Iterator[tuple[int, int]]:
    """Yield pairs of places whose hashes differ in at most `most` bits, each once.

    Within one set equal hashes are paired with the first of them alone.

    Args:
        hashes: (N, 4).
        others: (M, 4) that they are compared with; None compares them with each other, and the
            first place of a pair is then the lower one.
        most: Bits, below 32: hashes are compared where one of 32 parts is equal, which two that
            differ in so few bits must have.

    Example:
        >>> hashes = np.array([[0, 0, 0, 0], [~0, 0, 0, 0], [3, 0, 0, 0]], np.int64).view(np.uint64)
        >>> list(near(hashes))
        [(0, 2)]
    """
    if not 0 <= most < _BANDS:
        raise ValueError(f"most must be from 0 to {_BANDS - 1}, got {most}")
    if others is None:
        # Of equal hashes, which there can be many of, all are near the first, and to the rest
        # like it.
        distinct, firsts, of = np.unique(hashes, axis=0, return_index=True, return_inverse=True)
        for place, number in enumerate(of.ravel()):
            if firsts[number] != place:
                yield int(firsts[number]), place
        for one, other in _near(distinct, distinct, most, is_same=True):
            low, high = sorted((int(firsts[one]), int(firsts[other])))
            yield low, high
        return
    yield from _near(hashes, others, most, is_same=False)


def _near(hashes: Hashes, right: Hashes, most: int, *, is_same: bool) -> Iterator[tuple[int, int]]:
    bands, right_bands = hashes.view(np.uint8), right.view(np.uint8)
    seen: set[tuple[int, int]] = set()
    for band in range(_BANDS):
        places = _by_value(right_bands[:, band])
        for value, left in enumerate(_by_value(bands[:, band])):
            if len(left) and len(places[value]):
                for pair in _pairs(hashes, right, left, places[value], most, is_same):
                    if pair not in seen:
                        seen.add(pair)
                        yield pair


def _by_value(values: NDArray[np.uint8]) -> list[NDArray[np.intp]]:
    order = np.argsort(values, kind="stable")
    return np.split(order, np.searchsorted(values[order], np.arange(1, 256)))


def _pairs(
    hashes: Hashes,
    right: Hashes,
    left_places: NDArray[np.intp],
    right_places: NDArray[np.intp],
    most: int,
    is_same: bool,
) -> Iterator[tuple[int, int]]:
    """Yield the near pairs among hashes that share a part, some rows at a time."""
    step = max(1, 2**22 // max(len(right_places), 1))
    for start in range(0, len(left_places), step):
        some = left_places[start : start + step]
        differ = np.zeros((len(some), len(right_places)), np.uint16)
        for word in range(hashes.shape[1]):
            xor = hashes[some, word][:, None] ^ right[right_places, word][None]
            differ += np.bitwise_count(xor)
        for i, j in np.argwhere(differ <= most):
            one, other = int(some[i]), int(right_places[j])
            if not is_same or one < other:
                yield one, other


def groups(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Return for each place the lowest place that it is connected with by pairs.

    Example:
        >>> groups(4, [(0, 2), (2, 3)])
        [0, 1, 0, 0]
    """
    first = list(range(count))

    def root(place: int) -> int:
        while first[place] != place:
            first[place] = first[first[place]]
            place = first[place]
        return place

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        first[high] = low
    return [root(place) for place in range(count)]
