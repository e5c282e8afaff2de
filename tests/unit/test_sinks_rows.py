"""Changes into rows, without a database."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from sinks_support import face, insights, media_changed, post_changed, post_deleted, vector, view

from streamapp import settings
from streamapp.events import ServiceFailed
from streamapp.ids import face_id
from streamapp.insights import FaceDetection, Insight, Label, SceneRecognition, Service, Tagging
from streamapp.sinks.media_rows import MediaRows, ai_status
from streamapp.sinks.parts import Deletion, Part, Refused, database_id, split
from streamapp.sinks.readmodels import (
    DETECTED_FACES,
    FACE_SEARCH,
    MEDIA_INSIGHTS,
    MEDIA_SEARCH,
    POST_SEARCH,
    READ_MODELS,
    RECOMMENDATIONS,
    TABLES,
)
from streamapp.sinks.rows import Awaited, rows, sort
from streamapp.sinks.vectors import vector_text

POST = {
    "post_id": 1,
    "user_id": 7,
    "title": "summer",
    "body": "by the sea",
    "status": "PUBLISHED",
    "visibility": "PUBLIC",
    "created_at": "2026-01-02 03:04:05+00",
    "username": "ann",
    "full_name": "Ann",
    "profile_picture_url": None,
    "department": "sales",
    "designation": None,
    "deleted": None,
}
MEDIA = {
    "media_id": 10,
    "post_id": 1,
    "media_type": "IMAGE",
    "media_url": "http://images.test/10.jpg",
    "thumbnail_url": None,
    "position": 3,
    "width": 640,
    "height": 480,
    "created_at": "2026-01-02 03:04:06+00",
    "deleted": None,
}


def part(change: Any) -> Part:
    (piece,) = split(change)
    assert isinstance(piece, Part)
    return piece


def made_rows(change: Any, media: dict[str, Any] | None = MEDIA, **post: Any) -> MediaRows:
    made = rows(part(change), POST | post, media, width=512)
    assert isinstance(made, MediaRows), made
    return made


def made(change: Any, table: str = MEDIA_SEARCH) -> dict[str, Any]:
    (values,) = made_rows(change).rows[table]
    return values


@given(st.integers(-(2**63), 2**63 - 1))
def test_canonical_ids_are_numbers(number: int) -> None:
    assert database_id(str(number)) == number


@given(st.text(max_size=25) | st.integers().map(str) | st.from_regex(r"[-+ 0]?\d{1,20}\s?", fullmatch=True))
def test_no_two_ids_have_one_number(text: str) -> None:
    number = database_id(text)
    assert number is None or (str(number) == text and -(2**63) <= number < 2**63)


@pytest.mark.parametrize(
    "text", ["", "007", "-0", "+1", " 1", "1.0", "1e3", "٣", "²", "0x1", str(2**63), "a-uuid", "1" * 5000]
)
def test_other_ids_have_no_row(text: str) -> None:
    (refused,) = split(media_changed(view(text)))
    assert isinstance(refused, Refused)
    assert refused.reason.startswith(f"media id {text[:40]!r} is not")
    assert all(isinstance(piece, Refused) for piece in split(post_changed(view(), post_id=text)))
    assert isinstance(next(split(post_deleted(text))), Refused)


def test_a_change_of_a_post_touches_its_row_only() -> None:
    (piece,) = split(post_changed(view("10"), view("x"), revision=4))
    assert isinstance(piece, Part)
    assert (piece.key, piece.revision) == ((POST_SEARCH, 1, 1), 4)


def test_a_media_that_left_its_post_is_deleted() -> None:
    (piece,) = split(replace(media_changed(view("10"), revision=7), removed=True))
    assert isinstance(piece, Deletion)
    assert (piece.post_id, piece.media_id, piece.revision) == (1, 10, 7)


def test_each_part_can_be_made_again_from_its_record() -> None:
    for piece in (*split(post_changed(view("10"), revision=4)), *split(media_changed(view("11"), revision=4))):
        assert isinstance(piece, Part)
        again = part(piece.record)
        assert (again.key, again.revision, again.record) == (piece.key, piece.revision, piece.record)


def test_a_deletion_and_a_failure_make_no_row() -> None:
    assert list(split(post_deleted(revision=3))) == [Deletion(post_id=1, revision=3, source=post_deleted(revision=3))]
    failure = ServiceFailed(
        post_id="1", media_id="10", generation="1", services=("tagging",), error="e", at=0, correlation_id="c"
    )
    assert list(split(failure)) == []


def test_a_media_row_has_every_column() -> None:
    values = made(media_changed(view(answers=insights(faces=2)), revision=5))
    assert set(values) == set(READ_MODELS[MEDIA_SEARCH].columns)
    assert values | {"image_embedding": None} == {
        "media_id": 10,
        "post_id": 1,
        "post_title": "summer",
        "post_body": "by the sea",
        "media_position": 3,
        "media_url": "http://images.test/10.jpg",
        "media_type": "IMAGE",
        "thumbnail_url": None,
        "width": 640,
        "height": 480,
        "ai_status": "COMPLETED",
        "is_safe": True,
        "ai_caption": "caption 1",
        "ai_tags": ["tag1", "people"],
        "ai_scenes": ["outdoor"],
        "ai_confidence_scores": {"tag1": 0.5, "people": 0.5, "outdoor": 0.75},
        "image_embedding": None,
        "dominant_colors": ("#0a0b0c",),
        "detected_face_count": 2,
        "unidentified_face_count": 2,
        "detected_user_ids": [],
        "detected_usernames": [],
        "identified_user_ids": [],
        "identified_usernames": [],
        "identified_confidences": [],
        "uploader_id": 7,
        "uploader_username": "ann",
        "uploader_full_name": "Ann",
        "uploader_profile_pic": None,
        "uploader_department": "sales",
        "uploader_designation": None,
        "visibility": "PUBLIC",
        "post_status": "PUBLISHED",
        "created_at": "2026-01-02 03:04:06+00",
        "revision": 5,
    }


def test_a_post_row_has_every_column() -> None:
    (values,) = made_rows(post_changed(view("10"), view("11"), revision=5), None).rows[POST_SEARCH]
    assert set(values) == set(READ_MODELS[POST_SEARCH].columns)
    expected = {
        "post_id": 1,
        "author_username": "ann",
        "total_media": 2,
        "total_images": 2,
        "all_ai_tags": ("beach", "party"),
        "all_ai_scenes": ("outdoor",),
        "inferred_event_type": "beach_party",
        "inferred_tags": ("beach_party",),
        "has_unsafe_media": False,
        "title": "summer",
        "created_at": POST["created_at"],
        "revision": 5,
    }
    assert values | expected == values


def test_nothing_known_is_not_nothing_found() -> None:
    empty = (Tagging(tags=()), SceneRecognition(scenes=()))
    found_nothing, unknown = made(media_changed(view(answers=empty))), made(media_changed(view(answers=())))
    assert (found_nothing["ai_tags"], found_nothing["ai_scenes"]) == ([], [])
    assert (unknown["ai_tags"], unknown["ai_scenes"], unknown["ai_caption"]) == (None, None, None)


@pytest.mark.parametrize("safe", [True, False])
def test_only_what_is_moderated_is_safe(safe: bool) -> None:
    moderation = insights(safe=safe)[:1]
    assert made(media_changed(view(answers=moderation)))["is_safe"] is safe
    assert made(media_changed(view(answers=())))["is_safe"] is False


@pytest.mark.parametrize(
    ("missing", "failed", "status"),
    [
        ((), (), "COMPLETED"),
        (("tagging",), (), "PROCESSING"),
        (("tagging", "moderation"), ("tagging",), "PROCESSING"),
        (("tagging",), ("tagging",), "FAILED"),
    ],
)
def test_status(missing: tuple[Service, ...], failed: tuple[Service, ...], status: str) -> None:
    assert ai_status(view(missing=missing, failed=failed)) == status


def test_the_position_the_backend_said_last_counts() -> None:
    assert made(media_changed(view(position=0)))["media_position"] == 0


def test_the_surer_of_a_tag_and_a_scene_of_one_name() -> None:
    both = (Tagging(tags=(Label("beach", 0.9),)), SceneRecognition(scenes=(Label("beach", 0.2),)))
    assert made(media_changed(view(answers=both)))["ai_confidence_scores"] == {"beach": 0.9}


@pytest.mark.parametrize(
    ("post", "media", "table"),
    [({"user_id": None}, MEDIA, "posts"), ({"username": None}, MEDIA, "users"), ({}, None, "post_media")],
)
def test_awaits_the_backends_row(post: dict[str, Any], media: dict[str, Any] | None, table: str) -> None:
    assert rows(part(media_changed(view())), POST | post, media, width=512) == Awaited(table)


def test_a_media_of_another_post_is_refused() -> None:
    refused = rows(part(media_changed(view())), POST, MEDIA | {"post_id": 2}, width=512)
    assert refused == Refused("media 10 belongs to post 2, not to 1")


@given(st.binary(min_size=16, max_size=16))
def test_a_vector_keeps_its_bits_or_is_refused(raw: bytes) -> None:
    text = vector_text(raw, 4)
    if isinstance(text, str):
        assert np.array(json.loads(text), "<f4").tobytes() == raw
    else:
        squares = sum(number * number for number in struct.unpack("<4f", raw))
        assert not 1e-37 < squares < 3e38  # far inside what float32 can say, nothing is refused


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (vector(1, 511), "has 2044 bytes"),
        (vector(1) + b"\0", "has 2049 bytes"),
        (bytes(2048), "no direction"),
        (struct.pack("<f", float("nan")) * 512, "no direction"),
        (struct.pack("<f", 1e30) * 512, "no direction"),
        (struct.pack("<f", 1e-30) * 512, "no direction"),
        (struct.pack("<f", float("-inf")) + vector(1)[4:], "no direction"),
    ],
)
def test_a_wrong_vector_is_refused(raw: bytes, reason: str) -> None:
    refused = vector_text(raw, 512)
    assert isinstance(refused, Refused)
    assert reason in refused.reason


def test_sort_knows_the_deleted() -> None:
    old, new = part(media_changed(view("10"), revision=3)), part(media_changed(view("10"), revision=4))
    deleted = {1: POST | {"deleted": 3}}
    assert sort([old], deleted, {(1, 10): MEDIA}, width=512).rows == {}
    assert sort([old], deleted, {(1, 10): MEDIA}, width=512).settled == [old]
    assert sort([new], deleted, {(1, 10): MEDIA}, width=512).rows.keys() == READ_MODELS.keys() - {POST_SEARCH}
    left = {(1, 10): MEDIA | {"deleted": 3}}
    assert sort([old], {1: POST}, left, width=512).rows == {}
    assert sort([new], {1: POST}, left, width=512).rows[MEDIA_SEARCH][0]["revision"] == 4


def test_sort_knows_the_deleted_by_the_post_that_names_them() -> None:
    mine = part(media_changed(view("10"), revision=3))
    theirs = part(media_changed(view("10"), post_id="2", revision=50))
    found = {(1, 10): MEDIA, (2, 10): MEDIA | {"deleted": 60}}
    batch = sort([mine, theirs], {1: POST, 2: POST | {"post_id": 2}}, found, width=512)
    assert ([p.post_id for p in batch.media], batch.settled, batch.refused) == ([1], [mine, theirs], [])
    found = dict.fromkeys(found, MEDIA)
    batch = sort([mine, theirs], {1: POST, 2: POST | {"post_id": 2}}, found, width=512)
    assert (batch.media, batch.refused) == ([mine], [(theirs, "media 10 belongs to post 1, not to 2")])


def test_a_post_is_not_gone_because_a_media_of_its_number_is() -> None:
    post = part(post_changed(view("10"), post_id="10", revision=3))
    batch = sort([post], {10: POST | {"post_id": 10}}, {(10, 10): MEDIA | {"deleted": 5}}, width=512)
    assert [*batch.rows] == [POST_SEARCH]


@pytest.mark.parametrize("model", READ_MODELS.values(), ids=READ_MODELS)
def test_a_statement_names_only_our_columns(model: Any) -> None:
    statement = model.write()
    for column in ("reaction_count", "comment_count", "view_count", "save_count", "categories", "location", "_tagged_"):
        assert column not in statement
    assert all(column in statement for column in model.columns)


def test_every_table_can_be_named_in_the_setting() -> None:
    assert set(TABLES) == set(settings.READ_MODELS)
    assert READ_MODELS.keys() <= set(TABLES)


def test_every_row_has_every_column_of_its_table() -> None:
    made = made_rows(media_changed(view(answers=insights(faces=2)), revision=5)).rows
    assert {table: len(values) for table, values in made.items()} == {
        MEDIA_SEARCH: 1,
        MEDIA_INSIGHTS: 1,
        DETECTED_FACES: 2,
        FACE_SEARCH: 2,
        RECOMMENDATIONS: 1,
    }
    for table, values in made.items():
        assert all(set(one) == set(READ_MODELS[table].columns) for one in values)


def test_faces_have_the_ids_of_their_results() -> None:
    made = made_rows(media_changed(view(answers=insights(faces=2)), revision=5)).rows
    ids = [face_id("10", "1", 0), face_id("10", "1", 1)]
    assert [one["face_id"] for one in made[DETECTED_FACES]] == ids
    expected = {
        "face_id": ids[0],
        "media_id": 10,
        "post_id": 1,
        "bbox": (1, 2, 30, 40),
        "confidence": 0.9,
        "uploader_id": 7,
        "post_title": "summer",
        "media_caption": "caption 1",
        "media_url": "http://images.test/10.jpg",
        "revision": 5,
    }
    assert made[FACE_SEARCH][0] | expected == made[FACE_SEARCH][0]


@pytest.mark.parametrize(
    ("embedding", "reason"), [(None, "has 0 bytes"), (vector(1, 512), "has 2048 bytes"), (bytes(4096), "no direction")]
)
def test_a_face_without_a_usable_vector_has_no_row_but_counts(embedding: bytes | None, reason: str) -> None:
    faces = (replace(face(), embedding=embedding), face(2))
    made = made_rows(media_changed(view(answers=(FaceDetection(width=640, height=480, faces=faces),))))
    assert made.rows[MEDIA_SEARCH][0]["detected_face_count"] == 2
    assert [one["face_id"] for one in made.rows[FACE_SEARCH]] == [face_id("10", "1", 1)]
    assert [one["face_id"] for one in made.rows[DETECTED_FACES]] == [face_id("10", "1", 1)]
    (faceless,) = made.faceless
    assert face_id("10", "1", 0) in faceless
    assert reason in faceless


@pytest.mark.parametrize(
    ("answers", "recommended"),
    [
        (insights(), True),
        (insights(safe=False), False),
        (insights()[1:], False),  # not moderated
        (insights()[:4], False),  # no vector
    ],
)
def test_only_what_is_safe_and_has_a_vector_is_recommended(answers: tuple[Insight, ...], recommended: bool) -> None:
    assert bool(made_rows(media_changed(view(answers=answers))).rows[RECOMMENDATIONS]) is recommended


def test_what_the_backend_holds_unsafe_is_so_and_not_recommended() -> None:
    change = media_changed(replace(view(answers=insights()), unsafe=True))
    values = made(change, MEDIA_INSIGHTS)
    assert (values["status"], values["is_safe"]) == ("UNSAFE", False)
    assert made(change, MEDIA_SEARCH)["is_safe"] is False
    assert made_rows(change).rows[RECOMMENDATIONS] == []


@pytest.mark.parametrize(
    ("answers", "status", "safe"),
    [
        (insights(), "COMPLETED", True),
        (insights(safe=False), "UNSAFE", False),
        (insights(safe=False)[:1], "UNSAFE", False),  # known at once, whatever is still to come
        (insights()[1:], "PROCESSING", False),
    ],
)
def test_insights_tell_what_is_unsafe(answers: tuple[Insight, ...], status: str, safe: bool) -> None:
    values = made(media_changed(view(answers=answers)), MEDIA_INSIGHTS)
    assert (values["status"], values["is_safe"]) == (status, safe)
