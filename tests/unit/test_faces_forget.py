"""What is told of forgetting, and what is looked for."""

from __future__ import annotations

from streamapp.faces.forget import REMAINS, Left, Removed, queries, report


def test_a_place_in_a_line() -> None:
    assert Left(place="state", count=None, note="no worker").line() == "state: unknown, no worker"
    assert Left(place="t", count=1, examples=("user 8",)).line() == "t: 1 (user 8)"
    assert Left(place="t", count=7, examples=("a", "b"), note="not ours").line() == "t: 7 (a, b, …); not ours"


def test_nothing_left_is_good() -> None:
    removed = Removed(rows={"enrolments": 1, "awaiting": 0}, documents={"faces-v1": 2}, rechecked=3)
    good, body, text = report(8, removed, [])
    assert good
    assert (body["left"], body["removed"]["rechecked"]) == ([], 3)
    assert text.splitlines() == [
        "user 8",
        "  removed from enrolments: 1",
        "  removed from faces-v1: 2",
        "  media that are compared again: 3",
        "  nothing is left in tables, indices and the state",
        *REMAINS,
    ]


def test_what_is_unknown_is_not_nothing() -> None:
    good, body, text = report(8, None, [Left(place="state", count=None, note="no worker answers")])
    assert not good
    assert "removed" not in body
    assert "  LEFT state: unknown, no worker answers" in text.splitlines()
    assert "nothing is left" not in text


def test_what_stays_in_kafka_is_said() -> None:
    for topic in (
        *("profile-picture-processing", "user-profile-face-embedding-results", "face-recognition-results"),
        *("post-events", "post-changes", "row-changes", "dead-letters"),
    ):
        assert topic in " ".join(REMAINS)


def test_of_who_is_gone_more_is_looked_for() -> None:
    assert "feed_personalized" not in queries(8, gone=False)
    assert {name: len(query["bool"]["should"]) for name, query in queries(8, gone=True).items()} == {
        "known_faces_index": 1,
        "user_search": 2,
        "face_search": 2,
        "media_search": 2,
        "post_search": 2,
        "feed_personalized": 2,
    }
