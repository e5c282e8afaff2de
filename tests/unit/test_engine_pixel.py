"""What holds for the pixel engine whatever it looks at."""

from __future__ import annotations

import hashlib
import itertools
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

import samples
from streamapp.engines.base import Engine
from streamapp.engines.pixel import Pixel
from streamapp.engines.registry import load
from streamapp.insights import Label
from streamapp.media.image import Picture, decode
from streamapp.settings import Settings

TAGS = """
    person people face car vehicle building architecture tree nature sky water beach mountain forest food animal
    dog cat bird indoor outdoor city street road sunset sunrise night day
"""
SCENES = """
    beach mountains urban office restaurant forest desert lake park indoor outdoor rural coastal mountainous
    tropical arctic
"""
ENGINE = Pixel(image_dim=512, face_dim=1024, max_faces=32)


def picture(image: Image.Image | NDArray[np.uint8]) -> Picture:
    return Picture(pixels=np.asarray(image), digest="")


def sample(name: str) -> Picture:
    return decode(samples.path(name).read_bytes(), max_pixels=10**7)


def numbers(vector: bytes) -> NDArray[np.float32]:
    return np.frombuffer(vector, "<f4")


def vector(shown: Picture) -> NDArray[np.float32]:
    return numbers(ENGINE.see([shown])[0].image_embedding.vector)


def well_formed(labels: tuple[Label, ...], known: str) -> bool:
    order = [(-label.score, label.name) for label in labels]
    names = [label.name for label in labels]
    return (
        len(labels) <= 5
        and order == sorted(order)
        and len(set(names)) == len(names)
        and set(names) <= set(known.split())
        and all(0 < label.score <= 1 for label in labels)
    )


pixels = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.integers(1, 255)).map(
    lambda drawn: np.random.default_rng(drawn[2]).integers(0, drawn[3] + 1, (drawn[0], drawn[1], 3), np.uint8)
)


@settings(deadline=None, max_examples=60)
@given(pixels)
def test_any_picture_gets_well_formed_answers(image: NDArray[np.uint8]) -> None:
    shown = picture(image)
    (sight,), (caption,), (faces,) = ENGINE.see([shown]), ENGINE.caption([shown]), ENGINE.faces([shown])
    assert well_formed(sight.tagging.tags, TAGS)
    assert well_formed(sight.scene_recognition.scenes, SCENES)
    assert 0 <= sight.moderation.confidence <= 1
    embedding = numbers(sight.image_embedding.vector)
    assert embedding.shape == (512,)
    assert np.linalg.norm(embedding.astype(np.float64)) == pytest.approx(1, abs=1e-6)
    colors = sight.scene_recognition.colors
    assert 1 <= len(colors) <= 5
    assert len(set(colors)) == len(colors)
    assert all(color[0] == "#" and len(bytes.fromhex(color[1:])) == 3 for color in colors)
    assert caption.caption
    assert (faces.width, faces.height) == (image.shape[1], image.shape[0])


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (2, 2)])
@pytest.mark.parametrize("shade", [0, 128, 255])
def test_extreme_pictures(shape: tuple[int, int], shade: int) -> None:
    shown = picture(np.full((*shape, 3), shade, np.uint8))
    assert np.isfinite(vector(shown)).all()
    assert ENGINE.faces([shown])[0].faces == ()
    assert ENGINE.see([shown])[0].moderation.is_safe


def test_one_by_one_or_together_gives_the_same() -> None:
    shown = [sample(name) for name in samples.NAMES]
    assert ENGINE.see(shown) == [sight for one in shown for sight in ENGINE.see([one])]
    assert ENGINE.caption(shown) == [caption for one in shown for caption in ENGINE.caption([one])]
    assert ENGINE.faces(shown) == [faces for one in shown for faces in ENGINE.faces([one])]
    assert len(ENGINE.see(shown)) == len(shown)
    assert (ENGINE.see([]), ENGINE.caption([]), ENGINE.faces([])) == ([], [], [])


def test_the_same_picture_gives_the_same_from_another_engine() -> None:
    other = Pixel(image_dim=512, face_dim=1024, max_faces=32)
    shown = [sample(name) for name in samples.NAMES]
    assert ENGINE.see(shown) == other.see(shown)
    assert ENGINE.faces(shown) == other.faces(shown)


def test_vectors_do_not_depend_on_the_machine() -> None:
    """They are compared with stored ones for years: a change needs another name of the model."""
    gradient = (np.arange(64 * 64 * 3).reshape(64, 64, 3) % 251).astype(np.uint8)
    (sight,) = ENGINE.see([picture(gradient)])
    (face,) = ENGINE.faces([sample("profile_lena")])[0].faces
    assert ENGINE.model == "pixel-1"
    assert hashlib.sha256(sight.image_embedding.vector).hexdigest()[:16] == "ace748fde571b2e7"
    assert face.embedding is not None
    assert hashlib.sha256(face.embedding).hexdigest()[:16] == "bc0570854b0d06c3"


def test_widths_are_arguments() -> None:
    small = Pixel(image_dim=5, face_dim=7, max_faces=32)
    assert len(numbers(small.see([sample("beach")])[0].image_embedding.vector)) == 5
    face = small.faces([sample("profile_lena")])[0].faces[0]
    assert face.embedding is not None
    assert len(numbers(face.embedding)) == 7


def test_similar_pictures_have_similar_vectors_and_others_do_not() -> None:
    beach = sample("beach")
    softer = picture(beach.image().filter(ImageFilter.GaussianBlur(2)).resize((320, 240)))
    assert vector(beach) @ vector(softer) > 0.98
    assert vector(beach) @ vector(sample("beach_people")) > 0.9
    names = ("beach", "beach_sunset", "forest", "street", "unsafe")
    for one, other in itertools.combinations(names, 2):
        assert vector(sample(one)) @ vector(sample(other)) < 0.7, (one, other)


def test_dominant_colours_are_ordered_by_area() -> None:
    image = Image.new("RGB", (100, 100), "#204060")
    image.paste("#E0C080", (0, 0, 100, 30))
    image.paste("#FF0000", (0, 0, 10, 30))
    assert ENGINE.see([picture(image)])[0].scene_recognition.colors[:2] == ("#204060", "#E0C080")


@pytest.mark.parametrize(
    ("color", "name"),
    [("#000000", "black"), ("#909090", "grey"), ("#8040A0", "purple"), ("#C03020", "red"), ("#E8D030", "yellow")],
)
def test_a_picture_of_nothing_known_is_captioned_by_its_colours(color: str, name: str) -> None:
    wall = picture(Image.new("RGB", (60, 40), color))
    assert ENGINE.caption([wall])[0].caption == f"A picture in {name}"


def checker(squares: int, color: str, other: str, size: tuple[int, int] = (640, 480)) -> Image.Image:
    image = Image.new("RGB", size, "#C0C8D0")
    side = min(size) // 24
    for place in range(2 * squares):
        x, y = place % 8 * side, place // 8 * side
        fill = color if (place + place // 8) % 2 == 0 else other
        ImageDraw.Draw(image).rectangle((x + 50, y + 60, x + side + 49, y + side + 59), fill)
    return image


@pytest.mark.parametrize("quality", [60, 90])
@pytest.mark.parametrize("size", [(320, 240), (640, 480), (1000, 1000)])
def test_the_magenta_checker_is_unsafe(quality: int, size: tuple[int, int]) -> None:
    buffer = BytesIO()
    checker(24, "#FF00FF", "#101010", size).save(buffer, "JPEG", quality=quality)
    moderation = ENGINE.see([decode(buffer.getvalue(), max_pixels=10**7)])[0].moderation
    assert not moderation.is_safe
    assert moderation.confidence > 0.9


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (640, 480), "#FF00FF"),
        checker(24, "#FF00FF", "#FF00FF"),
        checker(24, "#FFFFFF", "#000000"),
        checker(24, "#E060C0", "#101010"),
        checker(24, "#FF0000", "#101010"),
        checker(3, "#FF00FF", "#101010"),
    ],
    ids=["plain magenta", "magenta patch", "chess board", "pink", "red", "a few squares"],
)
def test_less_than_the_checker_is_safe(image: Image.Image) -> None:
    moderation = ENGINE.see([picture(image)])[0].moderation
    assert moderation.is_safe
    assert moderation.confidence > 0.5


def test_a_desert_is_no_beach_and_a_blue_wall_no_water() -> None:
    desert = Image.new("RGB", (320, 240), "#6CB0EC")
    desert.paste("#E8CC94", (0, 120, 320, 240))
    sight = ENGINE.see([picture(desert)])[0]
    assert {"sky"} <= {tag.name for tag in sight.tagging.tags}
    assert not {"beach", "water"} & {tag.name for tag in sight.tagging.tags}
    assert sight.scene_recognition.scenes[0].name == "desert"
    wall = Image.new("RGB", (320, 240), "#D8D4CC")
    wall.paste("#2060A0", (0, 100, 320, 240))
    assert ENGINE.see([picture(wall)])[0].tagging.tags == ()


def test_the_settings_name_the_engine(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STREAMAPP_ENGINE", raising=False)
    engine: Engine = load(Settings(image_embedding_dim=6, face_embedding_dim=9, max_faces=1, _env_file=None))
    assert engine.model == "pixel-1"
    assert len(numbers(engine.vision.see([sample("beach")])[0].image_embedding.vector)) == 6
    (face,) = engine.faces.faces([sample("beach_sunset")])[0].faces
    assert face.embedding is not None
    assert len(numbers(face.embedding)) == 9
