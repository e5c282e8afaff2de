"""Faces: MTCNN with its real weights, so what is found is tested for real; the vectors are of a tiny model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_models import RUNTIME
from tiny_pictures import picture

from streamapp.engines.face_quality import frontality, quality, sharpness
from streamapp.engines.facenet import FaceNet
from streamapp.engines.tensors import scaled
from streamapp.engines.weights import ModelsError
from streamapp.media.image import Picture

pytest_plugins = ["tiny_fixtures"]

ASTRONAUT = (181.1, 62.2, 267.7, 172.1)  # left, top, right, bottom, by facenet-pytorch itself with its defaults


def finder(models_dir: Path, *, max_faces: int = 32, smallest: int = 40, side: int = 1280) -> FaceNet:
    return FaceNet(
        models_dir / "facenet",
        revision="tiny",
        dim=1024,
        max_faces=max_faces,
        min_face_size=smallest,
        search_side=side,
        runtime=RUNTIME,
    )


def corners(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    return box[0], box[1], box[0] + box[2], box[1] + box[3]


def test_the_astronaut_has_one_face_where_it_is(models_dir: Path, astronaut: Picture) -> None:
    (found,) = finder(models_dir, smallest=20).faces([astronaut])
    (face,) = found.faces
    assert (found.width, found.height) == (512, 512)
    assert corners(face.bbox) == pytest.approx(ASTRONAUT, abs=0.51)
    assert face.confidence == pytest.approx(0.9999977, abs=1e-4)
    assert face.quality is not None
    assert 0.9 < face.quality <= 1
    vector = np.frombuffer(face.embedding or b"", "<f4")
    assert vector.shape == (1024,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    assert [np.linalg.norm(half) for half in np.split(vector, 2)] == pytest.approx([0.5**0.5] * 2, abs=1e-6)


def test_by_default_the_box_is_nearly_the_same(facenet: FaceNet, astronaut: Picture) -> None:
    (face,) = facenet.faces([astronaut])[0].faces
    assert corners(face.bbox) == pytest.approx(ASTRONAUT, abs=2.5)


def test_where_nobody_is_nobody_is_found(facenet: FaceNet, photographs: list[Picture], odd: dict[str, Picture]) -> None:
    nobody = [*photographs[1:], odd["black"], odd["noise"]]
    assert [found.faces for found in facenet.faces(nobody)] == [()] * len(nobody)


def test_the_second_half_is_of_the_mirror_image(facenet: FaceNet, astronaut: Picture) -> None:
    crop = scaled(astronaut.pixels[62:172, 181:268], (160, 160), "bilinear")
    (face, turned) = (np.frombuffer(raw, "<f4") for raw in facenet._embed([crop, crop.flip(2)]))
    a, b = np.split(face, 2)
    c, d = np.split(turned, 2)
    assert np.abs(a - d).max() < 2e-6
    assert np.abs(b - c).max() < 2e-6
    assert np.abs(a - b).max() > 1e-3


def test_odd_pictures_hurt_nobody(facenet: FaceNet, odd: dict[str, Picture], astronaut: Picture) -> None:
    *found, last = facenet.faces([*odd.values(), astronaut])
    assert len(last.faces) == 1
    counts = {name: len(each.faces) for name, each in zip(odd, found, strict=True)}
    coloured = {"grey", "palette", "RGBA", "CMYK"}  # an astronaut each
    assert {name for name, count in counts.items() if count} - {"1 bit"} == coloured


def test_many_faces_are_sorted_limited_and_within(models_dir: Path, astronaut: Picture) -> None:
    tiled = picture(np.tile(astronaut.pixels, (2, 2, 1)))
    everybody = finder(models_dir).faces([tiled])[0].faces
    assert len(everybody) == 4
    assert all(face.confidence > 0.999 for face in everybody)
    order = [(-face.confidence, face.bbox[1], face.bbox[0]) for face in everybody]
    assert order == sorted(order)
    assert finder(models_dir, max_faces=2).faces([tiled])[0].faces == everybody[:2]


def test_a_large_picture_is_searched_smaller_and_told_in_its_own_pixels(models_dir: Path, astronaut: Picture) -> None:
    large = picture(np.asarray(Image.fromarray(astronaut.pixels).resize((1536, 1536), Image.Resampling.BICUBIC)))
    (found,) = finder(models_dir, side=512).faces([large])
    (face,) = found.faces
    assert (found.width, found.height) == (1536, 1536)
    assert corners(face.bbox) == pytest.approx([3 * value for value in ASTRONAUT], abs=9)
    assert not finder(models_dir, side=80).faces([large])[0].faces  # of 14 pixels there


def test_boxes_are_of_the_file_where_it_was_decoded_smaller(facenet: FaceNet, astronaut: Picture) -> None:
    small = Picture(pixels=astronaut.pixels, digest="", scale=2, file_size=(1023, 1024))
    (found,), (plain,) = facenet.faces([small]), facenet.faces([astronaut])
    assert (found.width, found.height) == (1023, 1024)
    assert found.faces[0].bbox == tuple(2 * value for value in plain.faces[0].bbox)
    assert found.faces[0].embedding == plain.faces[0].embedding


def test_a_face_cut_off_by_the_edge_has_a_box_within(facenet: FaceNet, astronaut: Picture) -> None:
    cut = picture(astronaut.pixels[:, 215:])
    (face,) = facenet.faces([cut])[0].faces
    assert face.bbox[0] == 0
    assert face.embedding is not None


def test_a_crowd_is_embedded_as_one_by_one(facenet: FaceNet, astronaut: Picture) -> None:
    """More faces than are embedded at once, and each gets its own vector."""
    shades = [picture((astronaut.pixels * (1 - 0.05 * n)).astype(np.uint8)) for n in range(9)]
    together = [found.faces[0].embedding or b"" for found in facenet.faces(shades)]
    alone = [facenet.faces([each])[0].faces[0].embedding or b"" for each in shades]
    vectors, expected = (np.stack([np.frombuffer(raw, "<f4") for raw in raws]) for raws in (together, alone))
    assert np.abs(vectors - expected).max() < 2e-6
    assert (np.argmax(vectors @ expected.T, axis=1) == np.arange(9)).all()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    block=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_picture_raises(facenet: FaceNet, width: int, height: int, block: int, seed: int) -> None:
    small = np.random.default_rng(seed).integers(0, 256, (-(-height // block), -(-width // block), 3), np.uint8)
    pixels = small.repeat(block, 0).repeat(block, 1)[:height, :width]
    for face in facenet.faces([picture(pixels)])[0].faces:
        left, top, right, bottom = corners(face.bbox)
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height


def test_a_width_that_is_not_1024_is_refused(models_dir: Path) -> None:
    with pytest.raises(ModelsError, match="STREAMAPP_FACE_EMBEDDING_DIM is 512"):
        FaceNet(models_dir / "facenet", revision="", dim=512, max_faces=1, runtime=RUNTIME)


# --- quality -------------------------------------------------------------------------------------------------------

FRONTAL = np.array([[40.0, 60], [120, 60], [80, 90], [50, 120], [110, 120]])
CRISP = np.random.default_rng(0).integers(0, 256, (160, 160, 3), np.uint8)


def rated(*, confidence: float = 1.0, side: float = 200, crop: object = CRISP, landmarks: object = FRONTAL) -> float:
    return quality(confidence=confidence, side=side, crop=crop, landmarks=landmarks)  # type: ignore[arg-type]


def test_quality_is_the_worst_property_times_the_confidence() -> None:
    assert rated() == 1
    assert rated(confidence=0.8) == 0.8
    assert rated(side=20) == 0.25
    assert rated(side=20, confidence=0.8) == 0.2
    assert rated(crop=np.full((160, 160, 3), 90, np.uint8)) == 0


@pytest.mark.parametrize(("nose", "expected"), [(80, 1.0), (100, 0.5), (60, 0.5), (120, 0.0), (150, 0.0), (30, 0.0)])
def test_a_nose_beside_the_middle_is_a_turned_head(nose: float, expected: float) -> None:
    turned = FRONTAL.copy()
    turned[2, 0] = nose
    assert frontality(turned) == pytest.approx(expected)
    spin = np.array([[0.0, -1], [1, 0]])
    assert frontality(turned @ spin) == pytest.approx(expected)  # whichever way is up


def test_eyes_in_one_place_are_no_face() -> None:
    assert frontality(np.zeros((5, 2))) == 0


def test_blur_lowers_sharpness(astronaut: Picture) -> None:
    face = Image.fromarray(astronaut.pixels).crop((181, 62, 268, 172))
    blurred = face.resize((20, 25)).resize(face.size, Image.Resampling.BICUBIC)
    assert sharpness(np.asarray(blurred)) < 0.5 < 1 < sharpness(np.asarray(face))


@pytest.mark.parametrize("smallest", [40, 47, 94, 147, 173, 188, 294])
def test_a_picture_as_small_as_the_smallest_face_does_not_raise(models_dir: Path, smallest: int) -> None:
    """12 / 47 * 47 is less than 12 in floating point: MTCNN then has no scale to look at."""
    looked = finder(models_dir, smallest=smallest).faces([picture(np.zeros((smallest, 300, 3), np.uint8))])
    assert [found.faces for found in looked] == [()]
