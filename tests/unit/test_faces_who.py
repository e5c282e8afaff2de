"""Who a face is near to, for people."""

from __future__ import annotations

import pytest

from streamapp.faces.matching import Neighbour, Thresholds
from streamapp.faces.who import Seen, from_picture, is_face_id, judged, text
from streamapp.insights import Face


@pytest.mark.parametrize(
    ("given", "is_one"),
    [
        ("2e83dcc0-5d9f-5b74-b22e-b3ffed2e1bb9", True),
        ("2E83DCC0-5D9F-5B74-B22E-B3FFED2E1BB9", True),
        ("2e83dcc05d9f5b74b22eb3ffed2e1bb9", False),
        ("lena.jpg", False),
        ("", False),
    ],
)
def test_ids_of_faces(given: str, is_one: bool) -> None:
    assert is_face_id(given) is is_one


def test_lines() -> None:
    near = [Neighbour(8, "bob", 0.86), Neighbour(9, "cy", 0.2)]
    faces = [
        judged(Seen(bbox=(1, 2, 3, 4), embedding=b"", quality=0.5), near, Thresholds()),
        judged(Seen(bbox=(5, 6, 7, 8), embedding=b"", stored="post 1 media 2"), [], Thresholds()),
        judged(Seen(bbox=(), embedding=None), [], Thresholds(), unusable="no vector"),
    ]
    assert text(faces).splitlines() == [
        "face 1 at 1,2,3,4, quality 0.50: identified: bob (8)",
        "   0.86000  bob (8)",
        "   0.20000  cy (9)",
        "face 2 at 5,6,7,8: unknown  [post 1 media 2]",
        "  no face is known",
        "face 3 at : unknown",
        "  cannot be compared: no vector",
    ]
    assert [face["status"] for face in faces] == ["IDENTIFIED", "UNKNOWN", "UNKNOWN"]


def test_an_engine_without_qualities_says_how_sure_it_is() -> None:
    (seen,) = from_picture([Face(bbox=(1, 2, 3, 4), confidence=0.7, embedding=b"v")])
    assert (seen.bbox, seen.quality, seen.embedding) == ((1, 2, 3, 4), 0.7, b"v")
