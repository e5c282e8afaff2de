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
from streamapp.media.image import EXIF_ORIENTATION, ImageError, Picture, decode

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
