import io
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from lookless import images
from lookless.errors import ImageError
from lookless.frames import Box, Frame, View
from lookless.images import (
    ImageLimits,
    PixelBudget,
    PixelPool,
    Source,
    SourceCache,
    open_image,
)

BUDGET = PixelBudget(4, 10**9, 2)
RED, WHITE = (255, 0, 0), (255, 255, 255)
MANY_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, data in chunks:
        parts += [struct.pack(">I", len(data)), name, data]
        parts.append(struct.pack(">I", zlib.crc32(name + data)))
    return b"".join(parts)


def png_header(width: int, height: int, depth: int = 8, colour: int = 2) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)


def grey16(*values: int, transparent: int | None = None) -> bytes:
    chunks = [png_header(len(values), 1, depth=16, colour=0)]
    if transparent is not None:
        chunks.append((b"tRNS", struct.pack(">H", transparent)))
    row = struct.pack(f">B{len(values)}H", 0, *values)
    return png(*chunks, (b"IDAT", zlib.compress(row)), (b"IEND", b""))


def pixels_of(image: Image.Image) -> list[tuple[int, int, int]]:
    array = np.asarray(image).reshape(-1, 3)
    return [(int(r), int(g), int(b)) for r, g, b in array]


def save(path: Path, image: Image.Image, form: str = "PNG") -> Path:
    path.write_bytes(encoded(image, form))
    return path


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return a list that grows by what is decoded."""
    seen: list[object] = []
    original = images.open_image

    def counting(source: Path | bytes, *args: Any) -> Image.Image:
        seen.append(source)
        return original(source, *args)

    monkeypatch.setattr(images, "open_image", counting)
    return seen


def refusal(source: Path | bytes, limits: ImageLimits = images.DEFAULT_LIMITS) -> str:
    """Return the one line that refuses an image, and see that nothing is warned of."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError) as caught:
            open_image(source, limits)
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


HOSTILE: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "text": lambda: b"not an image at all",
    "svg": lambda: b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
    "pdf": lambda: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
    "eps": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
    "ppm, not on the list": lambda: b"P6 1 1 255\n\0\0\0",
    "png signature alone": lambda: b"\x89PNG\r\n\x1a\n",
    "png of no size": lambda: png(png_header(0, 5), (b"IDAT", b""), (b"IEND", b"")),
    "png of rubbish": lambda: png(png_header(9, 9), (b"IDAT", b"rubbish"), (b"IEND", b"")),
    "png without pixels": lambda: png(png_header(9, 9), (b"IEND", b"")),
    "png bomb": lambda: png(png_header(60_000, 60_000), (b"IDAT", b"x"), (b"IEND", b"")),
    "long png": lambda: png(png_header(70_000, 1), (b"IDAT", b"x"), (b"IEND", b"")),
    "png text bomb": lambda: png(
        png_header(9, 9),
        (b"zTXt", b"k\0\0" + zlib.compress(bytes(8 * 2**20))),
        (b"IDAT", zlib.compress(bytes(9 * 28))),
        (b"IEND", b""),
    ),
    "jpeg start alone": lambda: b"\xff\xd8\xff\xe0",
    "gif header alone": lambda: b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0),
    "gif frame bomb": lambda: (
        b"GIF89a"
        + struct.pack("<HHBBB", 9, 9, 0, 0, 0)
        + b","
        + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0)
        + b"\x02\x00;"
    ),
    "webp without data": lambda: b"RIFF\x1a\0\0\0WEBPVP8L",
    "webp bomb": lambda: (
        b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0" + b"\0" * 4 + b"\xfe\x3f\0" + b"\xfe\x3f\0"
    ),
    "bmp bomb": lambda: (
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0)
    ),
    "tiff without directory": lambda: b"II*\0\x08\0\0\0",
    "tiff that refers to itself": lambda: b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
    "float tiff of 4 channels cut": lambda: encoded(Image.new("CMYK", (50, 50)), "TIFF")[:400],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    content = HOSTILE[name]()
    refusal(content)
    file = tmp_path / "image.png"
    file.write_bytes(content)
    assert "image.png" in refusal(file)
    with pytest.raises(ImageError):
        Source(file).pixels(View(Box(0, 0, 1, 1, Frame.SOURCE), 1, 1))


def attempt(content: bytes, limits: ImageLimits) -> Image.Image | str:
    """Return the image or the line that refuses it; any other exception or warning is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return open_image(content, limits)
        except ImageError as error:
            return str(error)


@pytest.mark.parametrize("form", MANY_FORMATS)
def test_a_file_cut_short_is_refused_wherever_the_cut(form: str) -> None:
    whole = encoded(noise(40, 30), form)
    for length in range(0, len(whole) // 2, max(1, len(whole) // 40)):
        refusal(whole[:length])


@pytest.mark.parametrize("form", MANY_FORMATS)
@given(data=st.data())
def test_a_file_with_changed_bytes_is_opened_or_refused(form: str, data: st.DataObject) -> None:
    content = bytearray(encoded(noise(12, 9), form))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    result = attempt(bytes(content), ImageLimits(max_pixels=10_000))
    if isinstance(result, str):
        assert len(result.splitlines()) == 1
    else:
        assert result.mode == "RGB"
        assert result.width * result.height <= 10_000


@pytest.mark.parametrize(
    "name", ["missing.png", "folder", "no\nsuch\nfile.png", "with\0null.png", "x" * 5000]
)
def test_what_is_no_file_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    refusal(tmp_path / name)
    with pytest.raises(ImageError):
        SourceCache().get(tmp_path / name).full_view(BUDGET)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    refusal(tmp_path / "pipe.png")


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "b.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    refusal(tmp_path / "a.png")


@pytest.mark.parametrize(
    "limits", [ImageLimits(max_bytes=50), ImageLimits(max_pixels=99), ImageLimits(max_side=19)]
)
def test_each_limit_is_checked_before_decoding(limits: ImageLimits, tmp_path: Path) -> None:
    header_only = png(png_header(20, 5), (b"IDAT", b"x" * 50), (b"IEND", b""))
    limit = next(
        str(value)
        for value, usual in zip(
            (limits.max_bytes, limits.max_pixels, limits.max_side),
            (2**28, 200_000_000, 65_535),
            strict=True,
        )
        if value != usual
    )
    assert limit in refusal(header_only, limits)
    file = tmp_path / "image.png"
    file.write_bytes(header_only)
    assert limit in refusal(file, limits)
    with pytest.raises(ImageError, match=limit):
        SourceCache(limits=limits).get(file).full_view(BUDGET)


def test_an_image_at_its_limits_opens() -> None:
    data = encoded(noise(20, 5))
    assert open_image(data, ImageLimits(len(data), 100, 20)).size == (20, 5)


@pytest.mark.parametrize("form", MANY_FORMATS)
def test_pillows_own_limit_does_not_count(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = save(tmp_path / "image", noise(60, 40), form)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)  # Pillow refuses more than twice this
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_image(file).size == (60, 40)
        source = Source(file)
        assert source.pixels(source.full_view(BUDGET)).size == (60, 40)
        crop = source.view(Box(1, 0, 60, 40, Frame.SOURCE), BUDGET)
        assert source.pixels(crop).size == (crop.width_px, crop.height_px)
    assert Image.MAX_IMAGE_PIXELS == 500


def test_the_limits_of_one_call_do_not_become_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    refusal(b"rubbish")
    refusal(HOSTILE["png bomb"]())
    assert Image.MAX_IMAGE_PIXELS == 500


@pytest.mark.parametrize("form", MANY_FORMATS)
def test_each_format_opens_as_rgb(form: str) -> None:
    image = Image.new("RGB", (7, 5), RED)
    opened = open_image(encoded(image, form))
    assert (opened.mode, opened.size) == ("RGB", (7, 5))
    difference = np.abs(np.asarray(opened).astype(int) - np.asarray(image).astype(int))
    assert difference.max() <= 3


@pytest.mark.parametrize("form", ["GIF", "TIFF", "WEBP", "MPO", "PNG"])
def test_of_several_frames_the_first_is_opened(form: str) -> None:
    first, second = Image.new("RGB", (16, 16), RED), Image.new("RGB", (16, 16), "blue")
    opened = open_image(encoded(first, form, save_all=True, append_images=[second]))
    red, _, blue = pixels_of(opened)[0]
    assert red > 200
    assert blue < 50


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr"])
def test_each_mode_of_a_tiff_opens_as_rgb(mode: str) -> None:
    opened = open_image(encoded(Image.new("RGB", (4, 4), WHITE).convert(mode), "TIFF"))
    assert opened.mode == "RGB"
    assert min(pixels_of(opened)[0]) >= 250


def test_a_cmyk_jpeg_has_its_colours_right() -> None:
    data = encoded(Image.new("RGB", (16, 16), RED).convert("CMYK"), "JPEG", quality=95)
    red, green, blue = pixels_of(open_image(data))[0]
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize(("mode", "empty"), [("RGBA", (255, 0, 0, 0)), ("LA", (0, 0))])
def test_what_is_transparent_becomes_white(mode: str, empty: tuple[int, ...]) -> None:
    assert pixels_of(open_image(encoded(Image.new(mode, (1, 1), empty)))) == [WHITE]


def test_what_is_half_transparent_is_mixed_with_white_and_opaque_is_exact() -> None:
    image = Image.new("RGBA", (2, 1), (10, 20, 30, 255))
    image.putpixel((1, 0), (0, 0, 0, 128))
    opaque, half = pixels_of(open_image(encoded(image)))
    assert opaque == (10, 20, 30)
    assert half == (127, 127, 127)


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_a_transparent_palette_entry_becomes_white(form: str) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    assert pixels_of(open_image(encoded(image, form, transparency=0))) == [WHITE, (0, 0, 255)]


def test_16_bits_become_the_upper_8() -> None:
    values = [0, 255, 256, 0x7F80, 0xFEFF, 0xFFFF]
    assert pixels_of(open_image(grey16(*values))) == [(v >> 8,) * 3 for v in values]
    little = encoded(Image.fromarray(np.array([values], dtype="<u2")), "TIFF")
    assert pixels_of(open_image(little)) == [(v >> 8,) * 3 for v in values]


def test_a_dark_image_of_16_bits_stays_dark() -> None:
    assert pixels_of(open_image(grey16(0, 512, 300))) == [(0,) * 3, (2,) * 3, (1,) * 3]


def test_16_bits_of_colour_and_of_alpha_become_8() -> None:
    rgb = struct.pack(">B3H", 0, 0xFFFF, 0x8000, 0x00FF)
    data = png(png_header(1, 1, 16, 2), (b"IDAT", zlib.compress(rgb)), (b"IEND", b""))
    assert pixels_of(open_image(data)) == [(255, 128, 0)]
    rgba = struct.pack(">B4H", 0, 0xFFFF, 0, 0, 0)
    data = png(png_header(1, 1, 16, 6), (b"IDAT", zlib.compress(rgba)), (b"IEND", b""))
    assert pixels_of(open_image(data)) == [WHITE]


def test_a_transparent_value_of_16_bits_becomes_white_and_its_neighbour_does_not() -> None:
    assert pixels_of(open_image(grey16(0x1000, 0x1001, transparent=0x1000))) == [WHITE, (16,) * 3]


def with_orientation(image: Image.Image, form: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if form == "JPEG" else {}
    return encoded(image, form, exif=exif, **options)


def corners(image: Image.Image) -> list[str]:
    """Return the name of the strongest channel of each corner, from the top left by rows."""
    w, h = image.width - 1, image.height - 1
    names = []
    for place in ((0, 0), (w, 0), (0, h), (w, h)):
        pixel = image.getpixel(place)
        assert isinstance(pixel, tuple)
        names.append("w" if min(pixel) > 128 else "rgb"[int(np.argmax(pixel))])
    return names


# What the stored corners r g / b w become, by the EXIF standard (CIPA DC-008, Orientation).
UPRIGHT = {1: "rgbw", 2: "grwb", 3: "wbgr", 4: "bwrg", 5: "rbgw", 6: "brwg", 7: "wgbr", 8: "gwrb"}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_each_exif_orientation_is_applied_once(form: str, orientation: int, tmp_path: Path) -> None:
    stored = Image.new("RGB", (48, 32))
    for k, colour in enumerate(((255, 0, 0), (0, 255, 0), (0, 0, 255), WHITE)):
        stored.paste(colour, (k % 2 * 24, k // 2 * 16, k % 2 * 24 + 24, k // 2 * 16 + 16))
    file = tmp_path / "image"
    file.write_bytes(with_orientation(stored, form, orientation))
    opened = open_image(file)
    assert opened.size == ((48, 32) if orientation < 5 else (32, 48))
    assert corners(opened) == list(UPRIGHT[orientation])
    assert opened.getexif().get(0x0112, 1) == 1
    source = Source(file)
    assert source.size == opened.size
    assert corners(source.pixels(source.full_view(BUDGET))) == list(UPRIGHT[orientation])


@pytest.mark.parametrize("is_behind", [False, True])
def test_a_png_may_have_its_orientation_before_or_behind_its_pixels(
    is_behind: bool, tmp_path: Path
) -> None:
    exif = (b"eXIf", b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0")
    pixels = (b"IDAT", zlib.compress(bytes(2 * (1 + 4 * 3))))
    middle = (pixels, exif) if is_behind else (exif, pixels)
    file = tmp_path / "image.png"
    file.write_bytes(png(png_header(4, 2), *middle, (b"IEND", b"")))
    assert open_image(file).size == (2, 4)
    assert Source(file).size == (2, 4)


def test_damaged_exif_leaves_the_pixels() -> None:
    assert open_image(encoded(noise(4, 4), "JPEG", exif=b"Exif\0\0rubbish")).size == (4, 4)
    assert open_image(with_orientation(noise(4, 2), "JPEG", 99)).size == (4, 2)


@pytest.mark.parametrize("form", MANY_FORMATS)
def test_the_size_is_read_without_decoding_the_pixels(form: str, tmp_path: Path) -> None:
    whole = encoded(noise(300, 200), form)
    file = tmp_path / "cut"
    file.write_bytes(whole)
    if form not in ("WEBP", "TIFF"):  # which have their directory or lengths at the end
        file.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ImageError):
            open_image(file)
    assert Source(file).size == (300, 200)
    assert Source(file).full_view(BUDGET).region == Box(0, 0, 300, 200, Frame.SOURCE)


@given(
    width=st.integers(1, 20_000),
    height=st.integers(1, 20_000),
    factor=st.sampled_from([1, 14, 28, 32]),
    min_pixels=st.integers(1, 2_000_000),
    more_pixels=st.integers(0, 20_000_000),
)
def test_the_budget_is_exactly_qwens(
    width: int, height: int, factor: int, min_pixels: int, more_pixels: int
) -> None:
    budget = PixelBudget(min_pixels, min_pixels + more_pixels, factor)
    try:
        expected = smart_resize(height, width, factor, budget.min_pixels, budget.max_pixels)
    except ValueError:
        with pytest.raises(ImageError):
            budget.resized(width, height)
    else:
        assert budget.resized(width, height) == expected[::-1]


@pytest.mark.parametrize("long", [200, 201])
def test_the_longest_image_is_200_times_as_long_as_wide(long: int) -> None:
    budget = PixelBudget(1, 10**9, 1)
    for width, height in ((3 * long, 3), (3, 3 * long)):
        if long == 200:
            assert budget.resized(width, height) == (width, height)
        else:
            with pytest.raises(ImageError, match="200"):
                budget.resized(width, height)


@given(data=st.data())
def test_a_crop_at_its_own_size_is_exact(data: st.DataObject, crop_source: Source) -> None:
    width, height = crop_source.size
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    right = data.draw(st.integers(left + 1, width))
    bottom = data.draw(st.integers(top + 1, height))
    region = Box(left, top, right, bottom, Frame.SOURCE)
    cut = crop_source.pixels(View(region, right - left, bottom - top))
    expected = np.asarray(noise(width, height))[top:bottom, left:right]
    assert np.array_equal(np.asarray(cut), expected)


@pytest.fixture(scope="module")
def crop_source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return Source(save(tmp_path_factory.mktemp("crops") / "noise.png", noise(61, 47)))


def test_a_crop_knows_nothing_of_what_lies_beside_it(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 40), "black")
    image.paste(WHITE, (10, 10, 30, 30))
    source = Source(save(tmp_path / "square.png", image))
    cut = source.pixels(View(Box(10, 10, 30, 30, Frame.SOURCE), 7, 57))
    assert set(pixels_of(cut)) == {WHITE}


def test_a_crop_is_resized_as_pillow_resizes_the_cut(crop_source: Source) -> None:
    for size in ((8, 6), (90, 33)):
        cut = crop_source.pixels(View(Box(5, 7, 55, 40, Frame.SOURCE), *size))
        expected = noise(61, 47).crop((5, 7, 55, 40)).resize(size, Image.Resampling.BICUBIC)
        assert np.array_equal(np.asarray(cut), np.asarray(expected))


def test_changing_the_pixels_of_a_view_leaves_the_source(crop_source: Source) -> None:
    width, height = crop_source.size
    view = View(Box(0, 0, width, height, Frame.SOURCE), width, height)
    before = np.array(crop_source.pixels(view))
    crop_source.pixels(view).paste(RED, (0, 0, width, height))
    assert np.array_equal(np.asarray(crop_source.pixels(view)), before)


@given(
    left=st.floats(-30, 90),
    top=st.floats(-30, 90),
    right=st.floats(-30, 90),
    bottom=st.floats(-30, 90),
)
def test_a_region_is_rounded_outward_and_clipped(
    crop_source: Source, left: float, top: float, right: float, bottom: float
) -> None:
    width, height = crop_source.size
    region = Box(left, top, right, bottom, Frame.SOURCE)
    wanted = region.intersection(Box(0, 0, width, height, Frame.SOURCE))
    if wanted.area == 0:
        with pytest.raises(ValueError, match="region"):
            crop_source.view(region, BUDGET)
        return
    got = crop_source.view(region, BUDGET).region
    assert all(float(v).is_integer() for v in got.coordinates)
    assert 0 <= got.left < got.right <= width
    assert 0 <= got.top < got.bottom <= height
    assert got.intersection(wanted).coordinates == pytest.approx(wanted.coordinates, abs=1e-5)
    assert got.width < wanted.width + 2
    assert got.height < wanted.height + 2


def test_a_region_converted_from_thousandths_gains_no_pixel_by_rounding_noise(
    tmp_path: Path,
) -> None:
    header = png(png_header(7680, 4320), (b"IDAT", b"x"), (b"IEND", b""))
    file = tmp_path / "wide.png"
    file.write_bytes(header)
    source = Source(file)
    overview = source.full_view(BUDGET)
    for k in range(1, 8):  # eighths of both sides are whole pixels
        box = overview.to_source(Box(0.125 * k - 0.125, 0, 0.125 * k, 1, Frame.UNIT))
        noisy = Box(box.left, box.top, box.right + 1e-9, box.bottom, Frame.SOURCE)
        assert source.view(noisy, BUDGET).region.coordinates == (960 * (k - 1), 0, 960 * k, 4320)


@pytest.mark.parametrize(
    "box",
    [
        (70, 0, 80, 10),
        (-10, 0, 0, 10),
        (0, 47, 10, 60),
        (20, 0, 10, 10),
        (float("nan"), 0, 10, 10),
        (0, 0, float("inf"), float("nan")),
    ],
)
def test_a_region_outside_of_the_image_is_refused(
    crop_source: Source, box: tuple[float, float, float, float]
) -> None:
    with pytest.raises(ValueError, match=r"region must|NaN"):
        crop_source.view(Box(*box, Frame.SOURCE), BUDGET)


def test_a_region_in_another_frame_is_refused(crop_source: Source) -> None:
    with pytest.raises(ValueError, match=r"frame|source"):
        crop_source.view(Box(0, 0, 1, 1, Frame.UNIT), BUDGET)


def test_a_key_names_the_file_as_it_is(tmp_path: Path) -> None:
    file = save(tmp_path / "a.png", noise(5, 5))
    (tmp_path / "b.png").symlink_to(file)
    key = Source(file).key
    assert Source(tmp_path / "b.png").key == key
    assert Source(save(tmp_path / "c.png", noise(5, 5))).key != key
    os.utime(file, ns=(1, 1))
    assert Source(file).key != key


def test_a_source_is_decoded_once_and_only_for_pixels(
    tmp_path: Path, decodes: list[object]
) -> None:
    cache = SourceCache()
    source = cache.get(save(tmp_path / "a.png", noise(64, 64)))
    view = source.full_view(BUDGET)
    crop = source.view(Box(1, 2, 30, 40, Frame.SOURCE), BUDGET)
    assert decodes == []
    assert cache.decoded_bytes == 0
    for _ in range(3):
        source.pixels(view)
        source.pixels(crop)
        cache.get(tmp_path / "a.png").pixels(crop)
    assert len(decodes) == 1


def test_a_source_of_its_own_is_decoded_once(tmp_path: Path, decodes: list[object]) -> None:
    source = Source(save(tmp_path / "a.png", noise(64, 64)))
    for _ in range(3):
        source.pixels(source.full_view(BUDGET))
    assert len(decodes) == 1


PIXEL_BYTES = 64 * 64 * 4  # Pillow keeps RGB in four bytes


def use(cache: SourceCache, file: Path) -> None:
    source = cache.get(file)
    assert source.pixels(source.full_view(BUDGET)).size == (64, 64)


def test_the_cache_drops_what_was_used_longest_ago(tmp_path: Path, decodes: list[object]) -> None:
    a, b, c = (save(tmp_path / f"{k}.png", noise(64, 64, k)) for k in range(3))
    cache = SourceCache(max_bytes=2 * PIXEL_BYTES)
    for file in (a, b, a, c):  # c takes the place of b
        use(cache, file)
    assert cache.decoded_bytes == 2 * PIXEL_BYTES
    assert decodes == [a, b, c]
    use(cache, a)
    use(cache, c)
    assert decodes == [a, b, c]
    use(cache, b)
    assert decodes == [a, b, c, b]


@given(order=st.lists(st.integers(0, 5), max_size=30), room=st.integers(0, 6))
def test_decoded_pixels_never_exceed_the_bound(
    order: list[int], room: int, six_files: list[Path]
) -> None:
    cache = SourceCache(max_bytes=room * PIXEL_BYTES + 7)
    for k in order:
        use(cache, six_files[k])
        assert cache.decoded_bytes <= room * PIXEL_BYTES + 7
        assert cache.decoded_bytes % PIXEL_BYTES == 0


@pytest.fixture(scope="module")
def six_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("six")
    return [save(folder / f"{k}.png", noise(64, 64, k)) for k in range(6)]


def test_an_evicted_source_gives_the_same_pixels_again(six_files: list[Path]) -> None:
    cache = SourceCache(max_bytes=PIXEL_BYTES)
    first = cache.get(six_files[0])
    view = first.full_view(BUDGET)
    before = np.asarray(first.pixels(view))
    use(cache, six_files[1])
    assert np.array_equal(np.asarray(first.pixels(view)), before)
    assert cache.decoded_bytes == PIXEL_BYTES


def test_threads_share_one_decoding_and_the_bound(
    six_files: list[Path], decodes: list[object]
) -> None:
    cache = SourceCache(max_bytes=6 * PIXEL_BYTES)
    at_once = threading.Barrier(8)

    def work(k: int) -> None:
        at_once.wait()
        for file in six_files[k % 6 :] + six_files[: k % 6]:
            use(cache, file)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert len(decodes) == 6
    assert cache.decoded_bytes == 6 * PIXEL_BYTES


def test_threads_that_evict_each_other_keep_the_account_right(six_files: list[Path]) -> None:
    cache = SourceCache(max_bytes=2 * PIXEL_BYTES)

    def work(k: int) -> None:
        for file in (six_files[k % 6 :] + six_files[: k % 6]) * 3:
            use(cache, file)
            assert cache.decoded_bytes <= 2 * PIXEL_BYTES

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert cache.decoded_bytes == 2 * PIXEL_BYTES


def test_a_changed_file_is_a_new_source(tmp_path: Path) -> None:
    cache = SourceCache()
    file = save(tmp_path / "a.png", Image.new("RGB", (8, 8), RED))
    old = cache.get(file)
    assert cache.get(file) is old
    save(file, Image.new("RGB", (9, 9), WHITE))
    new = cache.get(file)
    assert new.size == (9, 9)
    assert pixels_of(new.pixels(View(Box(0, 0, 1, 1, Frame.SOURCE), 1, 1))) == [WHITE]


def test_a_file_that_changes_before_it_is_decoded_is_refused(tmp_path: Path) -> None:
    file = save(tmp_path / "a.png", Image.new("RGB", (8, 8), RED))
    source = Source(file)
    view = source.full_view(BUDGET)
    save(file, Image.new("RGB", (8, 8), WHITE))
    os.utime(file, ns=(0, 0))
    with pytest.raises(ImageError, match="must not change while in use"):
        source.pixels(view)


def test_an_image_beyond_the_bound_drives_out_no_other(tmp_path: Path) -> None:
    pool = PixelPool(max_bytes=4 * 100)
    small = Image.new("RGB", (10, 10))
    pool.keep("small", small)
    pool.keep("large", Image.new("RGB", (10, 11)))
    assert pool.find("small") is small
    assert pool.find("large") is None
    assert pool.decoded_bytes == 400


@given(
    st.integers(8, 3000), st.integers(8, 3000), st.sampled_from([(16900, 25600), (3136, 401408)])
)
def test_views_are_kept_as_they_are_by_a_processor_told_so(
    width: int, height: int, limits: tuple[int, int]
) -> None:
    """Such as 666 x 666, which becomes 128 x 128 and is then below the least size."""
    assume(max(width, height) <= 100 * min(width, height))
    view = PixelBudget(*limits, 32).resized(width, height)
    size = PixelBudget(*limits, 32).keeping_settings()["size"]
    assert PixelBudget(size["shortest_edge"], size["longest_edge"], 32).resized(*view) == view


def photograph(width: int, height: int) -> Image.Image:
    """Return something with structures of all sizes, as photographs have."""
    layers = [noise(max(width >> k, 1), max(height >> k, 1), k) for k in (2, 4, 6)]
    layers = [layer.resize((width, height), Image.Resampling.BICUBIC) for layer in layers]
    return Image.blend(Image.blend(layers[0], layers[1], 0.6), layers[2], 0.5)


def difference(one: Image.Image, other: Image.Image) -> np.ndarray:
    off: np.ndarray = np.abs(np.asarray(one, dtype=float) - np.asarray(other, dtype=float))
    return off


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
@pytest.mark.parametrize("size", [(1600, 1200), (1601, 1203)])
def test_a_shrunken_jpeg_shows_nearly_the_same(
    size: tuple[int, int], orientation: int, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.jpg"
    photograph(*size).save(path, quality=90, exif=exif)
    source = Source(path)
    for region in (Box(0, 0, *source.size, Frame.SOURCE), Box(299, 201, 1170, 1100, Frame.SOURCE)):
        view = source.view(region, PixelBudget(4, 10_000, 2))
        exact = open_image(path).resize(
            (view.width_px, view.height_px), Image.Resampling.BICUBIC, view.region.coordinates
        )
        # A view moved by one of its pixels would differ by 10 on average.
        assert difference(source.pixels(view), exact).mean() < 1
        assert difference(source.pixels(view), exact).max() < 16


@pytest.mark.parametrize(
    ("form", "pixels", "shrink"),
    [("JPEG", 100, 8), ("JPEG", 101, 4), ("JPEG", 200, 4), ("JPEG", 800, 1), ("PNG", 100, 1)],
)
def test_an_image_is_decoded_as_small_as_its_view_allows(
    form: str, pixels: int, shrink: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "image"
    path.write_bytes(encoded(noise(1600, 1600), form))
    shrinks: list[int] = []

    def spy(source: Path, limits: ImageLimits, shrink: int) -> Image.Image:
        shrinks.append(shrink)
        return open_image(source, limits, shrink)

    monkeypatch.setattr(images, "open_image", spy)
    source = SourceCache().get(path)
    view = View(Box(0, 0, 1600, 1600, Frame.SOURCE), pixels, pixels)
    before = source.pixels(view)
    assert shrinks == [shrink]
    # The whole image in memory changes nothing of what is seen of a view.
    source.pixels(View(Box(0, 0, 900, 900, Frame.SOURCE), 900, 900))
    assert source.pixels(view).tobytes() == before.tobytes()
    assert shrinks == ([shrink, 1] if shrink > 1 else [1])


@pytest.mark.parametrize("form", MANY_FORMATS)
@pytest.mark.parametrize("shrink", [2, 4, 8])
def test_only_a_jpeg_is_shrunk(form: str, shrink: int) -> None:
    size = open_image(encoded(noise(33, 17), form), shrink=shrink).size
    assert size == ((-(-33 // shrink), -(-17 // shrink)) if form == "JPEG" else (33, 17))
