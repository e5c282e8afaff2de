"""What the pixel engine says of the samples, also when they are resized, encoded anew, cropped, lit or mirrored."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import pytest
from PIL import Image, ImageEnhance, ImageOps

import samples
from streamapp.engines.pixel import Pixel
from streamapp.media.image import Picture, decode

ENGINE = Pixel(image_dim=512, face_dim=1024, max_faces=32)

# name: (tags that must be said, tags that may be, scenes that must be, caption, faces)
EXPECTED: dict[str, tuple[str, str, str, str, int]] = {
    "beach": ("beach", "water sky outdoor day", "beach", "A beach under a blue sky", 0),
    "beach_people": ("beach people", "water sky outdoor day", "beach", "A beach with people under a blue sky", 0),
    "beach_sunset": ("beach people sunset", "face water sky outdoor", "beach", "A beach with people at sunset", 2),
    "forest": ("forest tree nature", "outdoor", "forest", "A forest", 0),
    "street": ("street city building", "road architecture sky day outdoor", "urban", "A city street", 0),
    "profile_lena": ("person face", "", "", "A portrait of a person", 1),
    "profile_omar": ("person face", "", "", "A portrait of a person", 1),
    "unsafe": ("", "", "", "A picture in", 0),
}


def encoded(image: Image.Image, name: str = "JPEG", quality: int = 90) -> Picture:
    buffer = BytesIO()
    image.save(buffer, name, quality=quality)
    return decode(buffer.getvalue(), max_pixels=10**7)


def cropped(image: Image.Image) -> Image.Image:
    x, y = image.width // 20, image.height // 20
    return image.crop((x, y, image.width - x, image.height - y))


VARIATIONS: dict[str, Callable[[Image.Image], Picture]] = {
    "half size": lambda image: encoded(image.resize((image.width // 2, image.height // 2))),
    "larger": lambda image: encoded(image.resize((image.width * 3 // 2, image.height * 3 // 2))),
    "other sides": lambda image: encoded(image.resize((image.width * 7 // 8, image.height * 4 // 5))),
    "jpeg 60": lambda image: encoded(image, quality=60),
    "webp": lambda image: encoded(image, "WEBP", 80),
    "png": lambda image: encoded(image, "PNG"),
    "gif": lambda image: encoded(image, "GIF"),
    "cropped": lambda image: encoded(cropped(image)),
    "lighter": lambda image: encoded(ImageEnhance.Brightness(image).enhance(1.1)),
    "darker": lambda image: encoded(ImageEnhance.Brightness(image).enhance(0.9)),
    "mirrored": lambda image: encoded(ImageOps.mirror(image)),
}


def check(name: str, shown: Picture) -> None:
    must, may, scenes, caption, faces = EXPECTED[name]
    (sight,) = ENGINE.see([shown])
    tags = {tag.name for tag in sight.tagging.tags}
    assert set(must.split()) <= tags <= set(must.split()) | set(may.split())
    found = [scene.name for scene in sight.scene_recognition.scenes]
    assert found[:1] == scenes.split()
    assert set(found) <= {*scenes.split(), "outdoor", "coastal"}
    assert "coastal" not in found or "beach" in found
    assert ENGINE.caption([shown])[0].caption.startswith(caption)
    assert len(ENGINE.faces([shown])[0].faces) == faces
    assert sight.moderation.is_safe is (name != "unsafe")
    assert sight.moderation.confidence > 0.9


@pytest.mark.parametrize("name", samples.NAMES)
def test_a_sample_is_seen_for_what_it_is(name: str) -> None:
    check(name, decode(samples.path(name).read_bytes(), max_pixels=10**7))


@pytest.mark.parametrize("variation", VARIATIONS)
@pytest.mark.parametrize("name", samples.NAMES)
def test_and_so_is_a_variation_of_it(name: str, variation: str) -> None:
    with Image.open(samples.path(name)) as image:
        check(name, VARIATIONS[variation](image.convert("RGB")))
