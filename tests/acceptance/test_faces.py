"""Faces end to end: enrolled before or after the posts that they are on, taken out of use, and a correction that is
killed in the middle."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from face_pictures import new_hat, put
from results import answered, letter_of
from system import ENGINE, System
from test_verify import indexed, verify

import samples
from demo.backend import Backend, Fields, until
from streamapp.engines.marker import Identity

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        ENGINE != "pixel", reason="drawn faces are found by engine pixel; test_engine_models.py has a photograph"
    ),
]

_users = itertools.count(7_000_000)
RECOGNITIONS, PROFILES, ERRORS = "face-recognition-results", "user-profile-face-embedding-results", "ml-error-results"


@pytest.fixture
def worn() -> Identity:
    """A hat that nobody else wears."""
    return new_hat()


@pytest.fixture
async def user(backend: Backend) -> int:
    """A user of this test's own."""
    user_id = next(_users)
    await backend.add_user(user_id, f"user{user_id}")
    return user_id


@pytest.fixture
async def pictures(tmp_path: Path) -> AsyncIterator[tuple[Path, str]]:
    """A folder and the address that its files have."""
    with samples.serve(folder=tmp_path) as url:
        yield tmp_path, url


async def enrol(backend: Backend, user_id: int | str, url: str, correlation_id: str | None = None) -> str:
    """Ask for an enrolment; the correlation id."""
    asked = correlation_id or f"profile-{user_id}-{url.rpartition('/')[2]}"
    await backend.send("profile-picture-processing", userId=user_id, imageUrl=url, correlationId=asked)
    return asked


async def messages(backend: Backend, stream: str, **fields: object) -> list[Fields]:
    """The messages of a stream that have these fields."""
    entries: list[tuple[str, Fields]] = await backend.redis.xrange(stream)  # type: ignore[assignment]
    wanted = {name: str(value) for name, value in fields.items()}
    return [found for _, found in entries if wanted.items() <= found.items()]


async def told(backend: Backend, stream: str, **fields: object) -> Fields:
    """The first of them."""
    found = await until(lambda: messages(backend, stream, **fields), what=f"{fields} on {stream}")
    first: Fields = found[0]
    return first


async def post(backend: Backend, post_id: int, *urls: str) -> None:
    """A complete post of images."""
    media = dict(enumerate(urls, post_id + 1))
    await backend.add_post(post_id, 15, "Faces", media)
    for position, (media_id, url) in enumerate(media.items()):
        await backend.request_image(post_id, media_id, url, position=position)
    await backend.trigger(post_id, *media)
    await answered(backend, post_id, len(media))


FACES = """
SELECT f.bbox, f.identification_status, f.identified_user_id, f.identified_username, f.match_confidence,
    d.status, d.identified_user_id AS confirmed, d.suggested_user_id, d.confidence_score
FROM read_model_face_search f JOIN media_detected_faces d USING (face_id)
WHERE f.post_id = $1 ORDER BY f.media_id, f.bbox
"""
MEDIA = """
SELECT media_id - post_id AS place, detected_user_ids, detected_usernames, identified_user_ids, identified_usernames,
    identified_confidences, detected_face_count, unidentified_face_count
FROM read_model_media_search WHERE post_id = $1 ORDER BY media_id
"""
POST = "SELECT all_detected_user_ids, all_detected_usernames FROM read_model_post_search WHERE post_id = $1"


async def rows(backend: Backend, post_id: int) -> list[dict[str, Any]]:
    """What the rows of a post say of who is on it."""
    return [dict(row) for query in (FACES, MEDIA, POST) for row in await backend.postgres.fetch(query, post_id)]


async def documents(backend: Backend, post_id: int) -> list[Any]:
    """What its documents say of that."""
    await indexed(backend)
    found: list[Any] = []
    for index, names in (
        ("face_search", ("bbox", "identified_user_id", "identified_username", "match_confidence")),
        ("media_search", ("detected_users",)),
        ("post_search", ("all_detected_user_ids",)),
    ):
        await backend.elasticsearch.indices.refresh(index=index)
        hits = await backend.elasticsearch.search(index=index, query={"term": {"post_id": post_id}}, size=100)
        sources = [{name: hit["_source"].get(name) for name in names} for hit in hits["hits"]["hits"]]
        found += sorted(sources, key=json.dumps)
    return found


async def settled(backend: Backend, post_id: int, *people: int) -> None:
    """Wait until the post's row names these users, and no others."""

    async def named() -> bool:
        row = await backend.postgres.fetchrow(POST, post_id)
        return row is not None and row["all_detected_user_ids"] == list(people)

    await until(named, what=f"{people} on post {post_id}", seconds=60)


async def test_enrolled_before_or_after_ends_the_same(
    system: System, backend: Backend, pictures: tuple[Path, str], post_id: int, user: int, worn: Identity
) -> None:
    folder, url = pictures
    stranger, other = new_hat(), new_hat()
    put(folder / "me.jpg", worn, width=180)
    put(folder / "both.jpg", stranger, worn)
    put(folder / "other.jpg", other)
    urls = (f"{url}/other.jpg", f"{url}/both.jpg")

    after = post_id
    await post(backend, after, *urls)
    await settled(backend, after)
    revision = (await backend.story(after))["revision"]
    before = [row for row in await rows(backend, after) if "status" in row]
    assert [row["status"] for row in before] == ["UNIDENTIFIED"] * 3

    asked = await enrol(backend, user, f"{url}/me.jpg")
    message = await told(backend, PROFILES, correlationId=asked)
    assert len(json.loads(message["faceEmbedding"])) == 1024
    assert message["userId"] == str(user)
    await settled(backend, after, user)
    assert (await backend.story(after))["revision"] == revision + 1
    found = await told(backend, RECOGNITIONS, postId=after)
    assert (
        found.items()
        >= {
            "mediaId": str(after + 2),
            "suggestedUserId": str(user),
            "matchedUsername": f"user{user}",
            "status": "IDENTIFIED",
            "confidenceScore": "1.0",
            "correlationId": f"request-{after + 2}",
        }.items()
    )

    first = post_id + 5
    await post(backend, first, *urls)
    await settled(backend, first, user)
    assert await rows(backend, first) == await rows(backend, after)
    assert await documents(backend, first) == await documents(backend, after)
    await told(backend, RECOGNITIONS, postId=first)
    assert len(await messages(backend, RECOGNITIONS, suggestedUserId=user)) == 2
    name = f"user{user}"
    assert [row for row in await rows(backend, first) if "place" in row] == [
        {
            "place": 1,
            "detected_user_ids": [],
            "detected_usernames": [],
            "identified_user_ids": [],
            "identified_usernames": [],
            "identified_confidences": [],
            "detected_face_count": 1,
            "unidentified_face_count": 1,
        },
        {
            "place": 2,
            "detected_user_ids": [user],
            "detected_usernames": [name],
            "identified_user_ids": [user],
            "identified_usernames": [name],
            "identified_confidences": [1.0],
            "detected_face_count": 2,
            "unidentified_face_count": 1,
        },
    ]
    known = await backend.elasticsearch.get(index="known_faces_index", id=str(user))
    assert (known["_source"]["username"], known["_source"]["is_active"]) == (name, True)
    assert (await backend.elasticsearch.get(index="user_search", id=str(user)))["_source"]["face_enrolled"] is True
    for each in (first, after):
        assert (await verify(system, each))[1] == []

    await backend.postgres.execute("UPDATE users SET account_status = 'SUSPENDED' WHERE user_id = $1", user)
    for each in (first, after):
        await settled(backend, each)
        assert [row["status"] for row in await rows(backend, each) if "status" in row] == ["UNIDENTIFIED"] * 3
        assert str(user) not in json.dumps(await documents(backend, each))
        _, differences, _ = await verify(system, each)
        # Items of a reader who is not active any more go with the sweep over all media, later.
        assert [found for found in differences if not found["where"].startswith("item ")] == []
    assert (await backend.elasticsearch.get(index="known_faces_index", id=str(user)))["_source"]["is_active"] is False
    assert (
        len(await messages(backend, RECOGNITIONS, suggestedUserId=user)) == 2
    )  # nothing tells that somebody is nobody


async def test_another_picture_is_another_face(
    backend: Backend, pictures: tuple[Path, str], post_id: int, user: int, worn: Identity
) -> None:
    folder, url = pictures
    later = new_hat()
    put(folder / "old.jpg", worn, width=180)
    put(folder / "new.jpg", later, width=180)
    put(folder / "post.jpg", worn)
    put(folder / "other.jpg", later)
    await post(backend, post_id, f"{url}/post.jpg")
    await post(backend, post_id + 3, f"{url}/other.jpg")
    await told(backend, PROFILES, correlationId=await enrol(backend, user, f"{url}/old.jpg"))
    await settled(backend, post_id, user)
    version = "SELECT version FROM known_face_changes WHERE user_id = $1"
    before = await backend.postgres.fetchval(version, user)
    again = await told(backend, PROFILES, correlationId=await enrol(backend, user, f"{url}/old.jpg", "again"))
    assert again["faceEmbedding"] == (await told(backend, PROFILES, userId=user))["faceEmbedding"]
    assert await backend.postgres.fetchval(version, user) == before  # the same picture changes nothing
    await told(backend, PROFILES, correlationId=await enrol(backend, user, f"{url}/new.jpg"))
    await settled(backend, post_id)
    await settled(backend, post_id + 3, user)


@pytest.mark.parametrize(
    ("faces", "width", "why"),
    [
        ((), 180, "no face in the picture"),
        ((0, 1), 180, "2 faces in the picture, and several are equally good"),
        ((0,), 60, "the face is too small: "),
        (None, 0, "404 Not Found"),
    ],
)
async def test_a_picture_that_enrols_nobody_says_why(
    system: System,
    backend: Backend,
    pictures: tuple[Path, str],
    user: int,
    faces: Sequence[int] | None,
    width: int,
    why: str,
) -> None:
    folder, url = pictures
    if faces is not None:
        put(folder / "me.jpg", *(new_hat() for _ in faces), width=width)
    asked = await enrol(backend, user, f"{url}/me.jpg", f"refused-{user}")
    error = await told(backend, ERRORS, correlationId=asked)
    assert error["error"].startswith(why)
    assert (error["status"], error["userId"], error["service"]) == ("FAILED", str(user), "profile_enrollment")
    assert why in (await letter_of(system, asked))["error"]
    assert await backend.postgres.fetchval("SELECT count(*) FROM enrolments WHERE user_id = $1", user) == 0


async def test_an_id_that_is_no_number_is_told_its_face(
    backend: Backend, pictures: tuple[Path, str], worn: Identity
) -> None:
    folder, url = pictures
    put(folder / "me.jpg", worn, width=180)
    message = await told(backend, PROFILES, correlationId=await enrol(backend, "user-é:1", f"{url}/me.jpg"))
    assert message["userId"] == "user-é:1"


async def test_kill_9_in_the_middle_of_a_correction_of_1000_faces(
    system: System, backend: Backend, pictures: tuple[Path, str], post_id: int, user: int, worn: Identity
) -> None:
    folder, url = pictures
    put(folder / "me.jpg", worn, width=180)
    put(folder / "crowd.jpg", *[worn] * 20)
    posts = [post_id + 4_000_000 + 10 * n for n in range(10)]
    for each in posts:
        await post(backend, each, *(f"{url}/crowd.jpg?{n}" for n in range(5)))
    stored = "SELECT count(*) FROM read_model_face_search WHERE post_id = ANY($1::bigint[])"

    async def all_stored() -> bool:
        return bool(await backend.postgres.fetchval(stored, posts) == 1000)

    await until(all_stored, what="1000 faces", seconds=60)
    found = f"{stored} AND identified_user_id = $2"
    await enrol(backend, user, f"{url}/me.jpg")
    for share in (1, 400):

        async def so_many(share: int = share) -> bool:
            return bool(await backend.postgres.fetchval(found, posts, user) >= share)

        await until(so_many, what=f"{share} corrected faces", seconds=60)
        await asyncio.to_thread(system.kill, "worker-0")
        await asyncio.to_thread(system.start, "worker-0")

    async def all_corrected() -> bool:
        return bool(await backend.postgres.fetchval(found, posts, user) == 1000)

    await until(all_corrected, what="1000 corrected faces", seconds=60)

    async def all_told() -> bool:
        return len(await messages(backend, RECOGNITIONS, suggestedUserId=user)) >= 1000

    await until(all_told, what="1000 messages", seconds=60)
    recognised = await messages(backend, RECOGNITIONS, suggestedUserId=user)
    assert len({message["faceId"] for message in recognised}) == len(recognised) == 1000
    for each in posts:
        assert (await verify(system, each))[1] == []
