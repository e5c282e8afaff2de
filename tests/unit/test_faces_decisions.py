"""Which known face a face is, and which face of a picture is enrolled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.faces.enrolment import Demands, EnrolmentRefused, choose, score
from streamapp.faces.matching import Neighbour, Thresholds, cosine, decide
from streamapp.insights import Face

VECTOR = b"\0\0\x80\x3f"


def face(side: int = 100, quality: float | None = 0.9, *, vector: bytes | None = VECTOR) -> Face:
    return Face(bbox=(0, 0, side, side + 20), confidence=0.95, quality=quality, embedding=vector)


@pytest.mark.parametrize(
    ("distance", "expected"),
    [
        (0.15, 0.85),
        (0.1500001, 0.85),  # a float32 sum
        (0.149996, 0.85),
        (0.15001, 0.84999),
        (0.3, 0.7),
        (0.30001, 0.69999),
    ],
)
def test_a_cosine_has_five_decimals(distance: float, expected: float) -> None:
    assert cosine(distance) == expected


@pytest.mark.parametrize(
    ("cosines", "expected"),
    [
        ((), None),
        ((0.69999,), None),
        ((0.7,), (0, "SUGGESTED")),
        ((0.84999,), (0, "SUGGESTED")),
        ((0.85,), (0, "IDENTIFIED")),
        ((0.71, 0.9), (1, "IDENTIFIED")),
        ((0.9, 0.9), (0, "IDENTIFIED")),
        ((float("nan"),), None),
    ],
)
def test_the_nearest_decides(cosines: tuple[float, ...], expected: tuple[int, str] | None) -> None:
    near = [Neighbour(n, f"user{n}", value) for n, value in enumerate(cosines)]
    decided = decide(reversed(near), Thresholds())
    assert (decided and (decided[0].user_id, decided[1])) == expected


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_whatever_is_matched_is_within_reach(one: float, other: float) -> None:
    thresholds = Thresholds(identified=max(one, other), suggested=min(one, other))
    for distance in (1 - one, 1 - other, 1 - min(one, other) + 4e-6):
        if decide([Neighbour(1, "", cosine(distance))], thresholds) is not None:
            assert distance <= thresholds.reach


def test_the_best_face_is_enrolled() -> None:
    bystander, user = face(50), face(200, 0.8)
    assert choose([bystander, user], Demands()) is user
    assert score(bystander, largest=200) == pytest.approx(0.9 * 0.25)
    assert score(face(quality=None), largest=100) == 0.95  # an engine that does not rate
    clear, blurred = face(150, 0.9), face(200, 0.4)
    assert choose([blurred, clear], Demands()) is clear


@pytest.mark.parametrize(
    ("faces", "why"),
    [
        ([], "no face in the picture"),
        ([face(), face(90)], "2 faces in the picture, and several are equally good"),
        ([face(200), face(200, 0.1), face(190)], "3 faces"),
        ([face(79)], "the face is too small: 79x99 pixels, 80 are needed"),
        ([face(quality=0.29)], "the face is not clear enough: quality 0.29, 0.3 is needed"),
        ([face(vector=None)], "the face could not be read"),
        ([face(0, 0.0)], "too small"),
    ],
)
def test_why_nobody_is_enrolled(faces: list[Face], why: str) -> None:
    with pytest.raises(EnrolmentRefused, match=why):
        choose(faces, Demands())
