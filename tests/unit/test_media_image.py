"""Decoding, of files that Pillow writes and of files that are broken."""

from __future__ import annotations

import hashlib
import zlib
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import samples
from streamapp.media.image import EXIF_ORIENTATION, ImageError, Picture, decode, shrinkage

LIMIT = 1_000_000


def scene(width: int = 64, height: int = 48) -> Image.Image:
    """Red at the left, blue at the right, brighter to the bottom; and no two quarters alike."""
    y, x = np.indices((height, width))
    red, blue = 255 * (x < width / 2), 255 * (x >= width / 2)
    pixels = np.stack([red, 255 * y // height, blue], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def saved(image: Image.Image, name: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def off(picture: Picture, image: Image.Image) -> float:
    """Mean difference per channel, 0..255."""
    expected: NDArray[np.int16] = np.asarray(image).astype(np.int16)
    return float(np.abs(picture.pixels.astype(np.int16) - expected).mean())


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 8),
        ("JPEG", {"quality": 95}, 4),
        ("JPEG", {"quality": 95, "progressive": True}, 4),
        ("GIF", {}, 8),
    ],
)
def test_formats(name: str, options: dict[str, object], tolerance: float) -> None:
    raw = saved(scene(), name, **options)
    picture = decode(raw, max_pixels=LIMIT)
    assert picture.pixels.shape == (48, 64, 3)
    assert picture.pixels.dtype == np.uint8
    assert (picture.width, picture.height) == (64, 48)
    assert picture.digest == hashlib.sha256(raw).hexdigest()
    assert off(picture, scene()) <= tolerance
    assert off(Picture(pixels=np.asarray(picture.image()), digest=""), scene()) <= tolerance


@pytest.mark.parametrize("name", ["GIF", "PNG", "WEBP"])
def test_the_first_of_several_frames(name: str) -> None:
    frames = [Image.new("RGB", (30, 20), color) for color in ("red", "green", "blue")]
    raw = saved(frames[0], name, save_all=True, append_images=frames[1:], duration=100)
    assert off(decode(raw, max_pixels=LIMIT), frames[0]) < 3


def test_several_frames_in_a_jpeg() -> None:
    raw = saved(scene(), "MPO", save_all=True, append_images=[Image.new("RGB", (64, 48))])
    assert off(decode(raw, max_pixels=LIMIT), scene()) < 10


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("1", "PNG"),
        ("L", "PNG"),
        ("L", "JPEG"),
        ("LA", "PNG"),
        ("P", "PNG"),
        ("RGBA", "PNG"),
        ("RGBA", "WEBP"),
        ("CMYK", "JPEG"),
    ],
)
def test_colour_modes(mode: str, name: str) -> None:
    image = scene().convert(mode)
    picture = decode(saved(image, name, quality=95), max_pixels=LIMIT)
    assert picture.pixels.shape == (48, 64, 3)
    assert off(picture, image.convert("RGB")) < 12


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    grey = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    picture = decode(saved(Image.fromarray(grey), "PNG"), max_pixels=LIMIT)
    assert np.abs(picture.pixels[..., 0].astype(int) - grey // 257).max() <= 1
    assert (picture.pixels[..., 0] == picture.pixels[..., 2]).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(mode: str) -> None:
    image = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (5, 0, 10, 10))
    picture = decode(saved(image.convert(mode), "PNG"), max_pixels=LIMIT)
    assert (picture.pixels[:, :5] == 255).all()
    assert (picture.pixels[:, 5:] == 0).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation: int) -> None:
    """EXIF tells on which sides of the stored image the upright one has its top and its left."""
    upright = np.asarray(scene())
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    picture = decode(saved(Image.fromarray(stored), "PNG", exif=exif), max_pixels=LIMIT)
    assert (picture.width, picture.height) == (64, 48)
    assert off(picture, scene()) == 0


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_is_none_changes_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    assert off(decode(saved(scene(), "PNG", exif=exif), max_pixels=LIMIT), scene()) == 0


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # which Pillow says, and still gives the image
def test_broken_metadata_does_not_make_an_image_worse() -> None:
    raw = saved(scene(), "JPEG", quality=95, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05garbage")
    assert off(decode(raw, max_pixels=LIMIT), scene()) < 4


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not an image: empty"),
        (b"<!doctype html><p>", r"not an image: starts with b'<!doctype ht'"),
        (b"BM" + bytes(60), "not an image"),
        (b"%PDF-1.7", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        (b"RIFF\0\0\0\0WAVEfmt ", "not an image"),
        (b"\xff\xd8\xff", "truncated or corrupt JPEG"),
        (b"\x89PNG\r\n\x1a\n", "truncated or corrupt PNG"),
        (b"GIF89a", "truncated or corrupt GIF"),
        (b"RIFF\0\0\0\0WEBP", "truncated or corrupt WEBP"),
    ],
)
def test_what_is_no_image_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        decode(raw, max_pixels=LIMIT)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_a_truncated_image_is_refused(name: str, part: float) -> None:
    noise = np.random.default_rng(7).integers(0, 256, (48, 64, 3), np.uint8)
    raw = saved(Image.fromarray(noise), name)
    with pytest.raises(ImageError, match=f"truncated or corrupt {name}"):
        decode(raw[: int(len(raw) * part)], max_pixels=LIMIT)


def test_the_pixel_limit() -> None:
    raw = saved(scene(), "PNG")
    assert decode(raw, max_pixels=64 * 48).width == 64
    with pytest.raises(ImageError, match="PNG of 64x48 is larger than 3071 pixels"):
        decode(raw, max_pixels=64 * 48 - 1)


def test_the_pixel_limit_is_checked_before_there_are_pixels() -> None:
    """A file of a few bytes that says it is 60000 x 60000, more than Pillow's own limit."""
    raw = bytearray(saved(Image.new("1", (1, 1)), "PNG"))
    raw[16:24] = (60000).to_bytes(4, "big") * 2
    raw[29:33] = zlib.crc32(raw[12:29]).to_bytes(4, "big")
    with pytest.raises(ImageError, match="60000x60000 is larger"):
        decode(bytes(raw), max_pixels=LIMIT)


def test_pixels_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        decode(saved(scene(), "PNG"), max_pixels=LIMIT).pixels[0, 0, 0] = 1


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage_gives_a_picture_or_an_image_error(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF"]))
    raw = bytearray(saved(scene(), name))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    del raw[data.draw(st.integers(len(raw) // 2, len(raw))) :]
    with suppress(ImageError):
        picture = decode(bytes(raw), max_pixels=LIMIT)
        assert picture.pixels.shape[2] == 3
        assert picture.width * picture.height <= LIMIT


def test_the_samples_decode() -> None:
    for name in samples.NAMES:
        assert decode(samples.path(name).read_bytes(), max_pixels=LIMIT).height == 480


@pytest.mark.parametrize(
    ("width", "height", "scale"),
    [
        (640, 480, 1),
        (1920, 1080, 1),
        (1920, 1919, 1),
        (1920, 1920, 2),
        (4032, 3024, 2),
        (3024, 4032, 2),
        (6000, 4000, 4),
        (8660, 5774, 4),
        (7680, 7680, 8),
        (60_000, 60_000, 32),
        (3838, 1919, 1),
        (4000, 1919, 2),  # longer than 2 to 1, and no more pixels for it
        (26_000, 1919, 4),
        (1919, 26_000, 4),
        (50_000, 1000, 4),
        (50_000_000, 1, 8),
        (1, 1, 1),
    ],
)
def test_shrinkage_leaves_the_shorter_side(width: int, height: int, scale: int) -> None:
    assert shrinkage(width, height, 960) == scale
    assert shrinkage(width, height, 0) == 1


@given(width=st.integers(1, 2**20), height=st.integers(1, 2**20), min_side=st.integers(1, 4000))
def test_shrinkage_bounds_the_pixels_and_goes_no_further(width: int, height: int, min_side: int) -> None:
    def much(scale: int) -> bool:
        return -(-width // scale) * -(-height // scale) > 8 * min_side**2

    scale = shrinkage(width, height, min_side)
    assert not much(scale)
    assert scale == 1 or much(scale // 2) or min(width, height) >= scale * min_side


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_long_picture_is_bounded_in_pixels(name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    raw = saved(scene(3001, 199), name, exif=exif, quality=95)
    whole, picture = decode(raw, max_pixels=LIMIT), decode(raw, max_pixels=LIMIT, min_side=100)
    assert whole.scale == 1
    assert picture.scale == 4
    assert picture.pixels.nbytes <= 24 * 100**2 < whole.pixels.nbytes
    assert (picture.full_width, picture.full_height) == (whole.width, whole.height)
    assert sorted((picture.width, picture.height)) == [50, 751]
    assert off(picture, whole.image().reduce(4)) < 6


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("RGB", "JPEG"),
        ("L", "JPEG"),
        ("CMYK", "JPEG"),
        ("RGB", "PNG"),
        ("P", "PNG"),
        ("1", "PNG"),
        ("RGBA", "PNG"),
        ("RGB", "WEBP"),
        ("RGB", "GIF"),
    ],
)
@pytest.mark.parametrize("scale", [2, 4, 8, 16])
@pytest.mark.parametrize("size", [(640, 480), (643, 481), (481, 643)])
def test_a_shrunk_picture_is_the_same_picture(mode: str, name: str, scale: int, size: tuple[int, int]) -> None:
    raw = saved(scene(*size).convert(mode), name, quality=95)
    whole = decode(raw, max_pixels=LIMIT)
    picture = decode(raw, max_pixels=LIMIT, min_side=min(size) // scale)
    assert picture.scale == scale
    assert (picture.full_width, picture.full_height) == size == (whole.width, whole.height)
    assert (whole.full_width, whole.full_height, whole.scale) == (*size, 1)
    assert (picture.width, picture.height) == (-(-size[0] // scale), -(-size[1] // scale))
    assert picture.digest == whole.digest
    assert off(picture, whole.image().reduce(scale)) < 4


@pytest.mark.parametrize("name", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_a_shrunk_picture(name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    raw = saved(scene(101, 100), name, exif=exif, quality=95)
    whole, picture = decode(raw, max_pixels=LIMIT), decode(raw, max_pixels=LIMIT, min_side=50)
    assert picture.scale == 2
    assert (picture.full_width, picture.full_height) == (whole.width, whole.height)
    assert (whole.width, whole.height) == ((101, 100) if orientation < 5 else (100, 101))
    assert off(picture, whole.image().reduce(2)) < 6


def test_transparency_of_a_shrunk_picture_is_white() -> None:
    image = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (20, 0, 40, 40))
    picture = decode(saved(image, "PNG"), max_pixels=LIMIT, min_side=5)
    assert picture.scale == 8
    assert (picture.pixels[:, :2] == 255).all()
    assert (picture.pixels[:, 3:] == (255, 0, 0)).all()


def test_boxes_are_told_in_pixels_of_the_file() -> None:
    raw = saved(scene(101, 99), "PNG")
    picture = decode(raw, max_pixels=LIMIT, min_side=40)
    assert (picture.scale, picture.width, picture.height) == (2, 51, 50)
    assert picture.full_box(10, 20, 5, 6) == (20, 40, 10, 12)
    assert picture.full_box(0, 0, 51, 50) == (0, 0, 101, 99)
    assert decode(raw, max_pixels=LIMIT).full_box(10, 20, 91, 79) == (10, 20, 91, 79)
    assert Picture(pixels=picture.pixels, digest="").full_box(1, 2, 3, 4) == (1, 2, 3, 4)


@pytest.mark.parametrize(("mode", "name"), [("RGB", "PNG"), ("P", "PNG"), ("RGB", "JPEG"), ("LA", "PNG")])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (20, 20), (600, 12), (19, 600)])
def test_tiny_and_thin_pictures(mode: str, name: str, size: tuple[int, int]) -> None:
    raw = saved(scene(*size).convert(mode), name)
    for min_side in (0, 1, 6, 960):
        picture = decode(raw, max_pixels=LIMIT, min_side=min_side)
        assert (picture.full_width, picture.full_height) == size
        assert min(picture.width, picture.height) >= 1


def png(bits: int, colour: int, width: int, row: bytes, transparent: bytes = b"") -> bytes:
    """Pillow cannot write these: one row, with the colour that is transparent."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes([bits, colour, 0, 0, 0])
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + (chunk(b"tRNS", transparent) if transparent else b"")
    return start + chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")


def wide(*samples: int) -> bytes:
    return np.array(samples, ">u2").tobytes()


def test_sixteen_bit_colour() -> None:
    raw = png(16, 2, 2, wide(65535, 0, 0, 0x8000, 0x8000, 0x8000))
    assert decode(raw, max_pixels=LIMIT).pixels.tolist() == [[[255, 0, 0], [128, 128, 128]]]


GREY, COLOUR = 0, 2


@pytest.mark.parametrize(
    ("raw", "reds"),
    [
        (png(1, GREY, 2, b"\x40", wide(0)), [255, 255]),
        (png(1, GREY, 2, b"\x40", wide(1)), [0, 255]),
        (png(2, GREY, 4, b"\x1b", wide(1)), [0, 255, 170, 255]),
        (png(4, GREY, 2, b"\x5a", wide(5)), [255, 170]),
        (png(8, GREY, 2, b"\x05\x06", wide(5)), [255, 6]),
        (png(16, GREY, 3, wide(0, 1, 0x8000), wide(0)), [255, 0, 128]),
        (png(16, GREY, 3, wide(0x1234, 0x1235, 0xFFFF), wide(0x1234)), [255, 18, 255]),
        (png(8, COLOUR, 2, b"\x09\x09\x09\x09\x09\x08", wide(9, 9, 9)), [255, 9]),
        (png(16, COLOUR, 2, wide(*[0x1234] * 3, 0x1234, 0x1234, 0x1334), wide(*[0x1234] * 3)), [255, 18]),
    ],
    ids=[
        "grey 1 black",
        "grey 1 white",
        "grey 2",
        "grey 4",
        "grey 8",
        "grey 16",
        "grey 16 exactly",
        "colour 8",
        "colour 16",
    ],
)
def test_a_transparent_colour_is_white_at_any_depth(raw: bytes, reds: list[int]) -> None:
    assert decode(raw, max_pixels=LIMIT).pixels[0, :, 0].tolist() == reds


def test_a_transparent_grey_of_a_shrunk_picture_is_white() -> None:
    raw = png(16, GREY, 1600, wide(*[0x1234] * 800, *[0x8000] * 800), wide(0x1234))
    picture = decode(raw, max_pixels=LIMIT, min_side=1)
    assert picture.scale == 256
    assert picture.pixels[0, :, 0].tolist() == [255] * 3 + [144] + [128] * 3  # the fourth is an eighth white
