"""Drawn faces: found wherever they are, told apart, and nothing else taken for one."""

from __future__ import annotations

import itertools
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

import samples
from streamapp.engines.marker import HEIGHT, IDENTITIES, INK, SKINS, Color, Identity, draw
from streamapp.engines.pixel_faces import find_faces, vector
from streamapp.insights import Face
from streamapp.media.image import Picture, decode

DIM = 1024


def portrait(
    width: float, hat: Identity, skin: Color = SKINS[0], at: tuple[float, float] = (60, 40), background: str = "teal"
) -> Image.Image:
    """Drawn three times as large as it is shown, like the samples."""
    image = Image.new("RGB", (3 * 400, 3 * 400), background)
    draw(image, left=3 * at[0], top=3 * at[1], width=3 * width, hat=hat, skin=skin)
    return image.resize((400, 400), Image.Resampling.LANCZOS)


def look(image: Image.Image, *, quality: int = 90, limit: int = 32) -> tuple[Face, ...]:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return find_faces(decode(buffer.getvalue(), max_pixels=10**8), dim=DIM, limit=limit)


def who(face: Face) -> Identity | None:
    return next((identity for identity in IDENTITIES if vector(identity, DIM) == face.embedding), None)


def overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Common part of two boxes (x, y, width, height), as a part of what they cover together."""
    across = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    down = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(across, 0) * max(down, 0)
    return common / (a[2] * a[3] + b[2] * b[3] - common)


@settings(deadline=None, max_examples=50)
@given(
    hat=st.sampled_from(IDENTITIES),
    skin=st.sampled_from(SKINS),
    width=st.floats(55, 220),
    at=st.tuples(st.floats(5, 120), st.floats(5, 70)),
    background=st.sampled_from(["white", "black", "teal", "tan", "orange", "#E8B89C"]),
    quality=st.sampled_from([75, 90, 95]),
    mirrored=st.booleans(),
)
def test_a_face_is_found_where_it_is_and_read(
    hat: Identity,
    skin: Color,
    width: float,
    at: tuple[float, float],
    background: str,
    quality: int,
    mirrored: bool,
) -> None:
    image = portrait(width, hat, skin, at, background)
    x = 400 - at[0] - width if mirrored else at[0]
    (face,) = look(ImageOps.mirror(image) if mirrored else image, quality=quality)
    assert overlap(face.bbox, (x, at[1], width, HEIGHT * width)) > 0.85
    assert face.confidence > 0.72
    assert face.quality is not None
    assert 0 < face.quality <= face.confidence
    assert who(face) == hat


@pytest.mark.parametrize("scale", [0.4, 0.7, 1.0, 1.9, 4.0])
def test_resizing_keeps_who_it_is_and_moves_the_box(scale: float) -> None:
    side = round(400 * scale)
    image = portrait(120, IDENTITIES[77]).resize((side, side), Image.Resampling.BICUBIC)
    (face,) = look(image)
    assert who(face) == IDENTITIES[77]
    assert overlap(face.bbox, (60 * scale, 40 * scale, 120 * scale, HEIGHT * 120 * scale)) > 0.85


def test_identities_have_vectors_far_apart() -> None:
    vectors = np.stack([np.frombuffer(vector(identity, DIM), "<f4") for identity in IDENTITIES]).astype(np.float64)
    assert len(IDENTITIES) == 216
    cosines = vectors @ vectors.T
    assert np.diag(cosines) == pytest.approx(np.ones(216), abs=1e-6)
    assert np.abs(cosines - np.diag(np.diag(cosines))).max() < 0.2


def test_the_people_of_the_samples_are_the_same_in_two_pictures() -> None:
    both = look(Image.open(samples.path("beach_sunset")))
    left, right = sorted(both, key=lambda face: face.bbox[0])
    (lena,) = look(Image.open(samples.path("profile_lena")))
    (omar,) = look(Image.open(samples.path("profile_omar")))
    assert left.embedding == lena.embedding == vector(samples.HATS["lena"], DIM)
    assert right.embedding == omar.embedding == vector(samples.HATS["omar"], DIM)
    assert lena.embedding != omar.embedding


def test_a_crowd_is_sorted_and_limited() -> None:
    image = Image.new("RGB", (960, 640), "teal")
    hats = IDENTITIES[::20]
    for index, hat in enumerate(hats):
        x, y = 20 + index % 6 * 150, 40 + index // 6 * 260
        draw(image, left=x, top=y, width=80 + 3 * index, hat=hat, skin=SKINS[index % 3])
    everybody = look(image)
    assert {who(face) for face in everybody} == set(hats)
    order = [(-face.confidence, face.bbox[1], face.bbox[0]) for face in everybody]
    assert order == sorted(order)
    assert look(image, limit=4) == everybody[:4]


def test_equal_confidence_is_ordered_by_place() -> None:
    image = Image.new("RGB", (600, 500), "teal")
    for x, y in ((304, 264), (40, 264), (304, 40), (40, 40)):
        draw(image, left=x, top=y, width=112, hat=IDENTITIES[5], skin=SKINS[0])
    found = find_faces(Picture(pixels=np.asarray(image), digest=""), dim=DIM, limit=9)
    assert len({face.confidence for face in found}) == 1
    assert [(face.bbox[0] > 200, face.bbox[1] > 200) for face in found] == [
        (False, False),
        (True, False),
        (False, True),
        (True, True),
    ]


def test_a_face_whose_hat_cannot_be_read_has_no_vector() -> None:
    image = portrait(150, IDENTITIES[5])
    image.paste("#808080", (50, 30, 220, 118))
    (face,) = look(image)
    assert face.embedding is None
    assert face.confidence > 0.8


def test_a_face_cut_off_above_has_no_vector_and_a_box_within() -> None:
    image = portrait(150, IDENTITIES[5]).crop((0, 90, 400, 400))
    (face,) = look(image)
    assert face.embedding is None
    assert face.bbox[1] == 0


def test_a_face_of_few_pixels_is_none() -> None:
    assert look(portrait(9, IDENTITIES[5])) == ()


@pytest.mark.parametrize("seed", range(5))
def test_noise_has_no_faces(seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (300, 400, 3), np.uint8)
    coarse = Image.fromarray(noise[:30, :40]).resize((400, 300), Image.Resampling.NEAREST)
    assert look(Image.fromarray(noise)) == look(coarse) == ()


def test_skin_in_the_shape_of_a_face_is_none() -> None:
    """Without eyes and mouth, with the eyes alone, and upside down."""
    plain = Image.new("RGB", (400, 400), SKINS[0])
    frame = Image.new("RGB", (400, 400), INK)
    frame.paste(plain.resize((100, 82)), (60, 90))
    assert look(frame) == ()
    frame.paste("white", (80, 110, 100, 130))
    frame.paste("white", (120, 110, 140, 130))
    assert look(frame) == ()
    assert look(ImageOps.flip(portrait(150, IDENTITIES[5]))) == ()


def test_the_other_samples_have_no_faces() -> None:
    for name, (a, b) in itertools.product(("beach", "beach_people", "forest", "street", "unsafe"), [(1, 1), (2, 3)]):
        image = Image.open(samples.path(name))
        assert look(image.resize((image.width * a // b, image.height * a // b))) == (), name
