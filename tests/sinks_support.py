"""Changes and backend rows for the tests of the sinks."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import asyncpg
import numpy as np

from streamapp.events import Change, MediaChanged, MediaView, PostChanged, PostDeleted, Summary
from streamapp.insights import (
    SERVICES,
    Face,
    FaceDetection,
    ImageCaptioning,
    ImageEmbedding,
    Insight,
    Label,
    Moderation,
    SceneRecognition,
    Tagging,
    service_of,
)
from streamapp.settings import READ_MODELS
from streamapp.sinks.database import Pool, open_pool
from streamapp.sinks.migrations import migrate

Connection: TypeAlias = "asyncpg.Connection[Any]"


def vector(seed: int, width: int = 512) -> bytes:
    """A vector in some direction of its own."""
    return np.random.default_rng(seed).normal(size=width).astype("<f4").tobytes()


def insights(seed: int = 1, *, safe: bool = True, faces: int = 0, tags: Sequence[str] = ()) -> tuple[Insight, ...]:
    """An answer of every service."""
    return (
        Moderation(is_safe=safe, confidence=0.9),
        Tagging(tags=tuple(Label(tag, 0.5) for tag in tags or (f"tag{seed}", "people"))),
        SceneRecognition(scenes=(Label("outdoor", 0.75),), colors=("#0a0b0c",)),
        ImageCaptioning(caption=f"caption {seed}"),
        ImageEmbedding(vector=vector(seed)),
        FaceDetection(width=640, height=480, faces=tuple(face(100 * seed + n) for n in range(faces))),
    )


def face(seed: int = 1, embedding: bytes | None = None) -> Face:
    """A face with a vector of its own, or with this one."""
    return Face(bbox=(1, 2, 30, 40), confidence=0.9, embedding=embedding or vector(seed, 1024))


def view(media_id: str = "10", answers: Sequence[Insight] | None = None, **fields: Any) -> MediaView:
    """A media with these answers (default: of every service); the others are missing."""
    answers = insights() if answers is None else answers
    answered = {service_of(answer) for answer in answers}
    fields.setdefault("missing", tuple(service for service in SERVICES if service not in answered))
    fields.setdefault("generation", "1")
    return MediaView(
        media_id=media_id,
        url=f"http://images.test/{media_id}.jpg",
        correlation_id="c",
        insights=tuple(answers),
        **fields,
    )


def media_changed(media: MediaView, *, post_id: str = "1", revision: int = 1) -> MediaChanged:
    return MediaChanged(post_id=post_id, revision=revision, media=media)


def whole(*media: MediaView, post_id: str = "1", revision: int = 1, **post: Any) -> list[Change]:
    """What a post says until it is complete, all of one revision."""
    changes: list[Change] = [media_changed(m, post_id=post_id, revision=revision) for m in media]
    return [*changes, post_changed(*media, post_id=post_id, revision=revision, **post)]


def post_changed(
    *media: MediaView,
    post_id: str = "1",
    revision: int = 1,
    tags: Sequence[str] = ("beach", "party"),
    scenes: Sequence[str] = ("outdoor",),
) -> PostChanged:
    summary = Summary(
        media_count=len(media),
        media_ids=tuple(m.media_id for m in media),
        all_tags=tuple(tags),
        all_scenes=tuple(scenes),
        top_tags=tuple(tags),
        top_scenes=tuple(scenes),
        total_faces=0,
        is_safe=True,
        has_unsafe_media=False,
        moderation_confidence=0.9,
        event_type="beach_party",
        location_type="beach",
        inferred_tags=("beach_party",),
        confidence=0.9,
        caption="people on a beach",
    )
    return PostChanged(
        post_id=post_id,
        revision=revision,
        completeness="complete",
        summary=summary,
        media=media,
        at=0,
        correlation_id="c",
    )


def post_deleted(post_id: str = "1", revision: int = 1, media_ids: Sequence[str] = ("10",)) -> PostDeleted:
    return PostDeleted(post_id=post_id, revision=revision, media_ids=tuple(media_ids))


async def backend_post(on: Connection | Pool, post_id: int = 1, media_ids: Sequence[int] = (10,)) -> None:
    """What the backend writes when someone posts: the user (once), the post and its media."""
    await on.execute(
        "INSERT INTO users (user_id, username, email, password, department, role, account_status) "
        "VALUES (7, 'ann', 'ann@example.test', '', 'sales', 'USER', 'ACTIVE') ON CONFLICT DO NOTHING"
    )
    await on.execute(
        "INSERT INTO posts (post_id, user_id, title, body, status, created_at) "
        "VALUES ($1, 7, 'summer', 'by the sea', 'PUBLISHED', '2026-01-02T03:04:05.678Z')",
        post_id,
    )
    await backend_media(on, post_id, media_ids)


async def backend_media(on: Connection | Pool, post_id: int, media_ids: Sequence[int]) -> None:
    await on.execute(
        "INSERT INTO post_media (media_id, post_id, media_type, media_url, position, width, height, created_at) "
        "SELECT id, $1, 'IMAGE', 'http://images.test/' || id || '.jpg', n - 1, 640, 480, '2026-01-02T03:04:06Z' "
        "FROM unnest($2::bigint[]) WITH ORDINALITY AS m (id, n)",
        post_id,
        list(media_ids),
    )


@asynccontextmanager
async def database(postgres_url: str, *, migrated: bool = True) -> AsyncIterator[str]:
    """A database of its own on the server; its URL."""
    name = f"sinks_{uuid.uuid4().hex[:12]}"
    server = await asyncpg.connect(postgres_url)
    try:
        await server.execute(f"CREATE DATABASE {name}")
        url = urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
        if migrated:
            connection = await asyncpg.connect(url)
            await migrate(connection)
            await connection.close()
        yield url
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await server.close()


@asynccontextmanager
async def fresh_pool(url: str, *, max_size: int = 6) -> AsyncIterator[Pool]:
    """A pool on a migrated database, all tables empty."""
    pool = await open_pool(url, max_size=max_size)
    await pool.execute(
        "TRUNCATE users, posts, post_media, es_outbox, awaiting, deleted_posts, deleted_media, backend_gone, "
        f"enrolments, known_face_changes, face_rechecks, {', '.join(READ_MODELS)} CASCADE"
    )
    try:
        yield pool
    finally:
        await pool.close()


async def until(condition: Any, *, seconds: float = 20.0) -> None:
    """Wait until the (perhaps awaitable) condition holds."""
    async with asyncio.timeout(seconds):
        while True:
            result = condition()
            if await result if asyncio.iscoroutine(result) else result:
                return
            await asyncio.sleep(0.05)
